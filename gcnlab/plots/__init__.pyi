from .coverage import plot_coverage
from .distance import plot_distance_curves
from .errors import plot_changes, plot_confusion, plot_error_kinds
from .examples import plot_examples
from .field_maps import plot_depth_profiles, plot_field_maps
from .figure3 import plot_fields_at_scales
from .kernels import plot_against_k, plot_kernels
from .notebook import picture_with_text, show
from .object_size import plot_object_sizes
from .pictures import draw_region, plot_fields, plot_label_maps, plot_mean_fields, plot_regions
from .scores import plot_cost_and_score, plot_paper_and_ours, plot_score_against_learning_rate
from .size_groups import plot_size_groups
from .tiles import plot_tile_weights
from .training import (
    LiveLoss,
    LivePredictions,
    plot_class_iou,
    plot_epochs,
    plot_learning_rates,
    plot_losses,
)

__all__ = [
    "LiveLoss",
    "LivePredictions",
    "draw_region",
    "picture_with_text",
    "plot_against_k",
    "plot_changes",
    "plot_class_iou",
    "plot_confusion",
    "plot_cost_and_score",
    "plot_coverage",
    "plot_depth_profiles",
    "plot_distance_curves",
    "plot_epochs",
    "plot_error_kinds",
    "plot_examples",
    "plot_field_maps",
    "plot_fields",
    "plot_fields_at_scales",
    "plot_kernels",
    "plot_label_maps",
    "plot_learning_rates",
    "plot_losses",
    "plot_mean_fields",
    "plot_object_sizes",
    "plot_paper_and_ours",
    "plot_regions",
    "plot_score_against_learning_rate",
    "plot_size_groups",
    "plot_tile_weights",
    "show",
]
