"""Coverage against accuracy, object by object: is an object's interior correct because its field
covers it?

The paper argues with Figure 3: where the valid receptive field covers the whole object, its
interior is classified correctly. This is a claim about single objects and can be tested by
counting. For every object in the validation scenes of Shapes, the valid field of one random pixel
inside it is computed. The result holds the share of the object that the field's region covers, and
the share of the object's interior (more than 7 pixels from a boundary) that is correct.

    python -m gcnlab.experiments.coverage data/results/shapes/gcn7-seed0 …

It takes about a second per object on one CPU core. Large objects are harder and are covered less,
so object size alone could cause a correlation over all objects. The rank correlation is therefore
also computed within three groups of size. If the argument holds, it is positive, also at equal
size. The results are in `data/results/coverage`.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from tqdm.auto import tqdm

from gcnlab.datasets import Shapes
from gcnlab.evaluation import boundary_mask, predict
from gcnlab.experiments.command import result_files, run_command
from gcnlab.experiments.object_size import INNER, inner_pixel
from gcnlab.experiments.rank_correlation import Correlation, rank_correlation
from gcnlab.models.modes import evaluation_mode
from gcnlab.provenance import provenance, write_json
from gcnlab.receptive import OcclusionSession, OcclusionSettings
from gcnlab.receptive.settings import Rule
from gcnlab.receptive.unit import unit_at
from gcnlab.training import TrainedRun, load_run

GROUPS = ((0, 80), (80, 130), (130, 192))
"""Diameters of small, medium and large objects, in pixels; the upper limit belongs to the group."""


@dataclass(frozen=True)
class Settings:
    """The objects, and how their fields are measured."""

    images: int = 100
    """Number of validation scenes, of 256 × 256 pixels with one to four objects each."""
    window: int = 32
    """Side of the occluder, in pixels."""
    stride: int = 16
    """Distance between neighbouring positions of the occluder, in pixels."""
    threshold: float = 0.2
    """Threshold of the region."""
    rule: Rule = "maximum"
    """Rule of the region. The committed results are by the maximum, which was the default."""
    seed: int = 0
    """Seed of the random pixel inside each object."""

    def __post_init__(self):
        if self.images < 1:
            raise ValueError(f"images must be at least 1, not {self.images}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or positive, not {self.seed}")


@dataclass(frozen=True)
class ObjectCoverage:
    """One object.

    Attributes:
        image, number: index of the validation scene, and of the object in it.
        kind: class id.
        size: diameter of its circumscribed circle, in pixels.
        coverage: share of its visible pixels inside the field's region, in percent.
        internal_accuracy: share of its interior pixels that are classified correctly, in percent.
    """

    image: int
    number: int
    kind: int
    size: float
    coverage: float
    internal_accuracy: float


def measure(run: TrainedRun, settings: Settings, name: str = "coverage") -> list[ObjectCoverage]:
    """Coverage and accuracy of every object that has an interior.

    Raises:
        ValueError: the network was not trained on Shapes.
    """
    data = run.config.data
    if data.dataset != "shapes":
        raise ValueError(f"{name} was trained on {data.dataset}, not on shapes")
    scenes = Shapes("val", settings.images, data.image_size)
    session = OcclusionSession(run.model)
    occluder = OcclusionSettings(settings.window, settings.stride)
    objects = []
    with evaluation_mode(run.model):
        for index in tqdm(range(len(scenes)), desc=name):
            picture, labels = scenes[index]
            image = run.normalization(picture)
            right = predict(run.model, image[None])[0] == labels
            inside = ~boundary_mask(labels, INNER)
            instances, occlusion = scenes.instances(index), session.on(image)
            for number, item in enumerate(scenes.scene(index).objects):
                mask = instances == number + 1
                inner = mask & inside
                if not inner.any():
                    continue
                rng = np.random.default_rng([settings.seed, index, number])
                pixel = inner_pixel(inner, mask, rng)
                unit = unit_at(pixel, tuple(mask.shape), tuple(occlusion.score_map.shape[-2:]))
                valid = occlusion.field(unit, item.kind, occluder)
                objects.append(
                    ObjectCoverage(
                        index,
                        number,
                        item.kind,
                        item.size,
                        100 * valid.coverage(mask, settings.threshold, settings.rule),
                        100 * right[inner].float().mean().item(),
                    )
                )
    return objects


def correlation(objects: list[ObjectCoverage]) -> Correlation:
    """Rank correlation of coverage and internal accuracy."""
    return rank_correlation([o.coverage for o in objects], [o.internal_accuracy for o in objects])


def correlations(objects: list[ObjectCoverage]) -> dict[str, Correlation]:
    """The correlation over all objects and within each group of size: "all", "0–80 px", …"""
    found = {"all": correlation(objects)}
    for low, high in GROUPS:
        found[f"{low}–{high} px"] = correlation([o for o in objects if low < o.size <= high])
    return found


def read_result(path: str | Path) -> list[ObjectCoverage]:
    """Read the objects from a file that the command wrote."""
    return [ObjectCoverage(**values) for values in json.loads(Path(path).read_text())["objects"]]


@dataclass(frozen=True)
class Command:
    """Measure coverage and accuracy of every object; write OUT/NAME.json for each run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of networks trained on Shapes."""
    out: Path = Path("data/results/coverage")
    """Folder of the results; runs that have a result are skipped."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""
    settings: Settings = field(default_factory=Settings)

    def __call__(self) -> None:
        for path, result in result_files(self.runs, self.out).items():
            if result.exists():
                continue
            started = time.perf_counter()
            run = load_run(path, self.device)
            objects = measure(run, self.settings, path.name)
            record = provenance(
                seeds=[run.config.training.seed, self.settings.seed],
                dataset="shapes",
                split="val",
                device=next(run.model.parameters()).device,
                seconds=time.perf_counter() - started,
            )
            write_json(
                {
                    "network": path.name,
                    "settings": asdict(self.settings),
                    "correlation": {k: asdict(c) for k, c in correlations(objects).items()},
                    "objects": [asdict(o) for o in objects],
                    "provenance": record,
                },
                result,
            )
            print(result)


def main() -> None:
    """Entry point of `python -m gcnlab.experiments.coverage`."""
    run_command(Command, "gcnlab.experiments.coverage")


if __name__ == "__main__":
    main()
