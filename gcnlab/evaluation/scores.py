"""Score a network on a data set: mean IoU, per class, boundary and interior.

Each image goes through the network separately, because the logits of an image differ in their last
bits between batch sizes, which can change the predicted class where two classes are close. The
scores therefore depend neither on a batch size nor on the number of workers or ranks.
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
from gcnlab.evaluation.boundary import boundary_distance
from gcnlab.evaluation.boundary_iou import BoundaryIoU
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.curve import Curve, DistanceCounts
from gcnlab.evaluation.prediction import Predictor, predictor_of
from gcnlab.evaluation.settings import CRF, BandRule, BoundaryRule, Inference
from gcnlab.images import image_tensor
from gcnlab.loading import iterate_batches
from gcnlab.models.modes import evaluation_mode


@dataclass(frozen=True)
class Scores:
    """Scores of a network on a data set, in percent; NaN where there is no pixel to score.

    Attributes:
        miou: mean IoU over the classes that occur.
        iou: IoU per class, by name.
        accuracy: share of correct pixels.
        boundary_accuracy: share of correct pixels within the boundary rule's distance.
        internal_accuracy: share of correct pixels beyond it.
        images: number of images.
        rule: the boundary rule.
        class_accuracy: share of correct pixels per class, by name.
        pixels: labelled pixels per class, by name.
        boundary_iou: boundary IoU per class, by name; None if not computed.
        mean_boundary_iou: mean boundary IoU over the classes that occur.
        curve: accuracy against the distance to the boundary; None if not computed.
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
        """Describe the scores in one line: mIoU, boundary and internal accuracy."""
        return (
            f"mIoU {self.miou:.1f} %, boundary {self.boundary_accuracy:.1f} %, "
            f"internal {self.internal_accuracy:.1f} %"
        )


@no_type_check  # the function's own errors say what to do instead
def evaluate(
    model: nn.Module | Predictor,
    dataset: Dataset,
    rule: BoundaryRule | None = None,
    num_workers: Whole = 0,
    progress: bool = True,
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
    curve: int | None = None,
    band: BandRule | None = None,
) -> Scores:
    """Score `model` on `dataset` in evaluation mode; the model and the random state are left as
    they were.

    Score maps of another size than the image are resized to it, bilinearly (align_corners=False).

    In a process group (torchrun), every rank has to call this function with the same arguments.
    Each rank scores its share of the images, and all ranks get the scores of the whole data set.

    Args:
        model: maps normalised images to score maps; runs on the device of its weights. Or a
            `Predictor`, which holds `inference`, `crf` and `normalization`.
        dataset: yields (normalised image, labels), and has `.labels`, a `LabelSet`; or a `Subset`
            of such a data set. Images may differ in size.
        rule: which pixels are at the boundary; None: those at a Euclidean distance of at most 7
            pixels, where void counts as an edge.
        num_workers: data-loading workers; 0 loads in this process.
        progress: show a progress bar.
        inference: flip, scales, tiles; None: one pass over the whole image.
        crf: refine the class probabilities with a dense CRF.
        normalization: how the images were normalised; needed with `crf`.
        curve: also compute the accuracy against the distance to the boundary, up to this distance
            in pixels.
        band: also compute the boundary IoU, with this rule.

    Raises:
        ValueError: network and data set have different classes, a score map is NaN, there is no
            image, an argument is out of range, or the data set cannot be sent to workers.
        TypeError: `model` is not a network, `dataset` is not a data set, or the network does not
            return score maps.
    """
    predictor = predictor_of(model, normalization, inference, crf)
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
        num_workers=num_workers,
        collate_fn=list,  # does not stack the images, which may differ in size
        multiprocessing_context="spawn" if num_workers else None,
    )
    images = torch.zeros((), dtype=torch.int64)
    hidden = not (progress and is_primary())
    bar = tqdm(total=len(share), desc="evaluate", unit="img", disable=hidden)
    with bar, evaluation_mode(predictor.model):
        for (pair,) in iterate_batches(loader):
            image, labels = _as_pair(pair)
            check_pair(image, labels)
            predicted = predictor.class_ids(image, classes)
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
    """Return the classes of a data set; for a `Subset`, those of the data set behind it.

    Raises:
        TypeError: the data set has no `.labels`.
        ValueError: the data set is empty.
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
    """Raise TypeError or ValueError unless these are a normalised image and a label map of its
    size."""
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
