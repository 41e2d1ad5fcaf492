"""Scores: confusion matrix, boundary and interior, a network on a data set; inference modes, dense CRF."""

from gcnlab.evaluation.boundary import boundary_distance, boundary_mask
from gcnlab.evaluation.boundary_iou import BandRule, BoundaryIoU
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.crf import CRF, refine_probabilities
from gcnlab.evaluation.curve import Curve, DistanceCounts
from gcnlab.evaluation.inference import CITYSCAPES_CROPS, VOC_PADDED, Inference, score_map
from gcnlab.evaluation.prediction import predict
from gcnlab.evaluation.scores import BoundaryRule, Scores, evaluate

__all__ = [
    "CITYSCAPES_CROPS",
    "CRF",
    "VOC_PADDED",
    "BandRule",
    "BoundaryIoU",
    "BoundaryRule",
    "ConfusionMatrix",
    "Curve",
    "DistanceCounts",
    "Inference",
    "Scores",
    "boundary_distance",
    "boundary_mask",
    "evaluate",
    "predict",
    "refine_probabilities",
    "score_map",
]
