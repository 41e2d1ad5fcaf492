"""Score a network on a data set: mean IoU, per class, and boundary against interior.

Each image goes through the network by itself. In a batch the same image gets scores that differ in their last
bits, and where two classes are that close another class wins: then the figures would depend on the batch size.
As it is they depend neither on that nor on the number of workers or processes.
"""

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from gcnlab.allocator import keep_freed_memory
from gcnlab.annotations import Int, Tensor
from gcnlab.datasets.labels import IGNORE
from gcnlab.datasets.transforms import Normalization
from gcnlab.evaluation.boundary import Norm, VoidRule, boundary_distance
from gcnlab.evaluation.boundary_iou import BandRule, BoundaryIoU
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.crf import CRF, colors_of, refine_probabilities
from gcnlab.evaluation.curve import Curve, DistanceCounts
from gcnlab.evaluation.inference import Inference, probabilities, score_map
from gcnlab.evaluation.processes import own_share, process, sum_over_processes
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

    def __post_init__(self):
        if not self.distance > 0:
            raise ValueError(f"rule.distance must be positive (in pixels), not {self.distance}")


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
        class_accuracy: share of right pixels per class, by name.
        pixels: labelled pixels per class, by name.
        boundary_iou: boundary IoU per class, by name; None if it was not asked for.
        mean_boundary_iou: mean of those over the classes that occur.
        curve: accuracy against distance; None if it was not asked for.
    """

    miou: float
    iou: dict[str, float]
    accuracy: float
    boundary_accuracy: float
    internal_accuracy: float
    images: int
    rule: BoundaryRule
    class_accuracy: dict[str, float] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    boundary_iou: dict[str, float] | None = None
    mean_boundary_iou: float | None = None
    curve: Curve | None = None

    def summary(self) -> str:
        """One line: mIoU, boundary, internal."""
        return (
            f"mIoU {self.miou:.1f} %, boundary {self.boundary_accuracy:.1f} %, "
            f"internal {self.internal_accuracy:.1f} %"
        )


@torch.inference_mode()
def predict(
    model: nn.Module,
    images: Tensor,
    device: torch.device | str | None = None,
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
) -> Int[Tensor, "batch height width"]:
    """Class ids for a batch of normalised images (batch, 3, height, width), on the CPU.

    Args:
        model: maps normalised images to scores.
        images: of any size that the model takes.
        device: the model's, if it has no weights to tell.
        inference: flip, scales, tiles; None is one pass over the whole images.
        crf: refine the class probabilities with a dense CRF.
        normalization: what the images were normalised with; the CRF works on their colours.

    Raises:
        ValueError: a CRF without the normalisation.
    """
    if crf is not None and normalization is None:
        raise ValueError("a CRF works on colours: give the images' normalization with it")
    images = images.to(device or next(model.parameters()).device)
    if crf is None:
        scores = model(images) if inference is None else score_map(model, images, inference)
        return scores.argmax(1).cpu()
    fused = probabilities(model, images, inference).cpu()
    refined = [
        refine_probabilities(colors_of(image, normalization), one, crf)
        for image, one in zip(images.cpu(), fused)
    ]
    return torch.stack(refined).argmax(1)


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    rule: BoundaryRule | None = None,
    batch_size: int = 4,
    num_workers: int = 0,
    progress: bool = True,
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
    curve: int | None = None,
    band: BandRule | None = None,
) -> Scores:
    """Score `model` on `dataset` in evaluation mode; the model's mode is restored afterwards.

    Where torch.distributed is initialised (torchrun), every process has to call this with the same
    arguments; each scores its share of the images, and all get the scores of the whole set.

    Args:
        model: maps normalised images to scores; runs on the device that its weights are on.
        dataset: yields (normalised image, labels), and has `.labels`, a `LabelSet`; or a `Subset` of such.
            Images may differ in size.
        rule: what counts as boundary; the default is ≤ 7 pixels, Euclidean, void as an edge.
        batch_size: images that are loaded at once; each goes through the network by itself.
        num_workers: processes that load images.
        progress: show a progress bar.
        inference: flip, scales, tiles; None is one pass over the whole image.
        crf: refine the class probabilities with a dense CRF.
        normalization: what the images were normalised with; needed with `crf`.
        curve: also the accuracy against distance, up to that many pixels.
        band: also the boundary IoU, with that rule.
    """
    keep_freed_memory()
    rule = rule or BoundaryRule()
    whole = dataset
    while isinstance(whole, Subset):
        whole = whole.dataset
    names = whole.labels.names
    boundary, internal = ConfusionMatrix(len(names)), ConfusionMatrix(len(names))
    distance_counts = DistanceCounts(len(names), curve) if curve is not None else None
    bands = BoundaryIoU(len(names), band) if band is not None else None
    share = own_share(dataset)
    loader = DataLoader(
        share,
        batch_size,
        num_workers=num_workers,
        collate_fn=list,  # images of several sizes too
        multiprocessing_context="spawn" if num_workers else None,
    )
    images = torch.zeros((), dtype=torch.int64)
    hidden = not progress or process()[0] > 0
    bar = tqdm(total=len(share), desc="evaluate", unit="img", disable=hidden)
    with bar, evaluation_mode(model):
        for image, labels in (pair for pairs in loader for pair in pairs):
            predicted = predict(model, image[None], None, inference, crf, normalization)[0]
            distances = boundary_distance(labels, norm=rule.norm, void=rule.void)
            near = distances <= rule.distance
            void = labels.new_tensor(IGNORE)
            boundary.update(predicted, labels.where(near, void))
            internal.update(predicted, labels.where(~near, void))
            if distance_counts is not None:
                distance_counts.update(predicted, labels, distances)
            if bands is not None:
                bands.update(predicted, labels)
            images += 1
            bar.update()
    device = next(iter(model.parameters()), images).device
    for counted in (boundary, internal, distance_counts, bands):
        if counted is not None:
            counted.counts = sum_over_processes(counted.counts, device)
    overall = ConfusionMatrix(len(names))
    overall.counts = boundary.counts + internal.counts

    def by_name(values: Tensor) -> dict:
        return dict(zip(names, values.tolist()))

    return Scores(
        miou=100 * overall.miou(),
        iou=by_name(100 * overall.iou()),
        accuracy=100 * overall.accuracy(),
        boundary_accuracy=100 * boundary.accuracy(),
        internal_accuracy=100 * internal.accuracy(),
        images=int(sum_over_processes(images, device)),
        rule=rule,
        class_accuracy=by_name(100 * overall.class_accuracy()),
        pixels=by_name(overall.counts.sum(1)),
        boundary_iou=None if bands is None else by_name(100 * bands.iou()),
        mean_boundary_iou=None if bands is None else 100 * bands.mean(),
        curve=None if distance_counts is None else distance_counts.curve(),
    )
