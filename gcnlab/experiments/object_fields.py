"""Measure the valid field of many objects, by every measure at once, and what is right inside them.

The field of an object is that of the pixel deepest inside it, for its true class. Windows are run
once per object and network; from the logits of all classes under each window come the fields of the
logit, the margin and the probability (`gcnlab.receptive.quantity`), and of each field the radius,
the area, and the coverage of the object, by the rule of mass (80 %) and by that of the maximum
(0.2; `gcnlab.receptive.regions`). Each number is also computed without the window of the largest
drop. Some of the objects are measured with smaller windows, too.

Networks on one frozen backbone are measured together. On a GPU every window goes through the whole
network in single precision, without TF32.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Bool, Float, Int, Shaped, Tensor
from gcnlab.arguments import Pixel
from gcnlab.datasets.labels import IGNORE
from gcnlab.devices import without_tf32
from gcnlab.evaluation import boundary_mask
from gcnlab.experiments.field_results import MEASURES, RULES, Numbers, ObjectField
from gcnlab.experiments.object_size import INNER
from gcnlab.experiments.objects import LabelledObject, mask_of
from gcnlab.experiments.shared_backbone import (
    Features,
    backbone_key,
    compiled_backbone,
    drops_together,
)
from gcnlab.models.logits import resize_logits
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive import Occlusion, OcclusionSession, OcclusionSettings
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.quantity import drop_of
from gcnlab.receptive.regions import coverage, radius, region
from gcnlab.receptive.settings import QUANTITIES, Method
from gcnlab.receptive.unit import unit_at
from gcnlab.training import DataConfig, TrainedRun

WINDOWS = {"shapes": (32,)}
"""Data set → sides of the occluder, in pixels."""

PHOTO_WINDOWS = (48,)
"""Sides of the occluder for the other data sets, in pixels."""


@dataclass(frozen=True)
class Settings:
    """The objects, and how their fields are measured."""

    objects: int = 120
    """Largest number of objects, chosen at random from all that are large enough."""
    least_depth: int = 32
    """Smallest radius of the largest circle inside an object, in pixels."""
    split: str = "val"
    """The split with the objects."""
    lengths: tuple[int, ...] = ()
    """Show each object cut out and on a texture, once with each of these lengths of the longer side
    of its box, in pixels; the images are squares of the largest. Default: as it is in its image."""
    fields: bool = True
    """Measure the fields. Without them, only the predictions are scored."""
    windows: tuple[int, ...] = ()
    """Sides of the occluder, in pixels; it moves by half of its side. Default: 48, or 32 on
    Shapes."""
    repeated: int = 40
    """Number of objects, the first ones, that are measured with every window; the others are
    measured with the first window only."""
    seed: int = 0
    """Seed of the choice of objects."""
    method: Method = "plain"
    """plain: the whole network for every window, best on a GPU, and for several networks on one
    frozen backbone; exact: the same numbers from the clean image's activations, faster for one
    network on a CPU."""
    batch: int = 64
    """Largest number of images per batch."""
    compile: bool = False
    """Compile the backbone that several networks share, which takes a quarter of a minute and a C++
    compiler."""

    def __post_init__(self):
        for name, least in (("objects", 1), ("least_depth", 1), ("repeated", 1), ("batch", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or positive, not {self.seed}")
        if any(side < 2 for side in self.windows) or len(set(self.windows)) < len(self.windows):
            raise ValueError(f"windows must be different sides of 2 px or more, not {self.windows}")
        if any(length < 2 for length in self.lengths):
            raise ValueError(f"lengths must be 2 px or more, not {self.lengths}")
        if self.method == "drilldown":
            raise ValueError("method drilldown runs only some of the windows; choose exact")


def measure(
    runs: dict[str, TrainedRun],
    dataset: Dataset,
    objects: list[LabelledObject],
    settings: Settings,
) -> dict[str, list[ObjectField]]:
    """The fields of some objects of a data set, and how well the networks do inside them.

    Args:
        runs: name → network. Several networks must share one frozen backbone, whose features of
            each occluded image are computed once (`gcnlab.experiments.shared_backbone`).
        dataset: the images, uint8, and their labels.
        objects: the objects, all of the data set.
        settings: how they are measured.

    Raises:
        ValueError: the networks do not share a backbone.
    """
    models = {name: run.model for name, run in runs.items()}
    if len({backbone_key(model) for model in models.values()}) > 1:
        raise ValueError("the networks must share one frozen backbone to be measured together")
    first = next(iter(runs.values()))
    reuse = settings.method != "plain"
    sessions = {name: OcclusionSession(model, reuse=reuse) for name, model in models.items()}
    sides = settings.windows or WINDOWS.get(first.config.data.dataset, PHOTO_WINDOWS)
    backbone = compiled_backbone(first.model.backbone) if settings.compile else None
    found, open_image = {name: [] for name in runs}, None
    with ExitStack() as stack:
        stack.enter_context(without_tf32())
        for model in models.values():
            stack.enter_context(evaluation_mode(model))
        for number, item in enumerate(tqdm(objects, desc=", ".join(runs), unit="object")):
            if item.image != open_image:
                picture, labels = dataset[item.image]
                open_image, labels = item.image, torch.as_tensor(labels)
                image = padded(first.normalization(picture), first.config.data)
                occlusions = {name: session.on(image) for name, session in sessions.items()}
                classes = {
                    name: _classes(occlusion, tuple(image.shape[-2:]), tuple(labels.shape))
                    for name, occlusion in occlusions.items()
                }
            mask = mask_of(labels, item)
            inside = padded(mask, first.config.data)
            used = sides if number < settings.repeated else sides[:1]
            measured = {
                side: measures(runs, occlusions, image, inside, item, side, settings, backbone)
                for side in used
                if settings.fields
            }
            for name, ids in classes.items():
                right = bool(ids[item.pixel] == item.kind)
                by_side = {side: by_name[name] for side, by_name in measured.items()}
                scored = scores(ids, labels, mask, item.kind)
                found[name].append(ObjectField(item, right, *scored, by_side))
    return found


def _classes(
    occlusion: Occlusion, size: tuple[int, int], unpadded: tuple[int, int]
) -> Int[Tensor, "height width"]:
    """The predicted ids of an image of `size`, without its padding."""
    logits = resize_logits(occlusion.score_map[None], size)
    return logits[0, :, : unpadded[0], : unpadded[1]].argmax(0)


def padded(map_: Shaped[Tensor, "... _ _"], data: DataConfig) -> Shaped[Tensor, "... _ _"]:
    """An image or mask, padded at the bottom and right with 0 if the network is scored so."""
    if not data.pad:
        return map_
    bottom, right = (max(0, least - n) for least, n in zip(data.crop, map_.shape[-2:]))
    return functional.pad(map_, (0, right, 0, bottom))


def scores(
    classes: Int[Tensor, "height width"],
    labels: Shaped[Tensor, "height width"],
    mask: Bool[Tensor, "height width"],
    kind: int,
) -> tuple[float, float]:
    """`inside` and `iou` of an object (see `ObjectField`); `inside` is NaN if it has no inside.

    Args:
        classes: predicted ids.
        labels: ids.
        mask: the object's pixels.
        kind: class id of the object.
    """
    inside = mask & ~boundary_mask(labels, INNER)
    counted = mask | ((labels != kind) & (labels != IGNORE))
    predicted = (classes == kind) & counted
    iou = (predicted & mask).sum() / (predicted | mask).sum()
    return 100 * (classes[inside] == kind).float().mean().item(), 100 * iou.item()


def measures(
    runs: dict[str, TrainedRun],
    occlusions: dict[str, Occlusion],
    image: Float[Tensor, "3 height width"],
    mask: Bool[Tensor, "height width"],
    item: LabelledObject,
    side: int,
    settings: Settings,
    backbone: Features | None = None,
) -> dict[str, dict[str, dict[str, Numbers]]]:
    """Network → quantity → measure → numbers, with windows of one side."""
    grid, found = OcclusionGrid(tuple(mask.shape), side, side // 2), {}
    for name, drops in _drops(runs, occlusions, image, item, side, settings, backbone).items():
        found[name] = {}
        score_map = occlusions[name].score_map
        clean = score_map[:, *unit_at(item.pixel, tuple(mask.shape), tuple(score_map.shape[-2:]))]
        for quantity in QUANTITIES:
            drop = drop_of(clean, drops, item.kind, quantity)
            fields = grid.spread(drop), without_largest(drop, grid)
            read = [numbers(one, item.pixel, mask) for one in fields]
            found[name][quantity] = {m: tuple(values[m] for values in read) for m in MEASURES}
    return found


def _drops(
    runs: dict[str, TrainedRun],
    occlusions: dict[str, Occlusion],
    image: Tensor,
    item: LabelledObject,
    side: int,
    settings: Settings,
    backbone: Features | None = None,
) -> dict[str, Float[Tensor, "rows columns classes"]]:
    """The drop of every class's logit for each window, by network."""
    size = tuple(image.shape[-2:])
    if len(runs) > 1:
        models = [run.model for run in runs.values()]
        kernel_sizes = [run.config.model.kernel_size for run in runs.values()]
        grid, batch = OcclusionGrid(size, side, side // 2), settings.batch
        drops = drops_together(
            models,
            kernel_sizes,
            image,
            item.pixel,
            grid,
            batch_size=batch,
            backbone=backbone,
        )
        return dict(zip(runs, drops))
    ((name, occlusion),) = occlusions.items()
    unit = unit_at(item.pixel, size, tuple(occlusion.score_map.shape[-2:]))
    occluder = OcclusionSettings(side, side // 2, method=settings.method, batch_size=settings.batch)
    return {name: occlusion.drops(unit, occluder)}


def without_largest(
    drop: Float[Tensor, "rows columns"], grid: OcclusionGrid
) -> Float[Tensor, "height width"]:
    """The discrepancy from all windows but the one with the largest absolute drop. A pixel that no
    other window covers has the value 0."""
    kept = torch.ones_like(drop)
    kept.view(-1)[drop.abs().argmax()] = 0
    return (grid.spread(drop * kept) / grid.spread(kept)).nan_to_num(0.0)


def numbers(
    field: Float[Tensor, "height width"], pixel: Pixel, mask: Bool[Tensor, "height width"]
) -> dict[str, float]:
    """Every measure of one field; NaN if the field is zero."""
    if not field.any():
        return dict.fromkeys(MEASURES, float("nan"))
    found = {"radius": radius(field, pixel)}
    for rule, threshold in RULES.items():
        inside = region(field, threshold, rule)
        found[f"area_{rule}"] = 100 * inside.float().mean().item()
        found[f"coverage_{rule}"] = 100 * coverage(inside, mask)
    return found
