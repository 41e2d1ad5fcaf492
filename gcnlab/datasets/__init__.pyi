from .camvid import CamVid
from .cityscapes import Cityscapes, cityscapes_train_with_coarse
from .coco import COCOAsVOC, voc_sbd_coco_train
from .cutout import (
    Cutout,
    Placed,
    at_scales,
    blurred_ground,
    cut_out,
    deepest_pixel,
    paste,
    plain_ground,
    textured_ground,
)
from .files import data_root, read_image, read_labels
from .imagenet import ImageNet
from .inspection import inspect_dataset
from .labels import CAMVID, CITYSCAPES, IGNORE, SHAPES, VOC, VOC_ANIMALS, LabelSet
from .miniature import make_miniatures
from .normalization import NORMALIZATIONS, Normalization, weights_normalization
from .photographs import cat_photograph
from .shapes import Scene, ShapeObject, Shapes, render
from .transforms import evaluation_transform, training_transform
from .voc import SBDSegmentation, VOCSegmentation, voc_sbd_train
from .voc_animals import VOCAnimals

__all__ = [
    "CAMVID",
    "CITYSCAPES",
    "IGNORE",
    "NORMALIZATIONS",
    "SHAPES",
    "VOC",
    "VOC_ANIMALS",
    "COCOAsVOC",
    "CamVid",
    "Cityscapes",
    "Cutout",
    "ImageNet",
    "LabelSet",
    "Normalization",
    "Placed",
    "SBDSegmentation",
    "Scene",
    "ShapeObject",
    "Shapes",
    "VOCAnimals",
    "VOCSegmentation",
    "at_scales",
    "blurred_ground",
    "cat_photograph",
    "cityscapes_train_with_coarse",
    "cut_out",
    "data_root",
    "deepest_pixel",
    "evaluation_transform",
    "inspect_dataset",
    "make_miniatures",
    "paste",
    "plain_ground",
    "read_image",
    "read_labels",
    "render",
    "textured_ground",
    "training_transform",
    "voc_sbd_coco_train",
    "voc_sbd_train",
    "weights_normalization",
]
