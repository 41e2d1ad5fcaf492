"""Cache a small data set in memory: decode or draw each image once, transform it on every access."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset

LIMIT = 2**30
"""Largest size of a cached data set, in bytes, in each data-loading worker."""


class Cached(Dataset):
    """A data set that reads each item once; the transforms run on every access.

    The set is cached if it is expected to fit into `LIMIT`, judged by the size of the first item. A
    larger set is read again on every access, because caching half of it would save little.

    Args:
        dataset: pairs (image, labels) without transforms: a tensor, and a tensor or a number. It
            has a method `name(index)`.
        transforms: called with (image, labels), returns both. They must not change their input in
            place. What they return unchanged is the cached tensor, so callers must not change it.
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
        """The name of image `index` in error messages."""
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
