"""PASCAL VOC 2012 segmentation, and SBD, whose labels the paper adds for 10,582 training images.

    VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg             1,464 train, 1,449 val, 1,456 test
                      SegmentationClass/2007_000032.png      palette PNGs; 255 is void
                      ImageSets/Segmentation/train.txt …
    benchmark_RELEASE/dataset/img/2008_000002.jpg            8,498 train, 2,857 val
                              cls/2008_000002.mat            GTcls.Segmentation; no void label
                              train.txt, val.txt

SBD uses the images of VOC 2011, so some of them are training images of VOC 2012 and others are *its
validation images*. `voc_sbd_train` uses VOC's own labels for the former and excludes the latter.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.files import (
    ImagePairs,
    check_split,
    data_root,
    read_labels,
    read_names,
    require_files,
    require_folder,
)
from gcnlab.datasets.labels import VOC
from gcnlab.datasets.merged import Merged
from gcnlab.datasets.trees import stem_of


class VOCSegmentation(ImagePairs):
    """VOC 2012 segmentation.

    Args:
        split: "train", "val", "trainval" or "test". The test split has no labels: all pixels are
            void.
        root: the folder VOC2012; None means `VOCdevkit/VOC2012` under `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.

    Raises:
        FileNotFoundError, ValueError: a folder, list or file is missing; or, when an item is read,
            a file is damaged or a label map does not hold class ids. The message names the file.
    """

    labels = VOC

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
    ):
        check_split(split, ("train", "val", "trainval", "test"))
        super().__init__(transforms)
        self.split = split
        self.root = data_root() / "VOCdevkit" / "VOC2012" if root is None else Path(root)
        remedy = "this is not a VOC 2012 tree; `gcnlab data get voc` downloads it"
        require_folder(self.root, remedy)
        names = read_names(self.root / "ImageSets" / "Segmentation" / f"{split}.txt", remedy)
        images = [self.root / "JPEGImages" / f"{name}.jpg" for name in names]
        labelled = split != "test"
        labels = [
            self.root / "SegmentationClass" / f"{name}.png" if labelled else None for name in names
        ]
        files = require_files([*images, *labels], f"{split} split of VOC 2012", remedy)
        self.images, self.label_files = files[: len(names)], files[len(names) :]

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        return read_labels(file, VOC.colors)


class SBDSegmentation(ImagePairs):
    """The class segmentations of the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011).

    Args:
        split: "train", "val" or "trainval" of SBD; the first two both contain images of VOC val.
        root: the folder benchmark_RELEASE, or the folder with img/ and cls/; None means
            `benchmark_RELEASE` under `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
        without: names of images to exclude.

    Raises:
        FileNotFoundError, ValueError: see `VOCSegmentation`.
    """

    labels = VOC

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
        without: frozenset[str] = frozenset(),
    ):
        check_split(split, ("train", "val", "trainval"))
        super().__init__(transforms)
        self.split = split
        root = data_root() / "benchmark_RELEASE" if root is None else Path(root)
        remedy = "this is not an SBD tree; `gcnlab data get sbd` downloads it"
        require_folder(root, remedy)
        self.root = root / "dataset" if (root / "dataset").is_dir() else root
        parts = ("train", "val") if split == "trainval" else (split,)
        names = [name for part in parts for name in read_names(self.root / f"{part}.txt", remedy)]
        names = [name for name in names if name not in without]
        images = [self.root / "img" / f"{name}.jpg" for name in names]
        labels = [self.root / "cls" / f"{name}.mat" for name in names]
        files = require_files([*images, *labels], f"{split} split of SBD", remedy)
        self.images, self.label_files = files[: len(names)], files[len(names) :]

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        return read_mat(file)


def read_mat(file: Path) -> UInt8[Tensor, "height width"]:
    """Read the class ids in a MATLAB file of SBD.

    Raises:
        ValueError: the file holds none; the message names the file.
    """
    from scipy.io import loadmat  # imported here, so that training runs without scipy

    try:
        ids = loadmat(file)["GTcls"][0]["Segmentation"][0]
    except Exception as error:  # damaged files fail in many ways
        raise ValueError(
            f"{file}: damaged, or without GTcls.Segmentation ({error}); use the files in SBD's cls/"
        ) from error
    if not isinstance(ids, np.ndarray) or ids.ndim != 2 or ids.dtype != np.uint8:
        found = getattr(ids, "dtype", type(ids).__name__)
        raise ValueError(f"{file}: GTcls.Segmentation must be 8-bit ids, not {found}")
    return torch.from_numpy(np.ascontiguousarray(ids))


def voc_sbd_train(
    voc_root: str | Path | None = None,
    sbd_root: str | Path | None = None,
    transforms: Callable | None = None,
) -> Merged:
    """VOC train and the images that SBD adds: 10,582 images, none of VOC val (paper, section 4).

    Images in both sets have VOC's labels, which are void along the edges of objects; SBD's have no
    void. Raises the errors of `VOCSegmentation` and `SBDSegmentation`.
    """
    train, val = VOCSegmentation("train", voc_root), VOCSegmentation("val", voc_root)
    known = frozenset(stem_of(image) for part in (train, val) for image in part.images)
    merged = Merged([train, SBDSegmentation("trainval", sbd_root, without=known)], transforms)
    require_disjoint(merged, val)
    return merged


def require_disjoint(training: ImagePairs | Merged, validation: ImagePairs) -> None:
    """Raise ValueError, naming an image, if both sets contain it."""
    names = {stem_of(image) for image in validation.images}
    both = [image for image in training.images if stem_of(image) in names]
    if both:
        raise ValueError(f"{both[0]} is in both the training set and the validation set")
