"""Resize the object: what networks make of one object as it grows (Figure 3, measured).

The paper shows one bird twice, small and enlarged, and says that the valid receptive field of a conventional
network covers the small one and only a part of the large one, while GCN's covers both. Here one object of Shapes
stands alone on a texture, with a diameter of 16 to 220 pixels, in every class, at random places and rotations;
all networks get the same scenes. Read off per size: is the object's class found (IoU), is its inside right, how
much of it does the valid receptive field of a pixel inside it cover?

    python -m gcnlab.experiments.object_size --out data/results/object_size data/results/shapes/gcn7-seed0 …

Cost: about four minutes on one CPU core for each network. Expected, if the claim holds: coverage and inside fall
once the object outgrows the field, later for a larger k. What came out is in `data/results/object_size`.

Shapes trains on sizes from 0.15 to 0.75 of the image: 38 to 192 of 256 pixels. Outside of these an error may be
due to the size being new, not to its being large.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from tqdm.auto import tqdm

from gcnlab.annotations import Bool, Tensor
from gcnlab.datasets import SHAPES, Scene, ShapeObject, render
from gcnlab.evaluation import boundary_mask, predict
from gcnlab.experiments.command import result_files, run_command
from gcnlab.models.modes import evaluation_mode
from gcnlab.provenance import provenance, write_json
from gcnlab.receptive import OcclusionSession, OcclusionSettings, theoretical_field
from gcnlab.receptive.unit import unit_at
from gcnlab.training import TrainedRun, load_run

INNER = 7
"""Pixels from the boundary; the inside begins beyond (Table 5)."""
TRAINED_SIZES = (0.15, 0.75)
"""Smallest and largest object that a network trained on Shapes has seen, of the image's side."""
BATCH = 10
"""Scenes at once."""
SECONDS = 0.1, 1.0
"""Of a scene and of a field, on one core, for the mini backbone at 256 pixels: for the announcement."""


@dataclass(frozen=True)
class Settings:
    """What is drawn and how it is looked at."""

    sizes: tuple[int, ...] = (16, 24, 32, 48, 64, 80, 96, 120, 144, 168, 192, 220)
    """Diameters of the object's circumscribed circle, in pixels."""
    scenes: int = 8
    """Scenes per class and size."""
    fields: int = 2
    """Of these, how many have a valid receptive field computed, at one random inner pixel each."""
    image_size: int = 256
    """Side of the image, in pixels."""
    window: int = 32
    """Side of the occluder, in pixels. Objects smaller than it cannot be distinguished from it."""
    stride: int = 16
    """Distance between neighbouring positions of the occluder, in pixels."""
    threshold: float = 0.2
    """Of the region, as a fraction of the field's maximum."""
    seed: int = 0
    """Of places, rotations, textures and inner pixels."""

    def __post_init__(self):
        if not self.sizes or min(self.sizes) < 8 or max(self.sizes) > self.image_size:
            raise ValueError(
                f"sizes must be from 8 px to the image's {self.image_size}, not {self.sizes}"
            )
        if not 1 <= self.fields <= self.scenes:
            raise ValueError(f"fields must be from 1 to scenes = {self.scenes}, not {self.fields}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or positive, not {self.seed}")


@dataclass(frozen=True)
class SizeScores:
    """One network on objects of one size; in percent, None where there was nothing to score.

    Attributes:
        size: of the object, in pixels.
        iou: of the object's class, mean over the classes.
        class_iou: for each class; intersection and union are summed over its scenes.
        internal_accuracy: share of right pixels among the object's that are further than 7 pixels
            from its boundary.
        coverage: mean share of the object that the valid receptive field's region covers.
        coverage_deviation: its standard deviation over the fields.
        region: mean share of the image that the region takes.
    """

    size: int
    iou: int | float
    class_iou: dict[str, int | float]
    internal_accuracy: int | float | None
    coverage: int | float
    coverage_deviation: int | float
    region: int | float


