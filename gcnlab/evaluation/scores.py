"""Score a network on a data set: mean IoU, per class, and boundary against interior."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Int, Tensor
from gcnlab.datasets.labels import IGNORE
from gcnlab.evaluation.boundary import Norm, VoidRule, boundary_mask
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.models.modes import evaluation_mode


@dataclass(frozen=True)
class BoundaryRule:
    """What counts as boundary (see `gcnlab.evaluation.boundary`)."""

    distance: int | float = 7
    """Largest distance of a boundary pixel to another label, in pixels."""
    norm: Norm = "euclidean"
    """Norm of the distance."""
    void: VoidRule = "edge"
    """Whether the border of void is a boundary ("edge") or not ("blank")."""


@dataclass(frozen=True)
class Scores:
    """Scores of a network on a data set, in percent; NaN where nothing was to be scored.

    Attributes:
        miou: mean IoU over the classes that occur.
        iou: IoU per class, by name.
        accuracy: share of right pixels.
        boundary_accuracy: share of right pixels within the boundary rule's distance.
        internal_accuracy: share of right pixels beyond it.
        images: number of images.
        rule: the boundary rule.
    """

    miou: float
    iou: dict[str, float]
    accuracy: float
    boundary_accuracy: float
    internal_accuracy: float
    images: int
    rule: BoundaryRule

    def summary(self) -> str:
        """One line: mIoU, boundary, internal."""
        return (
            f"mIoU {self.miou:.1f} %, boundary {self.boundary_accuracy:.1f} %, "
            f"internal {self.internal_accuracy:.1f} %"
        )


@torch.inference_mode()
def predict(
    model: nn.Module, images: Tensor, device: torch.device | str | None = None
) -> Int[Tensor, "batch height width"]:
    """Class ids for a batch of normalised images (batch, 3, height, width), on the CPU."""
    device = device or next(model.parameters()).device
    return model(images.to(device)).argmax(1).cpu()


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    rule: BoundaryRule | None = None,
    batch_size: int = 4,
    num_workers: int = 0,
    progress: bool = True,
) -> Scores:
    """Score `model` on `dataset` in evaluation mode; the model's mode is restored afterwards.

    Args:
        model: maps normalised images to scores; runs on the device that its weights are on.
        dataset: yields (normalised image, labels), and has `.labels`, a `LabelSet`. Images may
            differ in size: then they are scored one by one.
        rule: what counts as boundary; the default is ≤ 7 pixels, Euclidean, void as an edge.
        batch_size: images at once.
        num_workers: processes that load images.
        progress: show a progress bar.
    """
    rule = rule or BoundaryRule()
    classes = dataset.labels
    boundary, internal = ConfusionMatrix(len(classes.names)), ConfusionMatrix(len(classes.names))
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        collate_fn=_batches_of_one_size,
        multiprocessing_context="spawn" if num_workers else None,
    )
    images = 0
    bar = tqdm(total=len(dataset), desc="evaluate", unit="img", disable=not progress)
    with bar, evaluation_mode(model):
        for image, labels in _flatten(loader):
            predicted = predict(model, image)
            near = boundary_mask(labels, rule.distance, norm=rule.norm, void=rule.void)
            void = labels.new_tensor(IGNORE)
            boundary.update(predicted, labels.where(near, void))
            internal.update(predicted, labels.where(~near, void))
            images += len(labels)
            bar.update(len(labels))
    overall = ConfusionMatrix(len(classes.names))
    overall.counts = boundary.counts + internal.counts
    return Scores(
        miou=100 * overall.miou(),
        iou=dict(zip(classes.names, (100 * overall.iou()).tolist())),
        accuracy=100 * overall.accuracy(),
        boundary_accuracy=100 * boundary.accuracy(),
        internal_accuracy=100 * internal.accuracy(),
        images=images,
        rule=rule,
    )


def _batches_of_one_size(items: list[tuple[Any, Any]]) -> list[tuple[Tensor, Tensor]]:
    """One batch where all images have one size, else a batch per image."""
    if len({tuple(image.shape) for image, _ in items}) == 1:
        images, labels = zip(*items)
        return [(torch.stack(images), torch.stack(labels))]
    return [(image[None], labels[None]) for image, labels in items]


def _flatten(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor]]:
    for batches in loader:
        yield from batches
