"""Images with label maps, and the transforms that keep the two together."""

from gcnlab.datasets.cached import Cached
from gcnlab.datasets.camvid import CAMVID, CamVid
from gcnlab.datasets.cityscapes import CITYSCAPES, Cityscapes, cityscapes_train_with_coarse
from gcnlab.datasets.coco import COCOAsVOC, voc_sbd_coco_train
from gcnlab.datasets.files import data_root, read_image, read_labels
from gcnlab.datasets.imagenet import ImageNet
from gcnlab.datasets.labels import IGNORE, LabelSet, check_labels
from gcnlab.datasets.shapes import SHAPES, Scene, ShapeObject, Shapes, render
from gcnlab.datasets.transforms import (
    NORMALIZATIONS,
    Normalization,
    evaluation_transform,
    training_transform,
)
from gcnlab.datasets.voc import VOC, SBDSegmentation, VOCSegmentation, voc_sbd_train

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
