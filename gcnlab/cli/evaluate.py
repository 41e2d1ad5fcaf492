"""gcnlab evaluate."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gcnlab.evaluation.settings import CRF, BandRule, BoundaryRule, Inference

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from gcnlab.training import TrainedRun


@dataclass(frozen=True)
class Evaluate:
    """Score trained networks: mean IoU, IoU per class, accuracy at boundaries and in the interior.

        gcnlab evaluate runs/base runs/gcn7 --split test
        gcnlab evaluate runs/gcn7 --inference.flip --inference.scales 0.75 1 1.25 --inference.tile 512 512
        gcnlab evaluate runs/gcn7 --curve 40 --boundary-iou --out scores.json --table classes.csv

        torchrun --nproc-per-node 2 --no-python gcnlab evaluate runs/gcn7

    Under torchrun the ranks share the images; the scores are the same to the last digit.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs, checkpoints, or names of pretrained networks; all of the same data set."""
    split: Literal["train", "val", "test"] = "val"
    """Split to score on."""
    rule: BoundaryRule = field(default_factory=BoundaryRule)
    """Which pixels are boundary."""
    inference: Inference = field(default_factory=Inference)
    """Flips, scales and tiles with which the network is run. Images are padded as the run's
    settings say (data.pad), unless --inference.pad-to is given."""
    crf: CRF | None = None
    """Refine the class probabilities with a dense CRF (extra `crf`)."""
    curve: int | None = None
    """Also compute the accuracy against the distance to the boundary, up to this distance in
    pixels; written to --out."""
    boundary_iou: bool = False
    """Also compute the boundary IoU per class."""
    band: BandRule = field(default_factory=BandRule)
    """Width of the band for the boundary IoU."""
    root: Path | None = None
    """Folder of the data sets; default: where the run found them."""
    out: Path | None = None
    """Write scores and provenance to this JSON file (one network only)."""
    table: Path | None = None
    """Write one row per class to this CSV file: IoU, accuracy, boundary IoU, pixels (one network
    only)."""
    device: str | None = None
    """cpu, cuda, …; default: the GPU if there is one."""

    def __call__(self) -> None:
        if not self.runs:
            raise ValueError("name at least one run to evaluate")
        for flag, path in (("--out", self.out), ("--table", self.table)):
            if path is not None and len(self.runs) > 1:
                raise ValueError(f"{flag} takes one run at a time")
        from gcnlab.distributed import process_group

        with process_group(self.device) as device:
            self._score(device)

    def _score(self, device: str | None) -> None:
        from gcnlab.cli.results import print_scores, write_class_table
        from gcnlab.distributed import is_primary
        from gcnlab.evaluation import evaluate
        from gcnlab.provenance import write_json
        from gcnlab.training import load_run
        from gcnlab.training.runs import run_result

        table = {}
        primary = is_primary()
        for name, path in zip(distinct_names(self.runs), self.runs):
            run = load_run(path, device)
            predictor = run.predictor(self.inference, self.crf)
            scores = evaluate(
                predictor,
                open_split(run, self.split, self.root),
                self.rule,
                curve=self.curve,
                band=self.band if self.boundary_iou else None,
            )
            table[name] = scores
            if primary and self.out is not None:
                modes = {"inference": asdict(predictor.inference)}
                modes["crf"] = None if self.crf is None else asdict(self.crf)
                write_json(run_result(run, scores, self.split) | modes, self.out)
            if primary and self.table is not None:
                write_class_table(scores, self.table)
        if primary:
            print_scores(table)


def open_split(run: "TrainedRun", split: str, root: Path | None) -> "Dataset":
    """A split of the run's data set, below `root` if that is given."""
    from gcnlab.training.tasks import task_of

    data = run.config.data if root is None else replace(run.config.data, root=root)
    return task_of(replace(run.config, data=data)).evaluation_set(split)


def distinct_names(paths: tuple[Path, ...]) -> list[str]:
    """The last part of each path, or the whole paths if two have the same last part."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
