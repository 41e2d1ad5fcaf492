"""VOC animals: photographs of PASCAL VOC 2012 and SBD with six classes, at most 384 pixels a side.

The classes are background, cat, cow, dog, horse, person and sheep; VOC's other classes are void. A
score on the 300 validation images is not the mean IoU of VOC 2012 val, which has 21 classes and
1,449 images.

Two forms of the data are read, and both give the same task:

    root/voc_animals/VOCdevkit/VOC2012/…    a small copy, prepared in VOC's layout: only these
                                            images, shrunk, with label maps as PNGs
    root/VOCdevkit/VOC2012/…                VOC 2012 and SBD as their authors distribute them; the
    root/benchmark_RELEASE/dataset/…        lists of names that come with the package select images

The first form is used if it exists. Images of the second form are shrunk when they are read. The
photographs of the two forms differ slightly, because the small copy was compressed again.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.files import check_split, data_root, read_names
from gcnlab.datasets.labels import VOC_ANIMALS
from gcnlab.datasets.merged import Merged
from gcnlab.datasets.trees import stem_of
from gcnlab.datasets.voc import SBDSegmentation, VOCSegmentation, require_disjoint
from gcnlab.pretrained import data_folder

LONGEST = 384
"""The longest side of an image, in pixels; larger images are shrunk to it."""

_HELD_BACK = 300 / 3131
"""Share of the training images that the split "tune" holds back: 300 of 3,131."""
_CLASSES = VOC_ANIMALS.names[1:]


class VOCAnimals(Merged):
    """Photographs of VOC 2012 and SBD: background, cat, cow, dog, horse, person and sheep.

    `dataset[i]` is a pair of tv_tensors: an image, uint8 (3, height, width), and a label map, uint8
    (height, width) of class ids 0 … 6 and void 255. No side is longer than 384 pixels.

    Args:
        split: "train" or "val". Settings are chosen on two parts of the training images: "tune",
            300 of them, and "tune-train", the others. They depend only on the images' names.
        root: the folder that holds voc_animals, or VOCdevkit and benchmark_RELEASE; None means
            `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
        lists: the folder of train.txt and val.txt. None means the lists of the small copy, or, for
            VOC and SBD, those that come with the package.

    Raises:
        FileNotFoundError: neither form of the data is there, or a file is missing.
        ValueError: a training image is also a validation image of VOC; or, when an item is read, a
            file is damaged or a label map does not hold class ids. The message names the file.
    """

    labels = VOC_ANIMALS

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
        lists: str | Path | None = None,
    ):
        check_split(split, ("train", "val", "tune", "tune-train"))
        self.split = split
        self.root = data_root() if root is None else Path(root)
        small = self.root / "voc_animals" / "VOCdevkit" / "VOC2012"
        full, sbd = self.root / "VOCdevkit" / "VOC2012", self.root / "benchmark_RELEASE"
        prepared = small.is_dir()
        if not prepared and not (full.is_dir() and sbd.is_dir()):
            raise FileNotFoundError(_nothing_in(self.root))
        voc = small if prepared else full
        if lists is None:
            lists = voc / "ImageSets" / "Segmentation" if prepared else data_folder("voc_animals")
        official = "val" if split == "val" else "train"
        listing = Path(lists) / f"{official}.txt"
        names = _part(read_names(listing, "unpack VOC animals again"), split)
        super().__init__(_readers(official, names, voc, None if prepared else sbd), transforms)
        self._sort(names)
        if split != "val":
            require_disjoint(self, VOCSegmentation("val", voc))

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        return shrink(*super().read(index), LONGEST)

    def _sort(self, names: list[str]) -> None:
        """Put the images of both data sets in the order of the list."""
        position = {name: i for i, name in enumerate(names)}
        order = sorted(range(len(names)), key=lambda i: position[stem_of(self.images[i])])
        self.images = [self.images[i] for i in order]
        self._place = [self._place[i] for i in order]


def _nothing_in(root: Path) -> str:
    """The error for a folder with neither form of the data."""
    if root.name == "voc_animals" and (root / "VOCdevkit").is_dir():
        return f"{root} is the folder voc_animals itself: give the folder that holds it"
    return (
        f"VOC animals not found in {root}: put VOC 2012 in {root}/VOCdevkit/VOC2012 and SBD in "
        f"{root}/benchmark_RELEASE (`gcnlab data get voc`, `gcnlab data get sbd`), or a prepared "
        f"small copy in {root}/voc_animals/VOCdevkit/VOC2012; or set GCNLAB_DATA to their folder"
    )


def _readers(
    split: str, names: list[str], voc: Path, sbd: Path | None
) -> list[VOCSegmentation | SBDSegmentation]:
    """The readers of the named images; those that VOC does not label have SBD's labels."""
    if sbd is None:
        return [VOCSegmentation(split, voc, classes=_CLASSES, names=names)]
    listing = voc / "ImageSets" / "Segmentation" / f"{split}.txt"
    known = frozenset(read_names(listing, "`gcnlab data get voc` downloads VOC 2012"))
    labelled = [name for name in names if name in known]
    others = [name for name in names if name not in known]
    readers: list[VOCSegmentation | SBDSegmentation] = []
    if labelled:
        readers.append(VOCSegmentation(split, voc, classes=_CLASSES, names=labelled))
    if others:
        readers.append(SBDSegmentation("trainval", sbd, classes=_CLASSES, names=others))
    return readers


def _part(names: list[str], split: str) -> list[str]:
    """The names of a split, in the order of the list.

    The split "tune" has the names whose SHA-256 is smallest, which is a fixed random choice.
    """
    if split in ("train", "val"):
        return names
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    held_back = set(ranked[: max(1, round(len(names) * _HELD_BACK))])
    return [name for name in names if (name in held_back) == (split == "tune")]


def shrink(
    image: UInt8[Tensor, "3 height width"], labels: UInt8[Tensor, "height width"], longest: int
) -> tuple[UInt8[Tensor, "3 rows columns"], UInt8[Tensor, "rows columns"]]:
    """Resize an image and its label map so that the longest side has at most `longest` pixels.

    The image is resized with Lanczos's filter, the labels with nearest neighbours. Smaller images
    are returned unchanged.

    Args:
        image, labels: tv_tensors; so are the results.
        longest: the longest side of the result, in pixels.
    """
    from torchvision import tv_tensors  # slow to import

    height, width = labels.shape
    factor = longest / max(height, width)
    if factor >= 1:
        return image, labels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.LANCZOS)
    ids = Image.fromarray(labels.numpy()).resize(size, Image.Resampling.NEAREST)
    return (
        tv_tensors.Image(torch.from_numpy(np.array(picture)).permute(2, 0, 1)),
        tv_tensors.Mask(torch.from_numpy(np.array(ids))),
    )
