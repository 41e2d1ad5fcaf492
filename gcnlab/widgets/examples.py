"""The images that an explorer shows, one at a time: tensors, files, or a data set."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from gcnlab.annotations import Float, Int, Tensor, UInt8
from gcnlab.arguments import shown
from gcnlab.datasets.labels import IGNORE
from gcnlab.datasets.normalization import Normalization
from gcnlab.datasets.pictures import WHITE, read_image
from gcnlab.receptive.unit import check_image

LARGEST_ID = 65535
"""Largest id of a label map, of two bytes."""
KEPT = 8
"""Number of images that are kept in memory; others are read again."""


@dataclass(frozen=True, eq=False)
class Example:
    """An image of an explorer.

    Attributes:
        title: its name.
        image: the networks' input, normalised.
        picture: what is shown, RGB in 0 … 255.
        labels: ids of classes or objects; None if they are unknown.
    """

    title: str
    image: Float[Tensor, "channels height width"]
    picture: UInt8[Tensor, "3 height width"]
    labels: Int[Tensor, "height width"] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), in pixels."""
        return tuple(self.image.shape[-2:])


class Examples:
    """Images by number.

    Args:
        source: one image, or a sequence or data set of images. An image is a normalised tensor, a
            picture (uint8, RGB), a file, or a pair (image, labels). A data set is read when an image
            is shown.
        pictures: what is shown, for one image or for each; None undoes the normalisation.
        labels: ids of classes or objects, for one image or for each.
        normalization: of pictures and files, and of the tensors if `pictures` is None.

    Raises:
        ValueError: there is no image, or pictures or labels are not as many as the images.
    """

    def __init__(
        self,
        source: Any,
        pictures: Any = None,
        labels: Any = None,
        normalization: Normalization | None = None,
    ):
        if isinstance(source, Tensor | str | Path) or _is_pair(source):
            source = [source]
            pictures, labels = (None if given is None else [given] for given in (pictures, labels))
        if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
            raise ValueError(
                f"image must be a tensor, a file, or a list or data set of them, not {shown(source)}: "
                "gcnlab.datasets.read_image reads a file"
            )
        if not len(source):
            raise ValueError("there is no image: give at least one")
        for name, given in (("picture", pictures), ("labels", labels)):
            if given is not None and len(given) != len(source):
                raise ValueError(f"{name} has {len(given)} items for {len(source)} images")
        self._source, self._pictures, self._labels = source, pictures, labels
        self._normalize = normalization or Normalization()
        self._added: list[Example] = []
        self._read: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self._source) + len(self._added)

    def __getitem__(self, number: int) -> Example:
        """The image of a number, 0 … len − 1.

        Raises:
            ValueError: the number is out of range; the image, its picture or its labels have a wrong
                type or size.
        """
        given = len(self._source)
        if not 0 <= number < len(self):
            raise ValueError(
                f"image_index {number} is out of range: there are {len(self)} images, counted from 0"
            )
        if number >= given:
            return self._added[number - given]
        if number not in self._read:
            if len(self._read) == KEPT:
                self._read.pop(next(iter(self._read)))
            self._read[number] = self._example(number)
        return self._read[number]

    @property
    def titles(self) -> list[str]:
        """A name for each image: of its file, or its number, from 1 on."""
        files = isinstance(self._source, Sequence)
        names = [
            Path(item).stem
            if files and isinstance(item := self._source[i], str | Path)
            else str(i + 1)
            for i in range(len(self._source))
        ]
        return names + [example.title for example in self._added]

    def add(self, name: str, content: bytes) -> tuple[int, bool]:
        """Add the content of an image file.

        A picture whose longer side is longer than that of the first image is made smaller.

        Returns:
            Its number, and whether it was made smaller.

        Raises:
            ValueError: it is not a picture that can be read.
        """
        name = Path(name).name or "picture"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "picture")
            file.write_bytes(content)
            try:
                read = read_image(file, background=WHITE)
            except ValueError as error:
                raise ValueError(str(error).replace(str(file), name)) from error
        picture = smaller(read, max(self[0].size))
        self._added.append(Example(Path(name).stem, self._normalize(picture), picture))
        return len(self) - 1, picture is not read

    def _example(self, number: int) -> Example:
        image, labels, picture = self._source[number], None, None
        if _is_pair(image):
            image, labels = image
        if self._labels is not None and self._labels[number] is not None:
            labels = self._labels[number]
        if self._pictures is not None:
            picture = self._pictures[number]
        if isinstance(image, str | Path):
            image = read_image(image, background=WHITE)
        if isinstance(image, Tensor) and image.dtype == torch.uint8:
            _check_picture("image", image)
            picture = image if picture is None else picture
            image = self._normalize(image)
        check_image(image)
        if picture is None:
            if len(image) != 3:
                raise ValueError(f"image has {len(image)} channels: give the picture to show, too")
            picture = (self._normalize.invert(image.cpu()) * 255).round().to(torch.uint8)
        _check_picture("picture", picture)
        if labels is not None:
            labels = _ids(labels)
        size = tuple(image.shape[-2:])
        for name, given in (("labels", labels), ("picture", picture)):
            if given is not None and tuple(given.shape[-2:]) != size:
                found, wanted = ("×".join(map(str, s)) for s in (given.shape[-2:], size))
                raise ValueError(f"{name} has {found} pixels, but the image has {wanted}")
        return Example(self.titles[number], image, picture, labels)


def _check_picture(name: str, picture: Any) -> None:
    """Raise ValueError unless this is an RGB picture."""
    if not isinstance(picture, Tensor):
        raise ValueError(f"{name} must be a tensor (3, height, width), uint8, not {shown(picture)}")
    if picture.dtype != torch.uint8 or picture.ndim != 3 or len(picture) != 3:
        raise ValueError(
            f"{name} must be RGB, uint8 (3, height, width), not {picture.dtype} "
            f"{tuple(picture.shape)}"
        )


def _ids(labels: Any) -> Int[Tensor, "height width"]:
    """The ids of a label map; negative ones, which other libraries use for void, become void.

    Raises:
        ValueError: it is not a map of ids, or an id is larger than 65535.
    """
    if not isinstance(labels, Tensor) or labels.ndim != 2 or labels.is_complex():
        raise ValueError(f"labels must be a tensor (height, width) of ids, not {shown(labels)}")
    ids = labels.cpu().long()
    if not torch.equal(ids.to(labels.dtype), labels.cpu()):
        raise ValueError("labels must be ids, which are whole numbers")
    if ids.max() > LARGEST_ID:
        raise ValueError(f"labels has the id {int(ids.max())}; the largest is {LARGEST_ID}")
    return ids.masked_fill(ids < 0, IGNORE)


def smaller(
    picture: UInt8[Tensor, "3 height width"], longest: int
) -> UInt8[Tensor, "3 rows columns"]:
    """The picture with a longer side of at most `longest` pixels, resized with antialiasing."""
    height, width = picture.shape[-2:]
    if max(height, width) <= longest:
        return picture
    scale = longest / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    resized = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _is_pair(item: Any) -> bool:
    """Whether this is one image with its labels, and not two images."""
    if not isinstance(item, tuple) or len(item) != 2:
        return False
    image, labels = item
    another = isinstance(labels, str | Path) or getattr(labels, "ndim", 0) == 3
    return isinstance(image, Tensor | str | Path) and not another
