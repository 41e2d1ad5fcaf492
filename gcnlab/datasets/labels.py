"""What the ids of a label map mean: names, colours, and the id that is not scored."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from gcnlab.annotations import Shaped, Tensor, UInt8

IGNORE = 255
"""The void id: no loss, no score. Padding is labelled with it."""


@dataclass(frozen=True)
class LabelSet:
    """Names and colours of the classes of a data set, in the order of their ids.

    Attributes:
        names: one per class; its position is the id.
        colors: one (red, green, blue) in 0 … 255 per class.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self):
        if len(self.names) != len(self.colors):
            raise ValueError(f"{len(self.names)} names but {len(self.colors)} colours")

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def colorize(self, labels: Shaped[Tensor, "height width"]) -> UInt8[Tensor, "height width 3"]:
        """An RGB picture of a label map; void is white."""
        table = torch.full((256, 3), 255, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.colors, dtype=torch.uint8)
        return table[torch.as_tensor(labels).long().cpu()]


def check_labels(labels: Tensor, num_classes: int, source: str | Path) -> None:
    """Raise ValueError, naming `source`, if a label is neither a class id nor void (255)."""
    labels = torch.as_tensor(labels)
    # In a byte, one more than void (255) is 0: one look at the largest tells that all is well.
    if labels.dtype == torch.uint8 and labels.numel() and int((labels + 1).max()) <= num_classes:
        return
    strange = ((labels < 0) | (labels >= num_classes)) & (labels != IGNORE)
    if strange.any():
        wrong = labels[strange].unique().tolist()
        raise ValueError(
            f"{source}: label ids {_some(wrong)} are out of range: "
            f"classes are 0 … {num_classes - 1}, void is {IGNORE}"
        )


def _some(items: Iterable[int], at_most: int = 5) -> str:
    items = [str(item) for item in items]
    return ", ".join(items[:at_most]) + (", …" if len(items) > at_most else "")
