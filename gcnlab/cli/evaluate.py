"""gcnlab evaluate."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gcnlab.cli.results import print_scores, write_class_table
from gcnlab.distributed import is_primary, process_group
from gcnlab.evaluation import CRF, BandRule, BoundaryRule, Inference, evaluate
from gcnlab.provenance import write_json
from gcnlab.training import TrainedRun, load_run
from gcnlab.training.runs import run_result
from gcnlab.training.tasks import task_of


@dataclass(frozen=True)
class Evaluate:
    """Score one or several trained networks: mean IoU, per class, boundary and interior.

        gcnlab evaluate runs/base runs/gcn7 --split test
        gcnlab evaluate runs/gcn7 --inference.flip --inference.scales 0.75 1 1.25 --inference.tile 512 512
        gcnlab evaluate runs/gcn7 --curve 40 --boundary-iou --out scores.json --table classes.csv

        torchrun --nproc-per-node 2 --no-python gcnlab evaluate runs/gcn7

    Under torchrun the processes share the images; the figures stay the same to the last digit.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, or checkpoints; all of one data set."""
    split: Literal["train", "val", "test"] = "val"
    """What to score on."""
    rule: BoundaryRule = field(default_factory=BoundaryRule)
    """What counts as boundary."""
    inference: Inference = field(default_factory=Inference)
    """Flip, scales, tiles."""
    crf: CRF | None = None
    """Refine the class probabilities with a dense CRF (extra `crf`)."""
    curve: int | None = None
    """Also the accuracy against the distance to the boundary, up to that many pixels; into --out."""
    boundary_iou: bool = False
    """Also the boundary IoU per class."""
    band: BandRule = field(default_factory=BandRule)
    """How wide the band of the boundary IoU is."""
    root: Path | None = None
    """Folder of the data set, if it is not where the run found it."""
    out: Path | None = None
    """Write scores and provenance to this JSON file (one network only)."""
    table: Path | None = None
    """Write a row per class to this CSV file: IoU, accuracy, boundary IoU, pixels (one network only)."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""

    def __call__(self) -> None:
        if not self.runs:
            raise ValueError("name at least one run to evaluate")
        for flag, path in (("--out", self.out), ("--table", self.table)):
            if path is not None and len(self.runs) > 1:
                raise ValueError(f"{flag} takes one run at a time")
        with process_group(self.device) as device:
            self._score(device)

    def _score(self, device: str | None) -> None:
        table = {}
        first = is_primary()  # it writes and prints
        for name, path in zip(distinct_names(self.runs), self.runs):
            run = load_run(path, device)
            scores = evaluate(
                run.model,
                open_split(run, self.split, self.root),
                self.rule,
                inference=self.inference,
                crf=self.crf,
                normalization=run.normalization,
                curve=self.curve,
                band=self.band if self.boundary_iou else None,
            )
            table[name] = scores
            if first and self.out is not None:
                modes = {"inference": asdict(self.inference)}
                modes["crf"] = None if self.crf is None else asdict(self.crf)
                write_json(run_result(run, scores, self.split) | modes, self.out)
            if first and self.table is not None:
                write_class_table(scores, self.table)
        if first:
            print_scores(table)


def open_split(run: TrainedRun, split: str, root: Path | None):
    """A split of the run's data set, from `root` if that is given."""
    data = run.config.data if root is None else replace(run.config.data, root=root)
    return task_of(replace(run.config, data=data)).evaluation_set(split)


def distinct_names(paths: tuple[Path, ...]) -> list[str]:
    """The last part of each path, or the whole paths if two end alike."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
