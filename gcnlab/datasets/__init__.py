"""Images with label maps, and the transforms that keep the two together."""

from gcnlab.datasets.camvid import CAMVID, CamVid, data_root, read_image, read_labels
from gcnlab.datasets.labels import IGNORE, LabelSet, check_labels
from gcnlab.datasets.shapes import SHAPES, Scene, ShapeObject, Shapes, render
from gcnlab.datasets.transforms import (
    NORMALIZATIONS,
    Normalization,
    evaluation_transform,
    training_transform,
)

__all__ = [
    "CAMVID",
    "IGNORE",
    "NORMALIZATIONS",
    "SHAPES",
    "CamVid",
    "LabelSet",
    "Normalization",
    "Scene",
    "ShapeObject",
    "Shapes",
    "check_labels",
    "data_root",
    "evaluation_transform",
    "read_image",
    "read_labels",
    "render",
    "training_transform",
]
