from .examples import Example, choose_examples, image_score, predict_classes, show_example
from .figure3 import SizedField, fields_at_scales
from .paper import published_table, results_folder
from .scales import SCALES
from .tables import Claim, paper_table, with_seed

__all__ = [
    "SCALES",
    "Claim",
    "Example",
    "SizedField",
    "choose_examples",
    "fields_at_scales",
    "image_score",
    "paper_table",
    "predict_classes",
    "published_table",
    "results_folder",
    "show_example",
    "with_seed",
]
