"""gcnlab evaluate."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnlab.cli.results import print_scores, result
from gcnlab.evaluation import BoundaryRule, evaluate
from gcnlab.provenance import write_json
from gcnlab.training import TrainedRun, load_run


@dataclass(frozen=True)
class Evaluate:
    """Score one or several trained networks: mean IoU, per class, boundary and interior.

    gcnlab evaluate runs/base runs/gcn7 --split test
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, or checkpoints; all of one data set."""
    split: Literal["train", "val", "test"] = "val"
    """What to score on."""
    rule: BoundaryRule = field(default_factory=BoundaryRule)
    """What counts as boundary."""
    root: Path | None = None
    """Folder of the data set, if it is not where the run found it."""
    out: Path | None = None
    """Write scores and provenance to this JSON file (one network only)."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        if not self.runs:
            raise ValueError("name at least one run to evaluate")
        if self.out is not None and len(self.runs) > 1:
            raise ValueError("--out takes one run at a time")
        table = {}
        for name, path in zip(distinct_names(self.runs), self.runs):
            run = load_run(path, self.device)
            scores = evaluate(run.model, open_split(run, self.split, self.root), self.rule)
            table[name] = scores
            if self.out is not None:
                write_json(result(run, scores, self.split), self.out)
        print_scores(table)


def open_split(run: TrainedRun, split: str, root: Path | None):
    """A split of the run's data set, from `root` if that is given."""
    data = run.config.data if root is None else replace(run.config.data, root=root)
    return replace(run.config, data=data).evaluation_set(split)


def distinct_names(paths: tuple[Path, ...]) -> list[str]:
    """The last part of each path, or the whole paths if two end alike."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
