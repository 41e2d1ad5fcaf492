"""The valid field of many objects, by every measure at once: which measure tells what?

The field of an object is that of the pixel deepest inside it, for its true class. Windows are run
once per object and network; from the logits of all classes under each window come the fields of the
logit, the margin and the probability (`gcnlab.receptive.quantity`), and of each field the radius,
the area, and the coverage of the object, by the rule of mass (80 %) and by that of the maximum
(0.2; `gcnlab.receptive.regions`). Each number is also computed without the window of the largest
drop. Some of the objects are measured with smaller windows, too.

    python -m gcnlab.experiments.fields data/results/photos/gcn-seed0 … --out data/results/fields/photos

All networks of a data set get the same objects, so they can be compared object by object
(`gcnlab.experiments.field_measures`). On a GPU every window goes through the whole network in single
precision, without TF32.
"""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch.nn import functional
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Bool, Float, Int, Shaped, Tensor
from gcnlab.arguments import Pixel
from gcnlab.datasets.labels import IGNORE
from gcnlab.devices import without_tf32
from gcnlab.evaluation import boundary_mask
from gcnlab.experiments.command import result_files, run_command
from gcnlab.experiments.field_results import MEASURES, RULES, Numbers, ObjectField, as_json
from gcnlab.experiments.object_size import INNER
from gcnlab.experiments.objects import LabelledObject, choose_objects, mask_of
from gcnlab.models.logits import resize_logits
from gcnlab.models.modes import evaluation_mode
from gcnlab.provenance import provenance, write_json
from gcnlab.receptive import Occlusion, OcclusionSession, OcclusionSettings
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.quantity import drop_of
from gcnlab.receptive.regions import coverage, radius, region
from gcnlab.receptive.settings import QUANTITIES, Method
from gcnlab.receptive.unit import unit_at
from gcnlab.training import DataConfig, TrainedRun, load_run, open_dataset

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
    windows: tuple[int, ...] = ()
    """Sides of the occluder, in pixels; it moves by half of its side. Default: 48, or 32 on
    Shapes."""
    repeated: int = 40
    """Number of objects, the first ones, that are measured with every window; the others are
    measured with the first window only."""
    seed: int = 0
    """Seed of the choice of objects."""
    method: Method = "plain"
    """plain: the whole network for every window, best on a GPU; exact: the same numbers from the
    clean image's activations, faster on a CPU."""
    batch: int = 64
    """Largest number of windows per batch."""

    def __post_init__(self):
        for name, least in (("objects", 1), ("least_depth", 1), ("repeated", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or positive, not {self.seed}")
        if any(side < 2 for side in self.windows) or len(set(self.windows)) < len(self.windows):
            raise ValueError(f"windows must be different sides of 2 px or more, not {self.windows}")
        if self.method == "drilldown":
            raise ValueError("method drilldown runs only some of the windows; choose exact")


def measure(
    run: TrainedRun,
    dataset: Dataset,
    objects: list[LabelledObject],
    settings: Settings,
    name: str = "fields",
) -> list[ObjectField]:
    """The fields of some objects of a data set, and how well the network does inside them."""
    session = OcclusionSession(run.model, reuse=settings.method != "plain")
    sides = settings.windows or WINDOWS.get(run.config.data.dataset, PHOTO_WINDOWS)
    found, open_image = [], None
    with evaluation_mode(run.model), without_tf32():
        for number, item in enumerate(tqdm(objects, desc=name, unit="object")):
            if item.image != open_image:
                picture, labels = dataset[item.image]
                open_image, labels = item.image, torch.as_tensor(labels)
                image = padded(run.normalization(picture), run.config.data)
                occlusion = session.on(image)
                logits = resize_logits(occlusion.score_map[None], tuple(image.shape[-2:]))
                classes = logits[0, :, : labels.shape[0], : labels.shape[1]].argmax(0)
            mask = mask_of(labels, item)
            used = sides if number < settings.repeated else sides[:1]
            found.append(
                ObjectField(
                    item,
                    bool(classes[item.pixel] == item.kind),
                    *scores(classes, labels, mask, item.kind),
                    {
                        side: measures(
                            occlusion, padded(mask, run.config.data), item, side, settings
                        )
                        for side in used
                    },
                )
            )
    return found


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
    occlusion: Occlusion,
    mask: Bool[Tensor, "height width"],
    item: LabelledObject,
    side: int,
    settings: Settings,
) -> dict[str, dict[str, Numbers]]:
    """Quantity → measure → numbers, with windows of one side."""
    size = tuple(mask.shape)
    unit = unit_at(item.pixel, size, tuple(occlusion.score_map.shape[-2:]))
    occluder = OcclusionSettings(side, side // 2, method=settings.method, batch_size=settings.batch)
    drops = occlusion.drops(unit, occluder)
    clean, grid = occlusion.score_map[:, *unit], OcclusionGrid(size, side, side // 2)
    found = {}
    for quantity in QUANTITIES:
        drop = drop_of(clean, drops, item.kind, quantity)
        fields = grid.spread(drop), without_largest(drop, grid)
        read = [numbers(one, item.pixel, mask) for one in fields]
        found[quantity] = {name: tuple(values[name] for values in read) for name in MEASURES}
    return found


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


@dataclass(frozen=True)
class Command:
    """Measure the fields of many objects; write OUT/NAME.json for each run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of segmentation networks, or names of pretrained networks."""
    out: Path = Path("data/results/fields")
    """Folder of the results; runs that have a result are skipped."""
    root: Path | None = None
    """Folder of the data sets; default: that with which the network was trained."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""
    settings: Settings = field(default_factory=Settings)

    def __call__(self) -> None:
        chosen: dict[Any, tuple[Dataset, list[LabelledObject]]] = {}
        for path, result in result_files(self.runs, self.out).items():
            if result.exists():
                continue
            started = time.perf_counter()
            run = load_run(path, self.device)
            data = run.config.data
            if self.root is not None:
                data = replace(data, root=self.root)
            if data not in chosen:
                dataset = open_dataset(data, self.settings.split)
                least, count = self.settings.least_depth, self.settings.objects
                chosen[data] = dataset, choose_objects(dataset, least, count, self.settings.seed)
            objects = measure(run, *chosen[data], self.settings, path.name)
            model = run.config.model
            record = provenance(
                seeds=[run.config.training.seed, self.settings.seed],
                dataset=data.dataset,
                split=self.settings.split,
                device=next(run.model.parameters()).device,
                seconds=time.perf_counter() - started,
            )
            write_json(
                {
                    "network": path.name,
                    "head": model.head,
                    "kernel_size": model.kernel_size,
                    "refine": model.refine,
                    "backbone": model.backbone,
                    "seed": run.config.training.seed,
                    "settings": asdict(self.settings),
                    "objects": as_json(objects),
                    "provenance": record,
                },
                result,
                indent=None,
            )
            print(result)


def main() -> None:
    """Entry point of `python -m gcnlab.experiments.fields`."""
    run_command(Command, "gcnlab.experiments.fields")


if __name__ == "__main__":
    main()