@dataclass(frozen=True)
class ObjectSizes:
    """One network's scores against object size.

    Attributes:
        network: name of the run.
        head: "conv1x1", "gcn", …
        kernel_size: its k, on res-5; 1 for "conv1x1".
        seed: of the training.
        theoretical: size of the theoretical receptive field at the head on res-5, in pixels; None
            if not known.
        settings: of the measurement.
        scores: one for each size.
        backbone: "mini", "resnet50", …; results written before it was noted are of "mini".
        refine: with boundary refinement; results written before it was noted are without.
    """

    network: str
    head: str
    kernel_size: int
    seed: int
    theoretical: int | None
    settings: Settings
    scores: tuple[SizeScores, ...]
    backbone: str = "mini"
    refine: bool = False

    @property
    def title(self) -> str:
        """The network in words, the same for all seeds: "GCN, k = 7", "resnet50 1×1 + BR"."""
        head = "1×1" if self.head == "conv1x1" else f"{self.head.upper()}, k = {self.kernel_size}"
        backbone = "" if self.backbone == "mini" else f"{self.backbone} "
        return f"{backbone}{head}{' + BR' if self.refine else ''}"


def single_object(settings: Settings, size: int, kind: int, number: int) -> Scene:
    """A scene with one object, wholly inside the image; always the same for the same arguments."""
    rng = np.random.default_rng([settings.seed, size, kind, number])
    side = settings.image_size
    row, column = rng.uniform(size / 2, side - size / 2, 2)
    angle, texture, background = rng.uniform(0, 360), *rng.integers(2**31, size=2).tolist()
    item = ShapeObject(kind, (float(row), float(column)), float(size), float(angle), texture)
    return Scene(side, side, background, (item,))


