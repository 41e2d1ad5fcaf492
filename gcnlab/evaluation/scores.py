"""Score a network on a data set: mean IoU, per class, and boundary against interior.

Each image goes through the network by itself. In a batch the same image gets scores that differ in their last
bits, and where two classes are that close another class wins: then the figures would depend on the batch size.
As it is they depend neither on that nor on the number of workers or processes.
"""

from dataclasses import dataclass, field
from typing import no_type_check

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from gcnlab.allocator import keep_freed_memory
from gcnlab.annotations import Tensor
from gcnlab.arguments import Whole, whole
from gcnlab.datasets.labels import IGNORE, LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.distributed import all_reduce_sum, is_primary, own_share
from gcnlab.evaluation.boundary import Norm, VoidRule, boundary_distance
from gcnlab.evaluation.boundary_iou import BandRule, BoundaryIoU
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.crf import CRF
from gcnlab.evaluation.curve import Curve, DistanceCounts
from gcnlab.evaluation.inference import Inference
from gcnlab.evaluation.prediction import check_modes, class_ids, predict
from gcnlab.images import image_tensor
from gcnlab.loading import iterate_batches
from gcnlab.models.logits import check_network
from gcnlab.models.modes import evaluation_mode

__all__ = ["BoundaryRule", "Scores", "evaluate", "predict"]


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


@no_type_check  # its own checks say what to do instead
def evaluate(
    model: nn.Module,
    dataset: Dataset,
    rule: BoundaryRule | None = None,
    batch_size: Whole = 4,
    num_workers: Whole = 0,
    progress: bool = True,
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
    curve: int | None = None,
    band: BandRule | None = None,
) -> Scores:
    """Score `model` on `dataset` in evaluation mode; the model and the random state are left as they were.

    Scores of another size than the image are resized to it, bilinearly (align_corners=False).

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

    Raises:
        ValueError: the network knows other classes than the data set, its scores are NaN, there is no image, an
            argument is out of range, or the data set cannot be sent to the processes that load.
        TypeError: what is given is no network or no data set, or the network does not return scores.
    """
    check_network(model)
    check_modes(inference, crf, normalization)
    batch_size = whole("batch_size", batch_size, 1)
    num_workers = whole("num_workers", num_workers, 0)
    keep_freed_memory()
    rule = rule or BoundaryRule()
    classes = classes_of(dataset)
    names = classes.names
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
    hidden = not (progress and is_primary())
    bar = tqdm(total=len(share), desc="evaluate", unit="img", disable=hidden)
    with bar, evaluation_mode(model):
        for image, labels in (
            _as_pair(pair) for pairs in iterate_batches(loader) for pair in pairs
        ):
            check_pair(image, labels)
            predicted = class_ids(model, image, inference, crf, normalization, classes)
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
    for counted in (boundary, internal, distance_counts, bands):
        if counted is not None:
            counted.counts = all_reduce_sum(counted.counts)
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
        images=int(all_reduce_sum(images)),
        rule=rule,
        class_accuracy=by_name(100 * overall.class_accuracy()),
        pixels=by_name(overall.counts.sum(1)),
        boundary_iou=None if bands is None else by_name(100 * bands.iou()),
        mean_boundary_iou=None if bands is None else 100 * bands.mean(),
        curve=None if distance_counts is None else distance_counts.curve(),
    )


@no_type_check
def classes_of(dataset: Dataset) -> LabelSet:
    """The classes of a data set, or of what it is a `Subset` of.

    Raises:
        TypeError: it has no `.labels`.
        ValueError: it has no image.
    """
    source = dataset
    while isinstance(source, Subset):
        source = source.dataset
    labels = getattr(source, "labels", None)
    if not isinstance(labels, LabelSet):
        raise TypeError(
            f"dataset must have `.labels`, a gcnlab.datasets.LabelSet that names its classes; a "
            f"{type(source).__name__} has none"
        )
    if not len(dataset):
        raise ValueError(f"dataset: there is no image in this {type(source).__name__}")
    return labels


@no_type_check
def check_pair(image: Tensor, labels: Tensor) -> None:
    """Raise TypeError or ValueError unless these are a normalised image and a label map of its size."""
    image_tensor("image", image)
    if image.ndim != 3:
        raise ValueError(f"image must be (channels, height, width), not {tuple(image.shape)}")
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor of class ids, not a {type(labels).__name__}")
    if labels.shape != image.shape[-2:]:
        raise ValueError(
            f"labels {tuple(labels.shape)} and image {tuple(image.shape[-2:])} differ in size"
        )


def _as_pair(item: object) -> tuple:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(
            f"dataset must give pairs (image, labels), not a {type(item).__name__}"
            + (f" of {len(item)}" if isinstance(item, (tuple, list, dict)) else "")
        )
    return tuple(item)
