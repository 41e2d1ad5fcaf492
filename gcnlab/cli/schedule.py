"""gcnlab schedule."""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from gcnlab.cli.train import finish
from gcnlab.datasets.miniature import make_miniatures
from gcnlab.evaluation.processes import joined_processes
from gcnlab.training import SCHEDULES, Execution, TrainedRun, run_schedule
from gcnlab.training.stages import Plan, plan

_Schedule = tyro.extras.subcommand_type_from_defaults(
    {name: schedule for name, (_, schedule) in SCHEDULES.items()},
    {name: text for name, (text, _) in SCHEDULES.items()},
    prefix_names=False,
)


@dataclass(frozen=True)
class RunSchedule:
    """Train the paper's schedules: one stage after the other, each from the last one's weights.

        gcnlab schedule voc --out runs/voc --root /data
        gcnlab schedule ablation --out runs/k7 --model.kernel-size 7 --model.no-refine
        gcnlab schedule voc --out runs/tiny --tiny

    Each stage is a run in OUT/stage1, OUT/stage2, …, with checkpoint.pt, result.json, log.csv and loss.png.
    The same command again goes on where it was stopped.
    """

    schedule: Annotated[_Schedule, tyro.conf.arg(name="")]
    """Schedule to start from."""
    out: Path
    """Folder of the stages."""
    tiny: bool = False
    """The whole schedule with the mini backbone at an eighth of the size, one epoch a stage; without
    --root on miniature data sets, which are drawn into OUT/miniature."""
    dry_run: bool = False
    """Only say what each stage would do."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Processes that load images; 0 loads in the main process."""
    execution: Execution = field(default_factory=Execution)
    """How the runs are executed; the weights are the same but for rounding."""

    def __call__(self) -> None:
        with joined_processes(self.device) as device:
            self._run(device)

    def _run(self, device: str | None) -> None:
        schedule = self.schedule
        if self.tiny:
            schedule = schedule.tiny()
            if schedule.root is None:
                schedule = replace(schedule, root=miniatures(self.out))
        plans = plan(schedule, self.out)
        for step in plans:
            print(step.summary())
        if self.dry_run:
            return

        def on_stage(step: Plan, run: TrainedRun) -> None:
            if not step.finished or not (step.folder / "result.json").exists():
                finish(run, step.folder, self.workers, schedule.inference)

        run_schedule(
            schedule,
            self.out,
            device,
            self.workers,
            on_stage=on_stage,
            plans=plans,
            execution=self.execution,
        )


def miniatures(out: Path) -> Path:
    """The miniature data sets under `out`; they are always the same, so a stopped command finds them."""
    folder = out / "miniature"
    if not folder.exists():
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as drawn:  # a kill leaves no half of them
            make_miniatures(Path(drawn) / "sets").rename(folder)
    return folder
