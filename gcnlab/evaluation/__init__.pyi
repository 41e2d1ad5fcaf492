from .boundary import boundary_distance, boundary_mask
from .boundary_iou import BoundaryIoU
from .classification import TopKAccuracy, evaluate_classifier
from .confusion import ConfusionMatrix
from .crf import refine_probabilities
from .crf_search import search_crf
from .curve import Curve, DistanceCounts
from .inference import score_map, tile_offsets, tile_weights
from .prediction import Predictor, predict
from .scores import Scores, evaluate
from .settings import (
    CITYSCAPES_CROPS,
    CRF,
    VOC_PADDED,
    BandRule,
    BoundaryRule,
    CRFGrid,
    Inference,
)
from .submission import submit

__all__ = [
    "CITYSCAPES_CROPS",
    "CRF",
    "VOC_PADDED",
    "BandRule",
    "BoundaryIoU",
    "BoundaryRule",
    "CRFGrid",
    "ConfusionMatrix",
    "Curve",
    "DistanceCounts",
    "Inference",
    "Predictor",
    "Scores",
    "TopKAccuracy",
    "boundary_distance",
    "boundary_mask",
    "evaluate",
    "evaluate_classifier",
    "predict",
    "refine_probabilities",
    "score_map",
    "search_crf",
    "submit",
    "tile_offsets",
    "tile_weights",
]
