"""Several data sets of the same classes as one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.files import LabelledImages


class Merged(LabelledImages):
    """Data sets one after the other.

    Args:
        parts: of the same classes; their own transforms are not called.
        transforms: called with (image, labels), returns both.

    Raises:
        ValueError: the parts' classes differ.
    """

    def __init__(self, parts: Sequence[LabelledImages], transforms: Callable | None = None):
        super().__init__(transforms)
        self.parts, self.labels = list(parts), parts[0].labels
        for part in parts:
            if part.labels != self.labels:
                raise ValueError(
                    f"{type(part).__name__} has other classes than {type(parts[0]).__name__}"
                )
        self.images: list[Path] = [image for part in parts for image in part.images]
        self._place = [(part, i) for part in parts for i in range(len(part))]

    def label_map(self, index: int, image: Tensor) -> UInt8[Tensor, "_ _"]:
        part, i = self._place[index]
        return part.label_map(i, image)

    def label_source(self, index: int) -> str | Path:
        part, i = self._place[index]
        return part.label_source(i)

    def name(self, index: int) -> str:
        part, i = self._place[index]
        return part.name(i)
