"""CamVid: 367 + 101 photographs of a drive, 480×360, 11 classes (Brostow, Fauqueur, Cipolla 2008).

Two forms of the same tree are read:

    root/train/*.jpg|png   root/trainannot/*.png          (pairs by name)
    root/train.txt         lines "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png;"

The lists, where there are any, decide; of each path in them only the last folder and the name count.
Labels are single-channel PNGs of class ids; id 11 (void) becomes 255.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.labels import IGNORE, LabelSet, check_labels

CAMVID = LabelSet(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (128, 190, 230),
        (140, 70, 60),
        (240, 220, 130),
        (110, 90, 120),
        (220, 150, 190),
        (60, 130, 60),
        (250, 180, 0),
        (160, 160, 110),
        (0, 70, 160),
        (220, 40, 40),
        (110, 20, 60),
    ),
)

_VOID = 11


def data_root() -> Path:
    """Folder of the data sets: the environment variable GCNLAB_DATA, or `data`."""
    return Path(os.environ.get("GCNLAB_DATA", "data"))


class CamVid(Dataset):
    """CamVid in its 11-class, 480×360 form.

    `dataset[i]` is a pair of tv_tensors: an image, uint8 (3, 360, 480), and a label map, uint8
    (360, 480) of class ids 0 … 10 and void 255.

    Args:
        split: "train", "val" or "test".
        root: folder that holds the tree; None means `camvid` under `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.

    Raises:
        FileNotFoundError: no such folder, or an image without its label file.
        ValueError: an empty split, or (on reading an item) a damaged file, sizes that differ, a
            label that is not single-channel or has an id above 11. Each names the file.
    """

    labels = CAMVID
    num_classes = CAMVID.num_classes

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
    ):
        if split not in ("train", "val", "test"):
            raise ValueError(f"unknown split {split!r}; choose train, val or test")
        self.root = data_root() / "camvid" if root is None else Path(root)
        self.split = split
        self.transforms = transforms
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"no CamVid at {self.root}: give root=…, or set GCNLAB_DATA to the folder above camvid/"
            )
        listing = self.root / f"{split}.txt"
        self.pairs = self._read_list(listing) if listing.is_file() else self._read_folders()
        if not self.pairs:
            raise ValueError(f"{listing if listing.is_file() else self.root / split}: empty split")
        for image, label in self.pairs:
            for path in (image, label):
                if not path.is_file():
                    raise FileNotFoundError(f"{path} is missing ({split} split of CamVid)")

    def _read_list(self, listing: Path) -> list[tuple[Path, Path]]:
        pairs = []
        for number, line in enumerate(listing.read_text().splitlines(), start=1):
            paths = line.strip().rstrip(";").split()
            if not paths:
                continue
            if len(paths) != 2:
                raise ValueError(f"{listing}:{number}: expected two paths, found {len(paths)}")
            image, label = (self.root / Path(*Path(p).parts[-2:]) for p in paths)
            pairs.append((image, label))
        return pairs

    def _read_folders(self) -> list[tuple[Path, Path]]:
        folder, labels = self.root / self.split, self.root / f"{self.split}annot"
        for path in (folder, labels):
            if not path.is_dir():
                raise FileNotFoundError(f"{path} is missing: not a CamVid tree, or no such split")
        images = sorted(
            p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg"}
        )
        return [(image, labels / f"{image.stem}.png") for image in images]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        image_path, label_path = self.pairs[index]
        image = read_image(image_path)
        labels = read_labels(label_path)
        labels[labels == _VOID] = IGNORE
        check_labels(labels, self.num_classes, label_path)
        if image.shape[-2:] != labels.shape:
            raise ValueError(
                f"{image_path} is {_size(image)} but its label {label_path} is {_size(labels)}"
            )
        pair = tv_tensors.Image(image), tv_tensors.Mask(labels)
        return pair if self.transforms is None else self.transforms(*pair)

    def name(self, index: int) -> str:
        """File name of image `index`, without its ending."""
        return self.pairs[index][0].stem


def read_image(path: str | Path) -> UInt8[Tensor, "3 height width"]:
    """Read a picture as RGB. Raises ValueError, naming the file, if it is damaged or no picture."""
    return torch.from_numpy(_decode(path, "RGB")).permute(2, 0, 1).contiguous()


def read_labels(path: str | Path) -> UInt8[Tensor, "height width"]:
    """Read a label map of ids: an 8-bit PNG, greyscale or palette. Anything else is a ValueError."""
    return torch.from_numpy(_decode(path, None))


def _decode(path: str | Path, mode: str | None) -> np.ndarray:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with Image.open(path) as picture:
            found = picture.mode
            pixels = np.array(picture.convert(mode) if mode else picture)
    except Exception as error:  # Pillow has many words for a damaged file
        raise ValueError(f"{path}: damaged or not a picture ({error})") from error
    if mode is None and found not in ("L", "P"):
        raise ValueError(f"{path}: labels must be 8-bit ids (L or P), not {found}")
    return pixels


def _size(tensor: Tensor) -> str:
    height, width = tensor.shape[-2:]
    return f"{width}×{height}"
