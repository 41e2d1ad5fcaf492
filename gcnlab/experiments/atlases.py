"""Does coverage fall off towards the middle of large objects, and do errors follow it?

    python -m gcnlab.experiments.atlases photos-conv1x1 photos-gcn11 --out data/results/atlases/photos

The paper's Figure 3 shows the field of one pixel. An atlas has the fields of all pixels of an image
(`gcnlab.receptive.FieldAtlas`). Their means in parts of every object, from edge to middle, are kept,
and the rank correlation of coverage with being right within each image
(`gcnlab.experiments.atlas_measurement`; what they say is computed in
`gcnlab.experiments.depth_profiles`).

All networks get the same images, so they can be compared object by object. Networks on one frozen
backbone are measured together, since the backbone takes most of the time. A result is written after
every ten images, and a command that was stopped continues from there.
"""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm.auto import tqdm

from gcnlab.experiments.atlas_measurement import Measurement, Settings, images_with_objects
from gcnlab.experiments.atlas_results import AtlasResult, Measured, as_json, read_atlases
from gcnlab.experiments.command import result_files, run_command
from gcnlab.experiments.shared_backbone import backbone_key
from gcnlab.provenance import provenance, write_json
from gcnlab.training import TrainedRun, load_run, open_dataset

SAVED_AFTER = 10
"""Images between two saves."""


@dataclass(frozen=True)
class Command:
    """Measure the fields of all pixels of objects; write OUT/NAME.json for each run."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of segmentation networks, or names of pretrained networks."""
    out: Path = Path("data/results/atlases")
    """Folder of the results; images that a result has are not measured again."""
    root: Path | None = None
    """Folder of the data sets; default: that with which the network was trained."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""
    settings: Settings = field(default_factory=Settings)

    def __call__(self) -> None:
        files = result_files(self.runs, self.out)
        loaded = {path: load_run(path, self.device) for path in files}
        groups: dict[Any, list[Path]] = {}
        for path, run in loaded.items():
            groups.setdefault((backbone_key(run.model), run.config.data), []).append(path)
        for paths in groups.values():
            self._measure({path: loaded[path] for path in paths}, files)

    def _measure(self, runs: dict[Path, TrainedRun], files: dict[Path, Path]) -> None:
        """Measure networks on one backbone."""
        data, results = next(iter(runs.values())).config.data, []
        if self.root is not None:
            data = replace(data, root=self.root)
        for path, run in runs.items():
            results.append(_Result(path.name, run, files[path], self.settings))
        measurement = Measurement(list(runs.values()), self.settings)
        images = list(images_with_objects(open_dataset(data, self.settings.split), self.settings))
        title, begun = ", ".join(path.name for path in runs), time.perf_counter()
        for picture, labels, objects in tqdm(images, desc=title, unit="image"):
            image = objects[0].image
            if all(image in result.images for result in results):
                continue
            for result, measured in zip(results, measurement(picture, labels, objects)):
                result.images[image] = measured
            if len(results[0].images) % SAVED_AFTER == 0:
                begun = self._save(results, begun)
        self._save(results, begun)

    def _save(self, results: list["_Result"], begun: float) -> float:
        now = time.perf_counter()
        for result in results:
            result.seconds += now - begun
            result.save()
        return now


class _Result:
    """The file of one network.

    Attributes:
        images: index of an image → what was measured, in the order of measuring.
        seconds: time of the measurement, which all networks of a group share.

    Raises:
        ValueError: the file has other settings.
    """

    def __init__(self, name: str, run: TrainedRun, path: Path, settings: Settings):
        self.name, self.run, self.path, self.settings = name, run, path, settings
        self.images: dict[int, Measured] = {}
        self.seconds = 0.0
        if path.exists():
            self._read()

    def _read(self) -> None:
        found, values = read_atlases(self.path), json.loads(self.path.read_text())
        if values["settings"] | {"images": 0} != asdict(self.settings) | {"images": 0}:
            raise ValueError(f"{self.path}: was measured with other settings: choose another --out")
        self.seconds = values["provenance"]["wall_seconds"]
        for ranks in found.images:
            own = [item for item in found.objects if item.item.image == ranks.image]
            self.images[ranks.image] = own, ranks

    def save(self) -> None:
        model, training = self.run.config.model, self.run.config.training
        objects = tuple(item for own, _ in self.images.values() for item in own)
        ranks = tuple(ranks for _, ranks in self.images.values())
        record = provenance(
            seeds=[training.seed, self.settings.seed],
            dataset=self.run.config.data.dataset,
            split=self.settings.split,
            device=next(self.run.model.parameters()).device,
            seconds=self.seconds,
        )
        write_json(
            {
                "network": self.name,
                "head": model.head,
                "kernel_size": model.kernel_size,
                "refine": model.refine,
                "backbone": model.backbone,
                "seed": training.seed,
                "settings": asdict(self.settings),
                **as_json(AtlasResult(self.name, training.seed, objects, ranks)),
                "provenance": record,
            },
            self.path,
            indent=None,
        )


def main() -> None:
    """Entry point of `python -m gcnlab.experiments.atlases`."""
    run_command(Command, "gcnlab.experiments.atlases")


if __name__ == "__main__":
    main()