def inner_pixel(
    inside: Bool[Tensor, "height width"],
    mask: Bool[Tensor, "height width"],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """A random pixel (row, column) of the object's inside; of a small one, which has none, the pixel of
    the object nearest to its centroid."""
    places = inside.nonzero()
    if len(places):
        row, column = places[rng.integers(len(places))].tolist()
    else:
        places = mask.nonzero()
        off = (places - places.double().mean(0)).norm(dim=1)
        row, column = places[off.argmin()].tolist()
    return row, column


def measure(run: TrainedRun, network: str, settings: Settings) -> ObjectSizes:
    """Score one network on objects of all sizes.

    Raises:
        ValueError: the network was not trained on Shapes.
    """
    config = run.config
    if config.data.dataset != "shapes":
        raise ValueError(f"{network} was trained on {config.data.dataset}, not on shapes")
    session = OcclusionSession(run.model)
    theoretical = theoretical_field(run.model, settings.image_size, at="heads.3")
    kinds = range(1, SHAPES.num_classes)
    total = len(settings.sizes) * len(kinds)
    scores = []
    with tqdm(total=total, desc=network) as bar, evaluation_mode(run.model):
        for size in settings.sizes:
            counts = []
            for kind in kinds:
                counts.append(_count(run, session, settings, size, kind))
                bar.update()
            scores.append(_summary(size, counts))
    return ObjectSizes(
        network=network,
        head=config.model.head,
        kernel_size=1 if config.model.head == "conv1x1" else _at_res5(config.model.kernel_size),
        seed=config.training.seed,
        theoretical=theoretical.rows.size,
        settings=settings,
        scores=tuple(scores),
        backbone=config.model.backbone,
        refine=config.model.refine,
    )


@dataclass(frozen=True)
class _Counts:
    """Of one class and size: pixels, and the share of the object and of the image per field."""

    intersection: int
    union: int
    inside: int
    inside_right: int
    coverage: list[float]
    region: list[float]


def _count(
    run: TrainedRun, session: OcclusionSession, settings: Settings, size: int, kind: int
) -> _Counts:
    rendered = [render(single_object(settings, size, kind, n))[:2] for n in range(settings.scenes)]
    images = torch.stack([run.normalization(image) for image, _ in rendered])
    labels = torch.stack([ids for _, ids in rendered])
    found = torch.cat([predict(run.model, batch) for batch in images.split(BATCH)]) == kind
    mask = labels == kind
    inside = mask & ~boundary_mask(labels, INNER)
    coverage, region = [], []
    for number in range(settings.fields):
        rng = np.random.default_rng([settings.seed, size, kind, number, 1])
        pixel = inner_pixel(inside[number], mask[number], rng)
        occlusion = session.on(images[number])
        unit = unit_at(pixel, tuple(images.shape[-2:]), tuple(occlusion.score_map.shape[-2:]))
        valid = occlusion.field(unit, kind, OcclusionSettings(settings.window, settings.stride))
        coverage.append(valid.coverage(mask[number], settings.threshold))
        region.append(valid.region(settings.threshold).float().mean().item())
    return _Counts(
        int((found & mask).sum()),
        int((found | mask).sum()),
        int(inside.sum()),
        int((found & inside).sum()),
        coverage,
        region,
    )


def _at_res5(kernel_size: int | tuple[int, ...]) -> int:
    return kernel_size if isinstance(kernel_size, int) else kernel_size[-1]


def _summary(size: int, counts: list[_Counts]) -> SizeScores:
    iou = {
        name: 100 * c.intersection / c.union for name, c in zip(SHAPES.names[1:], counts)
    }  # the object itself is in the union: never 0
    inside = sum(c.inside for c in counts)
    right = sum(c.inside_right for c in counts)
    coverage = [100 * value for c in counts for value in c.coverage]
    return SizeScores(
        size=size,
        iou=statistics.mean(iou.values()),
        class_iou=iou,
        internal_accuracy=100 * right / inside if inside else None,
        coverage=statistics.mean(coverage),
        coverage_deviation=statistics.stdev(coverage),
        region=statistics.mean(100 * value for c in counts for value in c.region),
    )


def read_result(path: str | Path) -> ObjectSizes:
    """Read what the command wrote."""
    values = json.loads(Path(path).read_text())
    values.pop("provenance")
    settings = values.pop("settings")
    return ObjectSizes(
        settings=Settings(**{**settings, "sizes": tuple(settings["sizes"])}),
        scores=tuple(SizeScores(**score) for score in values.pop("scores")),
        **values,
    )


@dataclass(frozen=True)
class Command:
    """Measure IoU, inside and coverage against object size; writes OUT/NETWORK.json for each run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of networks trained on Shapes. Those that have a result already are left out."""
    out: Path = Path("data/results/object_size")
    """Folder of the results."""
    again: bool = False
    """Measure those too that have a result, and replace it."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    settings: Settings = field(default_factory=Settings)

    def __call__(self) -> None:
        todo = result_files(self.runs, self.out)
        todo = {run: result for run, result in todo.items() if self.again or not result.exists()}
        s = self.settings
        scenes = len(s.sizes) * (SHAPES.num_classes - 1) * s.scenes
        fields = scenes * s.fields // s.scenes
        minutes = len(todo) * (scenes * SECONDS[0] + fields * SECONDS[1]) / 60
        print(
            f"{len(todo)} networks, {len(self.runs) - len(todo)} have a result already; each sees "
            f"{scenes} scenes and has {fields} fields: about {minutes:.0f} minutes on one core"
        )
        for path, result in todo.items():
            started = time.perf_counter()
            run = load_run(path, self.device)
            measured = measure(run, path.name, s)
            write_json(
                asdict(measured)
                | {
                    "provenance": provenance(
                        seeds=[run.config.training.seed, s.seed],
                        dataset="shapes, one object of a given size",
                        split=f"drawn with seed {s.seed}, textures not trained on",
                        device=next(run.model.parameters()).device,
                        seconds=time.perf_counter() - started,
                    )
                },
                result,
            )
            print(result)


def main() -> None:
    """Entry point of `python -m gcnlab.experiments.object_size`."""
    run_command(Command, "gcnlab.experiments.object_size")


if __name__ == "__main__":
    main()
