"""The images of each batch and their augmentation, which depend only on (seed, epoch, image)."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor
from gcnlab.arguments import shown
from gcnlab.images import image_tensor
from gcnlab.training.settings import TrainingConfig


class TrainingSet(Dataset):
    """A data set indexed by (epoch, index); its random transforms depend on these and the seed only.

    Args:
        dataset: (image, target) pairs; a target is a label map or a class id.
        check: called with (image, target, name) of every item; raises ValueError for an item that
            cannot be learnt. In the loss, a wrong id would be an index out of range, and on a GPU
            the error would not name the image.
        seed: of the augmentation.
    """

    def __init__(self, dataset: Dataset, check: Callable[[Tensor, Tensor, str], None], seed: int):
        self.dataset = dataset
        self.check = check
        self.seed = seed
        if len(dataset) == 0:
            raise ValueError(f"{type(dataset).__name__}: the training split is empty")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(self.seed, epoch, index))
            image, target = _pair(self.dataset[index], self.name(index))
        image = image_tensor(f"{self.name(index)}: the image", image)
        image, target = image.as_subclass(Tensor), torch.as_tensor(target).as_subclass(Tensor)
        self.check(image, target, self.name(index))
        return image, target

    def name(self, index: int) -> str:
        """The name of image `index` in messages."""
        return getattr(self.dataset, "name", str)(index)


def _pair(item: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ValueError(f"{name}: an item must be (image, target), not {shown(item)}")
    return item[0], item[1]


class Batches:
    """A batch sampler with a new order each epoch. The last incomplete batch is left out.

    Args:
        length: number of images in the set.
        settings: for the batch size and the seed.
        start, steps: the first step, and one past the last.
        rank, world_size: each rank gets its share of every batch.

    Raises:
        ValueError: a batch has fewer images than there are processes.
    """

    def __init__(
        self,
        length: int,
        settings: TrainingConfig,
        start: int,
        steps: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.length, self.batch_size, self.seed = length, settings.batch_size, settings.seed
        self.start, self.steps, self.rank, self.world_size = start, steps, rank, world_size
        self._order: tuple[int, list[int]] | None = None  # of one epoch
        if self.smallest_share < 1:
            raise ValueError(
                f"training.batch_size: a batch of {min(length, self.batch_size)} images is too small for "
                f"{world_size} processes"
            )

    @property
    def smallest_share(self) -> int:
        """Number of images of a batch on the rank that has the fewest."""
        return min(self.length, self.batch_size) // self.world_size

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.steps):
            yield self.images(step)[self.rank :: self.world_size]

    def images(self, step: int) -> list[tuple[int, int]]:
        """(epoch, index) of all images of a step."""
        epoch, batch = divmod(step, max(1, self.length // self.batch_size))
        if self._order is None or self._order[0] != epoch:  # takes a second for ImageNet
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            self._order = epoch, torch.randperm(self.length, generator=generator).tolist()
        first = batch * self.batch_size
        return [(epoch, index) for index in self._order[1][first : first + self.batch_size]]


def mix(*numbers: int) -> int:
    """Combine several integers into one seed."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
