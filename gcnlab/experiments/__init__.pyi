from .examples import Example, choose_examples, image_score, show_example
from .paper import published_table, results_folder
from .scales import SCALES
from .tables import Claim, paper_table, with_seed

__all__ = [
    "SCALES",
    "Claim",
    "Example",
    "choose_examples",
    "image_score",
    "paper_table",
    "published_table",
    "results_folder",
    "show_example",
    "with_seed",
]
