"""Scores: confusion matrix, boundary and interior, a network on a data set."""

from gcnlab.evaluation.boundary import boundary_distance, boundary_mask
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.scores import BoundaryRule, Scores, evaluate, predict

__all__ = [
    "BoundaryRule",
    "ConfusionMatrix",
    "Scores",
    "boundary_distance",
    "boundary_mask",
    "evaluate",
    "predict",
]
