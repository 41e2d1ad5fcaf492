"""Global convolutional networks: blocks, heads, backbones, and the segmentation network."""

from gcnlab.models.backbones import BACKBONES, ResNetBackbone, build_backbone, build_classifier
from gcnlab.models.blocks import BoundaryRefinement, GlobalConvBlock
from gcnlab.models.heads import make_head
from gcnlab.models.resnet import mini_resnet, mini_resnet_gcn, resnet50_gcn
from gcnlab.models.segmenter import SegmentationNet, count_weights
from gcnlab.models.upsampling import BilinearDeconv

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
