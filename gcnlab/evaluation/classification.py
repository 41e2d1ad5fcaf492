"""Top-1 and top-5 accuracy of a classifier, as in Table 6.

The ranks share whole batches: the network sees the same batches however many processes there are,
so the accuracies do not depend on their number.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.distributed import all_reduce_sum, is_primary, rank, world_size
from gcnlab.loading import collate, iterate_batches
from gcnlab.models.logits import check_network, extract_class_logits, model_input
from gcnlab.models.modes import evaluation_mode


@dataclass(frozen=True)
class TopKAccuracy:
    """Percentage of images whose class has the highest logit, or one of the five highest.

    With five classes or fewer the top-5 accuracy is 100 by definition.

    Attributes:
        top1, top5: accuracies in percent; Table 6 gives the top-5 error, 100 − top5.
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


def correct_in_top(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], k: int
) -> int:
    """Number of images whose class is among the k highest logits."""
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return int((best == labels[:, None]).sum())


@no_type_check  # its own checks give the better messages
@torch.no_grad()
def evaluate_classifier(
    model: nn.Module,
    dataset: Dataset,
    batch_size: Whole = 32,
    num_workers: Whole = 0,
    progress: bool = True,
) -> TopKAccuracy:
    """Score a classifier in evaluation mode on the device of its weights, and leave it unchanged.

    In a process group (torchrun), every rank has to call this with the same arguments. Each scores
    its share of the batches, and all get the accuracies of the whole set.

    Args:
        model: maps normalised images to a row of logits each.
        dataset: (normalised image, class) pairs, all images of one size.
        batch_size: images per batch.
        num_workers: data-loading workers; 0 loads in this process.
        progress: show a progress bar.

    Raises:
        ValueError: there is no image, the images differ in size, an argument is out of range, the
            data set cannot be sent to workers, or a logit is NaN.
        TypeError: the network does not return a row of logits per image.
    """
    check_network(model)
    batch_size = whole("batch_size", batch_size, 1)
    num_workers = whole("num_workers", num_workers, 0)
    if not len(dataset):
        raise ValueError(f"dataset: there is no image in this {type(dataset).__name__}")
    batches = torch.arange(len(dataset)).split(batch_size)[rank() :: world_size()]
    loader = DataLoader(
        dataset,
        batch_sampler=[batch.tolist() for batch in batches],
        num_workers=num_workers,
        collate_fn=collate,
        multiprocessing_context="spawn" if num_workers else None,
    )
    counts = torch.zeros(3, dtype=torch.int64)  # correct in the first, in the first five, images
    hidden = not (progress and is_primary())
    total = sum(map(len, batches))
    with (
        tqdm(total=total, desc="evaluate", unit="img", disable=hidden) as bar,
        evaluation_mode(model),
    ):
        for images, labels in iterate_batches(loader):
            images = model_input(model, images).contiguous(memory_format=torch.channels_last)
            logits = extract_class_logits(model, model(images), len(images)).float().cpu()
            top1, top5 = (correct_in_top(logits, labels, k) for k in (1, 5))
            counts += torch.tensor([top1, top5, len(labels)])
            bar.update(len(labels))
    top1, top5, images = all_reduce_sum(counts).tolist()
    return TopKAccuracy(100 * top1 / images, 100 * top5 / images, images)
