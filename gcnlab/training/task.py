"""What is trained, in the words of the loop: a network, its images, its loss.

`train` knows no more of a run than this. Segmentation (`RunConfig`) and classification (`PretrainConfig`)
are the two tasks; each is the frozen dataclass of its settings.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar

from torch import nn
from torch.utils.data import Dataset

from gcnlab.annotations import Float, Int, Shaped, Tensor, UInt8
from gcnlab.settings import from_plain, to_plain
from gcnlab.training.optimization import TrainingConfig


class Task(ABC):
    """The settings of a run, as `train` uses them.

    Attributes:
        task: its name, kept in the checkpoint.
        training: how the weights are found.
    """

    task: ClassVar[str]
    training: TrainingConfig

    @abstractmethod
    def build_model(self, trained: bool = False) -> nn.Module:
        """The network, on the CPU; its random start is drawn from torch's generator. `trained`: all its
        weights are put in later, so that a backbone's own need not be there any more."""

    @abstractmethod
    def training_set(self) -> Dataset:
        """(image, target) pairs, varied and of one size."""

    @abstractmethod
    def check_item(self, image: Tensor, target: Tensor, name: str) -> None:
        """Raise ValueError, naming the image, if its target cannot be learnt."""

    @abstractmethod
    def count(self, targets: Shaped[Tensor, "batch ..."]) -> Int[Tensor, ""]:
        """Number of what the loss is the mean over: labelled pixels, or images."""

    @abstractmethod
    def loss(
        self,
        outputs: Float[Tensor, "batch ..."],
        targets: Shaped[Tensor, "batch ..."],
        count: Shaped[Tensor, ""] | None = None,
    ) -> Float[Tensor, ""]:
        """What is minimised, for a batch of the network's outputs. `count`: of all of a step's targets,
        if the batch is only a part of them."""

    @abstractmethod
    def score(self, model: nn.Module) -> float:
        """In percent, on the validation split: what decides which checkpoint is the best."""

    def samples(self, model: nn.Module, number: int) -> UInt8[Tensor, "3 height width"] | None:
        """A picture of predictions for the first `number` validation images; None: the task has none."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and results."""
        return to_plain(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Task":
        """The opposite of `to_dict`. A setting that is not in `values` takes its default; one that does
        not exist is a ValueError."""
        return from_plain(cls, values, "")
