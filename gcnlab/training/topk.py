"""Top-1 and top-5 of a classifier, as Table 6 gives them."""

from dataclasses import dataclass
from typing import no_type_check

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.loading import collate, iterate_batches
from gcnlab.models.logits import check_network, extract_class_logits, model_input
from gcnlab.models.modes import evaluation_mode


@dataclass(frozen=True)
class TopK:
    """Share of images, in percent, whose class is the first, or one of the first five.

    With five classes or fewer top-5 is 100 by its definition.

    Attributes:
        top1, top5: accuracies in percent; Table 6 gives the error 100 − top5.
        images: number of images.
    """

    top1: float
    top5: float
    images: int

    def summary(self) -> str:
        """One line: both accuracies, and the error that Table 6 gives."""
        return (
            f"top-1 {self.top1:.1f} %, top-5 {self.top5:.1f} % "
            f"(top-5 error {100 - self.top5:.1f} %) on {self.images} images"
        )


def hits(scores: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], k: int) -> int:
    """Number of images whose class is among the k highest scores."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return int((best == labels[:, None]).sum())


@no_type_check  # its own checks say what to do instead
@torch.no_grad()
def evaluate_classifier(
    model: nn.Module,
    dataset: Dataset,
    batch_size: Whole = 32,
    num_workers: Whole = 0,
    progress: bool = True,
) -> TopK:
    """Score `model` in evaluation mode, on the device that its weights are on, and leave it as it was.

    Args:
        model: maps normalised images to class scores.
        dataset: (normalised image, class) pairs, all images of one size.
        batch_size: images at once.
        num_workers: processes that load images.
        progress: show a progress bar.

    Raises:
        ValueError: there is no image, images of several sizes, an argument out of range, a data set that cannot be
            sent to processes, or scores that are NaN.
        TypeError: the network does not return a row of class scores per image.
    """
    check_network(model)
    batch_size, num_workers = (
        whole("batch_size", batch_size, 1),
        whole("num_workers", num_workers, 0),
    )
    if not len(dataset):
        raise ValueError(f"dataset: there is no image in this {type(dataset).__name__}")
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if num_workers else None,
    )
    first, five, images = 0, 0, 0
    bar = tqdm(total=len(dataset), desc="evaluate", unit="img", disable=not progress)
    with bar, evaluation_mode(model):
        for batch, labels in iterate_batches(loader):
            own = model_input(model, batch).contiguous(memory_format=torch.channels_last)
            scores = extract_class_logits(model, model(own), len(batch)).float().cpu()
            first, five = first + hits(scores, labels, 1), five + hits(scores, labels, 5)
            images += len(labels)
            bar.update(len(labels))
    return TopK(100 * first / images, 100 * five / images, images)
