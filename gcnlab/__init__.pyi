from .datasets import CamVid, Shapes, VOCSegmentation, read_image
from .evaluation import ConfusionMatrix, boundary_mask, evaluate, predict
from .models import (
    BoundaryRefinement,
    GlobalConvBlock,
    SegmentationNet,
    build_backbone,
    make_head,
)
from .pretrained import pretrained_networks
from .receptive import Occlusion, gradient_field, theoretical_field, valid_field
from .training import RunConfig, load, train
from .widgets import ResizeExplorer, VRFExplorer

__version__: str

__all__ = [
    "BoundaryRefinement",
    "CamVid",
    "ConfusionMatrix",
    "GlobalConvBlock",
    "Occlusion",
    "ResizeExplorer",
    "RunConfig",
    "SegmentationNet",
    "Shapes",
    "VOCSegmentation",
    "VRFExplorer",
    "boundary_mask",
    "build_backbone",
    "evaluate",
    "gradient_field",
    "load",
    "make_head",
    "predict",
    "pretrained_networks",
    "read_image",
    "theoretical_field",
    "train",
    "valid_field",
]
