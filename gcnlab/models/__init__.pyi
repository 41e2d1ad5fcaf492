from .backbones import ResNetBackbone, build_backbone, build_classifier
from .blocks import BoundaryRefinement, GlobalConvBlock
from .choices import BACKBONES
from .heads import make_head
from .segmenter import SegmentationNet, count_weights
from .timm_backbone import TimmBackbone

__all__ = [
    "BACKBONES",
    "BoundaryRefinement",
    "GlobalConvBlock",
    "ResNetBackbone",
    "SegmentationNet",
    "TimmBackbone",
    "build_backbone",
    "build_classifier",
    "count_weights",
    "make_head",
]
