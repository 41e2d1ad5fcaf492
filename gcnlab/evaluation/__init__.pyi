from .boundary import boundary_distance, boundary_mask
from .boundary_iou import BandRule, BoundaryIoU
from .classification import TopKAccuracy, evaluate_classifier
from .confusion import ConfusionMatrix
from .crf import CRF, refine_probabilities
from .curve import Curve, DistanceCounts
from .inference import CITYSCAPES_CROPS, VOC_PADDED, Inference, score_map
from .prediction import predict
from .scores import BoundaryRule, Scores, evaluate

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
    "TopKAccuracy",
    "boundary_distance",
    "boundary_mask",
    "evaluate",
    "evaluate_classifier",
    "predict",
    "refine_probabilities",
    "score_map",
]
