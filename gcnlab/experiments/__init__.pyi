from .paper import published_table, results_folder
from .scales import SCALES
from .tables import Claim, paper_table, with_seed

__all__ = [
    "SCALES",
    "Claim",
    "paper_table",
    "published_table",
    "results_folder",
    "with_seed",
]
