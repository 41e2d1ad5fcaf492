"""gcnlab schedule."""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.training.schedules import SCHEDULES
from gcnlab.training.settings import Execution

_Schedule = tyro.extras.subcommand_type_from_defaults(
    {name: schedule for name, (_, schedule) in SCHEDULES.items()},
    {name: text for name, (text, _) in SCHEDULES.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class RunSchedule:
    """Train one of the paper's schedules: stages in order, each from the weights of the one before.

        gcnlab schedule voc --out runs/voc --root /data
        gcnlab schedule ablation --out runs/k7 --model.kernel-size 7 --model.no-refine
        gcnlab schedule voc --out runs/tiny --tiny
        torchrun --nproc-per-node 8 --no-python gcnlab schedule voc --out runs/voc8 --batch-size 8

    Each stage is a run in OUT/stage1, OUT/stage2, …, with checkpoint.pt, result.json, log.csv and
    loss.png. The same command again resumes where it stopped.
    """

    schedule: Annotated[_Schedule, tyro.conf.arg(name="")]
    """Schedule to start from."""
    out: Path
    """Folder of the stages."""
    tiny: bool = False
    """Smoke test: the whole schedule with the mini backbone at an eighth of the size, one epoch per
    stage; without --root on miniature data sets, which are drawn into OUT/miniature."""
    dry_run: bool = False
    """Only print what each stage would do."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Data-loading workers; 0 loads in the main process."""
    execution: Execution = field(default_factory=Execution)
    """How the runs are executed; apart from rounding, the weights do not depend on it."""

    def __call__(self) -> None:
        from gcnlab.distributed import process_group

        with process_group(self.device) as device:
            self._run(device)

    def _run(self, device: str | None) -> None:
        from gcnlab.cli.results import print_scores
        from gcnlab.distributed import is_primary
        from gcnlab.training import TrainedRun, finish, plan_stages, run_schedule
        from gcnlab.training.runs import RESULT, describe
        from gcnlab.training.stages import StageRun

        schedule = self.schedule
        if self.tiny:
            schedule = schedule.tiny()
            if schedule.root is None:
                schedule = replace(schedule, root=miniatures(self.out))
        stages = plan_stages(schedule, self.out)
        if is_primary():
            print(*(stage.summary() for stage in stages), sep="\n")
        if self.dry_run:
            return

        def score(stage: StageRun, run: TrainedRun) -> None:
            if not stage.finished or not (stage.folder / RESULT).exists():
                scores = finish(run, stage.folder, self.workers, schedule.inference)
                if is_primary():
                    print_scores({describe(run.config): scores})

        run_schedule(
            schedule,
            self.out,
            device,
            self.workers,
            on_stage=score,
            stages=stages,
            execution=self.execution,
        )


def miniatures(out: Path) -> Path:
    """Draw the miniature data sets under `out`. They are always the same, so an interrupted command
    finds them again."""
    from gcnlab.datasets.miniature import make_miniatures

    folder = out / "miniature"
    if not folder.exists():
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as drawn:  # a kill leaves no incomplete folder
            make_miniatures(Path(drawn) / "sets").rename(folder)
    return folder
