from .backbones import ResNetBackbone, build_backbone, build_classifier
from .blocks import BoundaryRefinement, GlobalConvBlock
from .choices import BACKBONES
from .heads import make_head
from .resnet import mini_resnet, mini_resnet_gcn, resnet50_gcn
from .segmenter import SegmentationNet, count_weights
from .upsampling import BilinearDeconv

__all__ = [
    "BACKBONES",
    "BilinearDeconv",
    "BoundaryRefinement",
    "GlobalConvBlock",
    "ResNetBackbone",
    "SegmentationNet",
    "build_backbone",
    "build_classifier",
    "count_weights",
    "make_head",
    "mini_resnet",
    "mini_resnet_gcn",
    "resnet50_gcn",
]
