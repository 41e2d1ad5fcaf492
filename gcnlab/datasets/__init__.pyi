from .cached import Cached
from .camvid import CAMVID, CamVid
from .cityscapes import CITYSCAPES, Cityscapes, cityscapes_train_with_coarse
from .coco import COCOAsVOC, voc_sbd_coco_train
from .files import data_root, read_image, read_labels
from .imagenet import ImageNet
from .labels import IGNORE, LabelSet, check_labels
from .shapes import SHAPES, Scene, ShapeObject, Shapes, render
from .transforms import NORMALIZATIONS, Normalization, evaluation_transform, training_transform
from .voc import VOC, SBDSegmentation, VOCSegmentation, voc_sbd_train

__all__ = [
    "CAMVID",
    "CITYSCAPES",
    "IGNORE",
    "NORMALIZATIONS",
    "SHAPES",
    "VOC",
    "COCOAsVOC",
    "Cached",
    "CamVid",
    "Cityscapes",
    "ImageNet",
    "LabelSet",
    "Normalization",
    "SBDSegmentation",
    "Scene",
    "ShapeObject",
    "Shapes",
    "VOCSegmentation",
    "check_labels",
    "cityscapes_train_with_coarse",
    "data_root",
    "evaluation_transform",
    "read_image",
    "read_labels",
    "render",
    "training_transform",
    "voc_sbd_coco_train",
    "voc_sbd_train",
]
