"""PASCAL VOC 2012 segmentation, and SBD, whose labels the paper adds for 10,582 training images.

    VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg             1,464 train, 1,449 val, 1,456 test
                      SegmentationClass/2007_000032.png      palette PNGs; 255 is void
                      ImageSets/Segmentation/train.txt …
    benchmark_RELEASE/dataset/img/2008_000002.jpg            8,498 train, 2,857 val
                              cls/2008_000002.mat            GTcls.Segmentation; no void label
                              train.txt, val.txt

SBD uses the images of VOC 2011, so some of them are training images of VOC 2012 and others are *its
validation images*. `voc_sbd_train` uses VOC's own labels for the former and excludes the latter.

Every reader takes a subset of the classes: `classes=("cat", "dog")` numbers the background 0, the
cats 1 and the dogs 2, and makes all other classes void.
"""

from collections.abc import Callable, Sequence
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
from gcnlab.datasets.ids import check_labels
from gcnlab.datasets.labels import IGNORE, VOC, LabelSet
from gcnlab.datasets.merged import Merged
from gcnlab.datasets.trees import stem_of


class VOCSegmentation(ImagePairs):
    """VOC 2012 segmentation.

    Args:
        split: "train", "val", "trainval" or "test". The test split has no labels: all pixels are
            void.
        root: the folder VOC2012; None means `VOCdevkit/VOC2012` under `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
        classes: names of the classes besides the background, which keeps the id 0. They get the ids
            1, 2, … in this order, and all others become void. None means all 20.
        names: names of the images to use, in this order; None means all of the split.

    Raises:
        FileNotFoundError, ValueError: a folder, list or file is missing, a class is unknown, or an
            image is not in the split; or, when an item is read, a file is damaged or a label map
            does not hold class ids. The message names the file.
    """

    labels = VOC

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
    ):
        check_split(split, ("train", "val", "trainval", "test"))
        super().__init__(transforms)
        self.split, self.labels = split, _label_set(classes)
        self.root = data_root() / "VOCdevkit" / "VOC2012" if root is None else Path(root)
        remedy = "this is not a VOC 2012 tree; `gcnlab data get voc` downloads it"
        require_folder(self.root, remedy)
        listing = self.root / "ImageSets" / "Segmentation" / f"{split}.txt"
        names = _selected(names, read_names(listing, remedy), str(listing))
        images = [self.root / "JPEGImages" / f"{name}.jpg" for name in names]
        labelled = split != "test"
        labels = [
            self.root / "SegmentationClass" / f"{name}.png" if labelled else None for name in names
        ]
        files = require_files([*images, *labels], f"{split} split of VOC 2012", remedy)
        self.images, self.label_files = files[: len(names)], files[len(names) :]

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        return renumber(read_labels(file, VOC.colors), self.labels, file)


class SBDSegmentation(ImagePairs):
    """The class segmentations of the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011).

    Args:
        split: "train", "val" or "trainval" of SBD; the first two both contain images of VOC val.
        root: the folder benchmark_RELEASE, or the folder with img/ and cls/; None means
            `benchmark_RELEASE` under `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
        without: names of images to exclude.
        classes, names: see `VOCSegmentation`.

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
        classes: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
    ):
        check_split(split, ("train", "val", "trainval"))
        super().__init__(transforms)
        self.split, self.labels = split, _label_set(classes)
        root = data_root() / "benchmark_RELEASE" if root is None else Path(root)
        remedy = "this is not an SBD tree; `gcnlab data get sbd` downloads it"
        require_folder(root, remedy)
        self.root = root / "dataset" if (root / "dataset").is_dir() else root
        parts = ("train", "val") if split == "trainval" else (split,)
        listed = [name for part in parts for name in read_names(self.root / f"{part}.txt", remedy)]
        listed = [name for name in listed if name not in without]
        names = _selected(names, listed, f"the {split} split of SBD in {self.root}")
        images = [self.root / "img" / f"{name}.jpg" for name in names]
        labels = [self.root / "cls" / f"{name}.mat" for name in names]
        files = require_files([*images, *labels], f"{split} split of SBD", remedy)
        self.images, self.label_files = files[: len(names)], files[len(names) :]

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        return renumber(read_mat(file), self.labels, file)


def _label_set(classes: Sequence[str] | None) -> LabelSet:
    """VOC's label set, or that of the background and `classes`."""
    if classes is None:
        return VOC
    classes = (classes,) if isinstance(classes, str) else tuple(classes)
    if not classes or "background" in classes:
        raise ValueError(
            f"classes must name one or more of VOC's classes without the background, "
            f"which always has the id 0, not {classes}"
        )
    return VOC.subset(("background", *classes))


def _selected(names: Sequence[str] | None, listed: list[str], source: str) -> list[str]:
    """Return `names`, or all that are listed; raise ValueError if a name is not listed in `source`."""
    if names is None:
        return listed
    known = set(listed)
    unknown = [name for name in names if name not in known]
    if unknown:
        more = f", nor are {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ValueError(f"image {unknown[0]} is not in {source}{more}: remove it from names")
    if len(names) == 0 or len(set(names)) < len(names):
        raise ValueError("names must be one or more names of images, each given once")
    return list(names)


def renumber(
    ids: UInt8[Tensor, "height width"], labels: LabelSet, source: str | Path
) -> UInt8[Tensor, "height width"]:
    """Turn VOC's ids into those of a subset of its classes; the other classes become void.

    Raises:
        ValueError: an id is neither a class of VOC nor void; the message names the file `source`.
    """
    if labels == VOC:
        return ids
    check_labels(ids, VOC.num_classes, source)
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    for new, name in enumerate(labels.names):
        table[VOC.names.index(name)] = new
    return table[ids.int()]


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
    classes: Sequence[str] | None = None,
) -> Merged:
    """VOC train and the images that SBD adds: 10,582 images, none of VOC val (paper, section 4).

    Images in both sets have VOC's labels, which are void along the edges of objects; SBD's have no
    void. `classes`: see `VOCSegmentation`. Raises the errors of `VOCSegmentation` and
    `SBDSegmentation`.
    """
    train = VOCSegmentation("train", voc_root, classes=classes)
    val = VOCSegmentation("val", voc_root)
    known = frozenset(stem_of(image) for part in (train, val) for image in part.images)
    added = SBDSegmentation("trainval", sbd_root, without=known, classes=classes)
    merged = Merged([train, added], transforms)
    require_disjoint(merged, val)
    return merged


def require_disjoint(training: ImagePairs | Merged, validation: ImagePairs) -> None:
    """Raise ValueError, naming an image, if both sets contain it."""
    names = {stem_of(image) for image in validation.images}
    both = [image for image in training.images if stem_of(image) in names]
    if both:
        raise ValueError(f"{both[0]} is in both the training set and the validation set")
