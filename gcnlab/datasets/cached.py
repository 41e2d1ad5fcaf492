"""A small data set kept in memory: decoded or drawn once, varied anew each time."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset

LIMIT = 2**30
"""Bytes that a set may take in memory, in every process that loads images."""


class Cached(Dataset):
    """A data set whose items are read once; the transforms run on every access.

    Kept are sets that are expected to fit into `LIMIT`, by the size of the item that is read first; a
    larger set is read again each time, as half a set in memory saves little.

    Args:
        dataset: (image, labels) pairs, not transformed, with `name(index)`: a tensor, and a tensor or a number.
        transforms: called with (image, labels), returns both. They must not change their input; what they
            pass on unchanged is what is kept, so nobody else may change it either.
    """

    def __init__(self, dataset: Dataset, transforms: Callable):
        self.dataset = dataset
        self.transforms = transforms
        self._fits: bool | None = None
        self._kept: dict[int, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transforms(*self._read(index))

    def name(self, index: int) -> str:
        """What an error message calls image `index`."""
        return self.dataset.name(index)

    def _read(self, index: int) -> tuple[Any, Any]:
        if index in self._kept:
            return self._kept[index]
        pair = self.dataset[index]
        if self._fits is None:
            self._fits = len(self) * sum(getattr(item, "nbytes", 0) for item in pair) <= LIMIT
        if self._fits:
            self._kept[index] = pair
        return pair
