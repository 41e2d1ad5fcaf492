"""Accuracy and coverage against the size of an object (Figure 3, measured).

The paper shows one bird twice, small and enlarged, and says that the valid receptive field of a
conventional network covers the small one and only a part of the large one, while GCN's covers both.
Here a single object of Shapes is drawn on a texture, with a diameter of 16 to 220 pixels, in every
class, at random positions and rotations; all networks get the same scenes. For each size, the
measurement gives the IoU of the object's class, the accuracy in its interior, and the share of the
object that the valid receptive field of a pixel inside it covers.

    python -m gcnlab.experiments.object_size --out data/results/object_size data/results/shapes/gcn7-seed0 …

It takes about four minutes per network on one CPU core. If the claim holds, coverage and internal
accuracy decrease once the object is larger than the field, later for a larger k. The results are in
`data/results/object_size`.

Shapes trains on sizes from 0.15 to 0.75 of the image: 38 to 192 of 256 pixels. Outside this range,
an error can be caused by a size that is new to the network.
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
from gcnlab.receptive.settings import Rule
from gcnlab.receptive.unit import unit_at
from gcnlab.training import TrainedRun, load_run

INNER = 7
"""Largest distance of a boundary pixel, in pixels; the interior is beyond it (Table 5)."""
TRAINED_SIZES = (0.15, 0.75)
"""Smallest and largest object that a network trained on Shapes has seen, relative to the image's
side."""
BATCH = 10
"""Scenes per batch."""
SECONDS = 0.1, 1.0
"""Duration of a scene and of a field on one core, for the mini backbone at 256 pixels; used to
print an estimate."""


@dataclass(frozen=True)
class Settings:
    """The scenes, and how they are measured."""

    sizes: tuple[int, ...] = (16, 24, 32, 48, 64, 80, 96, 120, 144, 168, 192, 220)
    """Diameters of the object's circumscribed circle, in pixels."""
    scenes: int = 8
    """Scenes per class and size."""
    fields: int = 2
    """Scenes, among these, for which a valid receptive field is computed, at one random interior
    pixel each."""
    image_size: int = 256
    """Side of the image, in pixels."""
    window: int = 32
    """Side of the occluder, in pixels. Objects smaller than it cannot be distinguished from it."""
    stride: int = 16
    """Distance between neighbouring positions of the occluder, in pixels."""
    threshold: float = 0.2
    """Threshold of the region."""
    rule: Rule = "maximum"
    """Rule of the region. The committed results are by the maximum, which was the default."""
    seed: int = 0
    """Seed of positions, rotations, textures and interior pixels."""

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
    """Scores of one network on objects of one size, in percent; None if there is nothing to score.

    Attributes:
        size: diameter of the object, in pixels.
        iou: IoU of the object's class, mean over the classes.
        class_iou: IoU of each class; intersection and union are summed over its scenes.
        internal_accuracy: share of correct pixels among those of the object that are more than 7
            pixels from its boundary.
        coverage: mean share of the object that the region of the valid receptive field covers.
        coverage_deviation: standard deviation of the coverage over the fields.
        region: mean share of the image in the region.
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
        kernel_size: k of the head on res-5; 1 for "conv1x1".
        seed: seed of the run.
        theoretical: size of the theoretical receptive field at the head on res-5, in pixels; None
            if unknown.
        settings: settings of the measurement.
        scores: one entry per size.
        backbone: "mini", "resnet50", …; older results without this entry are of "mini".
        refine: with boundary refinement; older results without this entry have none.
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
        """Title of the network, the same for all seeds: "GCN, k = 7", "resnet50 1×1 + BR"."""
        head = "1×1" if self.head == "conv1x1" else f"{self.head.upper()}, k = {self.kernel_size}"
        backbone = "" if self.backbone == "mini" else f"{self.backbone} "
        return f"{backbone}{head}{' + BR' if self.refine else ''}"


def single_object(settings: Settings, size: int, kind: int, number: int) -> Scene:
    """A scene with one object, completely inside the image; the same arguments give the same
    scene."""
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
    """A random pixel (row, column) of the object's interior. For a small object without an
    interior, the object's pixel nearest to its centroid."""
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
    """Counts for one class and size: pixels, and each field's coverage of the object and of the
    image."""

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
        coverage.append(valid.coverage(mask[number], settings.threshold, settings.rule))
        region.append(valid.area(settings.threshold, settings.rule))
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
    """Read a result that the command wrote."""
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
    """Measure IoU, internal accuracy and coverage against object size; write OUT/NETWORK.json for
    each run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of networks trained on Shapes. Those that have a result are skipped."""
    out: Path = Path("data/results/object_size")
    """Folder of the results."""
    again: bool = False
    """Also measure networks that have a result, and replace it."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""
    settings: Settings = field(default_factory=Settings)

    def __call__(self) -> None:
        todo = result_files(self.runs, self.out)
        todo = {run: result for run, result in todo.items() if self.again or not result.exists()}
        s = self.settings
        scenes = len(s.sizes) * (SHAPES.num_classes - 1) * s.scenes
        fields = scenes * s.fields // s.scenes
        minutes = len(todo) * (scenes * SECONDS[0] + fields * SECONDS[1]) / 60
        print(
            f"{len(todo)} networks to measure, {len(self.runs) - len(todo)} have a result; each takes "
            f"{scenes} scenes and {fields} fields: about {minutes:.0f} minutes on one core"
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
