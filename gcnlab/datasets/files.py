"""Pictures and label maps in files, and the data sets made of them.

A label map that is read wrongly trains a network wrongly and says nothing; so whatever is not plainly
a map of ids is an error that names the file.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.labels import IGNORE, LabelSet, check_labels


def data_root() -> Path:
    """Folder of the data sets: the environment variable GCNLAB_DATA, or `data`."""
    return Path(os.environ.get("GCNLAB_DATA", "data"))


class LabelledImages(Dataset):
    """Images in files, with label maps: what the readers share.

    `dataset[i]` is a pair of tv_tensors: an image, uint8 (3, height, width), and a label map, uint8
    (height, width) of class ids and void 255. Every image and label is checked when it is read.

    A reader sets `labels`, fills `images` (the files, in order), and says in `label_map` where the ids come
    from.

    Args:
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.

    Raises:
        ValueError: (on reading an item) a damaged file, sizes that differ, an id that is no class.
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

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        image = read_image(self.images[index])
        labels = self.label_map(index, image)
        source = self.label_source(index)
        check_labels(labels, self.num_classes, source)
        if image.shape[-2:] != labels.shape:
            raise ValueError(
                f"{self.images[index]} is {_size(image)} but its label {source} is {_size(labels)}"
            )
        pair = tv_tensors.Image(image), tv_tensors.Mask(labels)
        return pair if self.transforms is None else self.transforms(*pair)

    def label_map(self, index: int, image: UInt8[Tensor, "3 height width"]) -> UInt8[Tensor, "_ _"]:
        """The ids of image `index`."""
        raise NotImplementedError

    def label_source(self, index: int) -> str | Path:
        """What an error message calls the label of image `index`."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """File name of image `index`, without its ending."""
        return self.images[index].stem


class ImagePairs(LabelledImages):
    """Images whose label maps are files of ids too.

    A reader fills `label_files`, parallel to `images`; None where there is no label (a test split): every
    pixel is void then.
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
        """Class ids and void 255 from a label file."""
        return read_labels(file)


def check_split(split: str, splits: tuple[str, ...]) -> None:
    """Raise ValueError, naming the choices, if there is no such split."""
    if split not in splits:
        *first, last = splits
        raise ValueError(f"unknown split {split!r}; choose {', '.join(first)} or {last}")


def require_files(paths: Iterable[Path | None], what: str, remedy: str) -> None:
    """Raise FileNotFoundError, naming the first file that is missing, if one is.

    Folders are listed once, so that a hundred thousand files take a second.
    """
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path is None:
            continue
        if path.parent not in listed:
            try:
                listed[path.parent] = set(os.listdir(path.parent))
            except (FileNotFoundError, NotADirectoryError):
                raise FileNotFoundError(f"{path.parent} is missing ({what}): {remedy}") from None
        if path.name not in listed[path.parent]:
            missing.append(path)
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{missing[0]} is missing{more} ({what}): {remedy}")


def require_folder(folder: Path, remedy: str) -> Path:
    """`folder`, or FileNotFoundError with what to do about it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: {remedy}")
    return folder


def read_names(listing: Path, remedy: str) -> list[str]:
    """The lines of a list of names, blanks left out.

    Raises:
        FileNotFoundError, ValueError: there is no list, it is empty, or a name is in it twice.
    """
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} is missing: {remedy}")
    names = listing.read_text().split()
    if not names:
        raise ValueError(f"{listing}: empty split")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{listing}: {twice} is listed twice")
    return names


def read_image(path: str | Path) -> UInt8[Tensor, "3 height width"]:
    """Read a picture as RGB. Raises ValueError, naming the file, if it is damaged or no picture.

    A pixel's three values lie side by side in memory (channels last), as decoders give them and as
    resizing is quick.
    """
    return torch.from_numpy(_decode(path, "RGB")).permute(2, 0, 1)


def read_labels(
    path: str | Path, palette: tuple[tuple[int, int, int], ...] | None = None
) -> UInt8[Tensor, "height width"]:
    """Read a label map of ids: an 8-bit PNG, greyscale or palette. Anything else is a ValueError.

    Args:
        palette: (red, green, blue) of each id. A palette PNG whose colours are others is refused then: its
            indices are some program's numbers, not class ids.
    """
    return torch.from_numpy(_decode(path, None, palette))


def palette_picture(ids: np.ndarray, colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """A picture whose pixels are the ids, uint8 (height, width), and whose palette is `colors`."""
    picture = Image.fromarray(ids).convert("P")
    picture.putpalette([value for color in colors for value in color])
    return picture


_NOT_IDS = {
    "RGB": "colours, not ids: take the original palette or id PNGs, not pictures made of them",
    "RGBA": "colours, not ids: take the original palette or id PNGs, not pictures made of them",
    "I;16": "16 bits: instance ids, perhaps; take the 8-bit class ids",
    "I": "more than 8 bits: instance ids, perhaps; take the 8-bit class ids",
    "1": "one bit: a mask, not class ids",
    "L;4": "4 bits of grey, which decoders scale: save the ids with 8 bits",
    "L;2": "2 bits of grey, which decoders scale: save the ids with 8 bits",
}


def _decode(
    path: str | Path,
    mode: str | None,
    palette: tuple[tuple[int, int, int], ...] | None = None,
) -> np.ndarray:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with Image.open(path) as picture:
            found = picture.mode
            if found == "L" and picture.format == "PNG":
                found = picture.tile[0][3]  # "L;4" is 4 bits in the file
            pixels = np.array(picture.convert(mode) if mode else picture)
            colors = picture.getpalette() or []
    except Exception as error:  # Pillow has many words for a damaged file
        raise ValueError(f"{path}: damaged or not a picture ({error})") from error
    if mode is None and found not in ("L", "P"):
        why = _NOT_IDS.get(found, "not ids")
        raise ValueError(f"{path}: labels must be 8-bit ids (L or P), not {found} ({why})")
    if palette is not None and found == "P":
        others = [i for i, color in enumerate(palette) if tuple(colors[3 * i : 3 * i + 3]) != color]
        for i in others:
            if (pixels == i).any():
                raise ValueError(
                    f"{path}: the palette gives id {i} another colour than the data set's: these are "
                    "not class ids; take the original PNGs"
                )
    return pixels


def _size(tensor: Tensor) -> str:
    height, width = tensor.shape[-2:]
    return f"{width}×{height}"
