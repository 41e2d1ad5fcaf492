"""The valid fields of many objects under some networks, and what is right inside the objects.

    python -m gcnlab.experiments.fields data/results/photos/gcn11-seed0 … --out data/results/fields/photos

All networks of a data set get the same objects, so they can be compared object by object: which
measure of a field tells what (`gcnlab.experiments.field_measures`), and what depends on the size of
an object (`gcnlab.experiments.size_groups`). How the fields are measured is in
`gcnlab.experiments.object_fields`.

With `--settings.lengths`, each object is cut out and shown at several sizes on a texture
(`gcnlab.experiments.pasted`). With `--settings.no-fields`, only the predictions are scored, which
takes a fraction of the time.
"""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch.utils.data import Dataset

from gcnlab.experiments.command import result_files, run_command
from gcnlab.experiments.field_results import ObjectField, as_json
from gcnlab.experiments.object_fields import Settings, measure
from gcnlab.experiments.objects import LabelledObject, choose_objects
from gcnlab.experiments.pasted import PastedObjects
from gcnlab.experiments.shared_backbone import backbone_key
from gcnlab.provenance import provenance, write_json
from gcnlab.training import DataConfig, TrainedRun, load_run, open_dataset


@dataclass(frozen=True)
class Command:
    """Measure many objects under each network; write OUT/NAME.json for each run."""

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
        files = result_files(self.runs, self.out)
        missing = {path: result for path, result in files.items() if not result.exists()}
        loaded = {path: load_run(path, self.device) for path in missing}
        chosen: dict[Any, tuple[Dataset, list[LabelledObject]]] = {}
        for group in self._together(loaded):
            started, data = time.perf_counter(), loaded[group[0]].config.data
            if self.root is not None:
                data = replace(data, root=self.root)
            if data not in chosen:
                chosen[data] = self._choose(data)
            runs = {path.name: loaded[path] for path in group}
            measured = measure(runs, *chosen[data], self.settings)
            seconds = time.perf_counter() - started
            for path in group:
                self._write(runs[path.name], path, measured[path.name], missing[path], seconds)

    def _choose(self, data: DataConfig) -> tuple[Dataset, list[LabelledObject]]:
        """The images and the objects in them."""
        dataset, settings = open_dataset(data, self.settings.split), self.settings
        objects = choose_objects(dataset, settings.least_depth, settings.objects, settings.seed)
        if not settings.lengths:
            return dataset, objects
        pasted = PastedObjects(dataset, objects, settings.lengths)
        return pasted, pasted.objects()

    def _together(self, loaded: dict[Path, TrainedRun]) -> list[list[Path]]:
        """The runs in groups that are measured together: those with one frozen backbone."""
        groups: dict[Any, list[Path]] = {}
        for path, run in loaded.items():
            key = path if self.settings.method != "plain" else backbone_key(run.model)
            groups.setdefault((key, run.config.data), []).append(path)
        return list(groups.values())

    def _write(
        self, run: TrainedRun, path: Path, found: list[ObjectField], result: Path, seconds: float
    ) -> None:
        model = run.config.model
        record = provenance(
            seeds=[run.config.training.seed, self.settings.seed],
            dataset=run.config.data.dataset,
            split=self.settings.split,
            device=next(run.model.parameters()).device,
            seconds=seconds,
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
                "objects": as_json(found),
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
