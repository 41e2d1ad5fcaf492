"""Which images make which step, and how each is varied: functions of (seed, epoch, image) alone."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor
from gcnlab.arguments import shown
from gcnlab.images import image_tensor
from gcnlab.training.optimization import TrainingConfig


class TrainingSet(Dataset):
    """A data set whose random transforms depend on (seed, epoch, index) alone; indexed by (epoch, index).

    Args:
        dataset: (image, target) pairs; a target is a label map or a class id.
        check: called with (image, target, name) of every item, raises ValueError for one that cannot
            be learnt. In the loss a wrong id would be an index out of range, on a GPU without a name.
        seed: of the variation.
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
        """What a message calls image `index`."""
        return getattr(self.dataset, "name", str)(index)


def _pair(item: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ValueError(f"{name}: an item must be (image, target), not {shown(item)}")
    return item[0], item[1]


class Batches:
    """Batch sampler: a new order each epoch, the last incomplete batch left out, from step `start`.

    Args:
        length: images in the set.
        settings: for the number of images a step, and the seed.
        start, steps: first step, and one past the last.
        rank, world: number of this process and of all; each takes its share of every step's images.

    Raises:
        ValueError: a step has fewer images than there are processes.
    """

    def __init__(
        self,
        length: int,
        settings: TrainingConfig,
        start: int,
        steps: int,
        rank: int = 0,
        world: int = 1,
    ):
        self.length, self.batch_size, self.seed = length, settings.batch_size, settings.seed
        self.start, self.steps, self.rank, self.world = start, steps, rank, world
        self._order: tuple[int, list[int]] | None = None  # of one epoch
        if self.least < 1:
            raise ValueError(
                f"training.batch_size: {min(length, self.batch_size)} images a step are too few for "
                f"{world} processes"
            )

    @property
    def least(self) -> int:
        """Images of a step that the process with the fewest has."""
        return min(self.length, self.batch_size) // self.world

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.steps):
            yield self.images(step)[self.rank :: self.world]

    def images(self, step: int) -> list[tuple[int, int]]:
        """(epoch, index) of all of a step's images."""
        epoch, batch = divmod(step, max(1, self.length // self.batch_size))
        if self._order is None or self._order[0] != epoch:  # it takes a second for ImageNet
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            self._order = epoch, torch.randperm(self.length, generator=generator).tolist()
        first = batch * self.batch_size
        return [(epoch, index) for index in self._order[1][first : first + self.batch_size]]


def mix(*numbers: int) -> int:
    """One seed out of several whole numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return seed
