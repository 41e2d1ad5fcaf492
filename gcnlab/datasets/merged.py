"""Merge several data sets with the same classes into one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gcnlab.annotations import Tensor
from gcnlab.datasets.files import LabelledImages


class Merged(LabelledImages):
    """A concatenation of data sets.

    Args:
        parts: data sets with the same classes; their own transforms are not applied.
        transforms: called with (image, labels), returns both.

    Raises:
        ValueError: the classes of the parts differ.
    """

    def __init__(self, parts: Sequence[LabelledImages], transforms: Callable | None = None):
        super().__init__(transforms)
        self.parts, self.labels = list(parts), parts[0].labels
        for part in parts:
            if part.labels != self.labels:
                raise ValueError(
                    f"{type(part).__name__} has different classes than {type(parts[0]).__name__}"
                )
        self.images: list[Path] = [image for part in parts for image in part.images]
        self._place = [(part, i) for part in parts for i in range(len(part))]

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        part, i = self._place[index]
        return part.read(i)

    def name(self, index: int) -> str:
        part, i = self._place[index]
        return part.name(i)
