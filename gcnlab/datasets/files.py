"""Base classes of the data sets in files: images and label maps.

The modules `pictures`, `lists` and `trees` read pictures, lists and folders; the functions that a
data set needs can also be imported from here.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.ids import check_labels
from gcnlab.datasets.labels import IGNORE, LabelSet
from gcnlab.datasets.lists import read_names
from gcnlab.datasets.pictures import palette_picture, read_image, read_labels
from gcnlab.datasets.trees import check_split, data_root, require_files, require_folder, stem_of

__all__ = [
    "ImagePairs",
    "LabelledImages",
    "check_split",
    "data_root",
    "palette_picture",
    "read_image",
    "read_labels",
    "read_names",
    "require_files",
    "require_folder",
]


class LabelledImages(Dataset):
    """Base class: images in files, with label maps.

    `dataset[i]` is a pair of tv_tensors: an image, uint8 (3, height, width), and a label map, uint8
    (height, width) of class ids and void 255. Every image and label is checked when it is read.

    A subclass sets `labels`, fills `images` (the files, in order), and implements `label_map`.

    Args:
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.

    Raises:
        ValueError: when an item is read, a file is damaged, the sizes differ, or an id is not a
            class.
    """

    labels: LabelSet
    images: list[Path]

    def __init__(self, transforms: Callable | None = None):
        self.transforms = transforms

    @property
    def num_classes(self) -> int:
        return self.labels.num_classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.read(index)
        return pair if self.transforms is None else self.transforms(*pair)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Image `index` and its label map, checked, before the transforms."""
        from torchvision import tv_tensors  # slow to import

        image = read_image(self.images[index], upright=False)  # the labels match the stored pixels
        labels = self.label_map(index, image)
        source = self.label_source(index)
        check_labels(labels, self.num_classes, source)
        if image.shape[-2:] != labels.shape:
            raise ValueError(
                f"{self.images[index]} is {_size(image)}, but its label map {source} is {_size(labels)}"
            )
        return tv_tensors.Image(image), tv_tensors.Mask(labels)

    def label_map(self, index: int, image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "_ _"]:
        """The class ids of image `index`."""
        raise NotImplementedError

    def label_source(self, index: int) -> str | Path:
        """The name of the label map of image `index` in error messages."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """File name of image `index`, without its extension."""
        return stem_of(self.images[index])


class ImagePairs(LabelledImages):
    """Base class: images whose label maps are files.

    A subclass fills `label_files`, parallel to `images`. None means that the image has no label map
    (in a test split); then every pixel is void.
    """

    label_files: list[Path | None]

    def label_map(self, index: int, image: Tensor) -> UInt8[Tensor, "_ _"]:
        file = self.label_files[index]
        if file is None:
            return torch.full(image.shape[-2:], IGNORE, dtype=torch.uint8)
        return self.decode(file)

    def label_source(self, index: int) -> str | Path:
        return self.label_files[index] or f"{self.images[index]} (no label)"

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        """Read class ids and void 255 from a label file."""
        return read_labels(file)


def _size(tensor: Tensor) -> str:
    height, width = tensor.shape[-2:]
    return f"{width}×{height}"
