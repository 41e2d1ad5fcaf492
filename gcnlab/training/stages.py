"""Run a schedule: its stages in order, each from the weights of the stage before.

Each stage is a normal run in its own folder (`out/stage1`, `out/stage2`, …). An interrupted
schedule resumes where it stopped: a finished stage is recognised by its checkpoint and is not
trained again (its data are not needed either); an unfinished stage resumes. A stage with other
settings or from other weights is an error before anything is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

from gcnlab.training.checkpoint import CHECKPOINT, fingerprint, load_checkpoint
from gcnlab.training.loop import train
from gcnlab.training.runs import TrainedRun, load_run
from gcnlab.training.schedules import Schedule
from gcnlab.training.settings import Execution, RunConfig
from gcnlab.training.state import check_same_run
from gcnlab.training.tasks import Segmentation


@dataclass(frozen=True)
class StageRun:
    """The run of a stage, and its progress.

    Attributes:
        number: number of the stage, from 1.
        config: the settings.
        folder: folder of the run.
        dataset: the training set; None if the stage is finished, because its data are not needed
            then.
        steps: number of steps of the whole stage.
        done: number of steps in its checkpoint.
    """

    number: int
    config: RunConfig
    folder: Path
    dataset: Dataset | None
    steps: int
    done: int

    @property
    def finished(self) -> bool:
        return self.done == self.steps

    def summary(self) -> str:
        """One line: data, size, number of images and steps, learning rate, progress."""
        data, training = self.config.data, self.config.training
        progress = f", resumes at step {self.done:,}" if self.done else ""
        return (
            f"stage {self.number}: {data.dataset} at {data.crop[0]}×{data.crop[1]}"
            + (f", {len(self.dataset):,} images" if self.dataset is not None else "")
            + f", {training.epochs} epochs, {self.steps:,} steps of {training.batch_size}, "
            f"learning rate {training.learning_rate:g}"
            + (", finished" if self.finished else progress)
        )


def plan_stages(schedule: Schedule, out: str | Path) -> list[StageRun]:
    """List the stages that `run_schedule` would run, and their progress.

    Opens the training and val data of every unfinished stage.

    Raises:
        FileNotFoundError, ValueError: data are missing; or a stage's checkpoint is damaged, of
            other settings, or from a later stage than one that is not finished. The error names
            the folder, file or setting.
    """
    stages, previous = [], None
    for number, config in enumerate(schedule.runs(), start=1):
        folder = Path(out) / f"stage{number}"
        path = folder / CHECKPOINT
        state = load_checkpoint(path) if path.exists() else None
        if state is not None:
            if number > 1 and not stages[-1].finished:
                raise ValueError(
                    f"{path}: stage {number} has a checkpoint, but stage {number - 1} in "
                    f"{stages[-1].folder} is not finished: remove the later checkpoint or restore "
                    "the earlier one"
                )
            start = None
            if previous is not None:
                start = {"path": str(stages[-1].folder), "sha256": fingerprint(previous["model"])}
            check_same_run(state, config, path, start)
        if state is not None and state["step"] == state.get("steps"):
            stages.append(StageRun(number, config, folder, None, state["steps"], state["step"]))
        else:
            task = Segmentation(config)
            dataset = task.training_set()
            task.evaluation_set("val")  # so that missing data are found now, not after days
            steps = max(1, len(dataset) // config.training.batch_size) * config.training.epochs
            done = 0 if state is None else state["step"]
            stages.append(StageRun(number, config, folder, dataset, steps, done))
        previous = state
    return stages


def run_schedule(
    schedule: Schedule,
    out: str | Path,
    device: str | torch.device | None = None,
    num_workers: int = 0,
    progress: bool = True,
    on_step: Callable[[int, int, float], None] | None = None,
    on_stage: Callable[[StageRun, TrainedRun], None] | None = None,
    stages: list[StageRun] | None = None,
    execution: Execution | None = None,
) -> TrainedRun:
    """Train the stages of a schedule in order. Finished stages are skipped.

    Args:
        schedule: the stages.
        out: folder for their runs, `stage1` …
        device, num_workers, progress, on_step, execution: see `train`.
        on_stage: called with each stage and its trained network, also for finished stages; for
            example to score it.
        stages: the result of `plan_stages`, if it was called before, so that no data are opened
            twice.

    Returns:
        The last stage's network.

    Raises:
        TrainingDiverged, FileNotFoundError, ValueError: see `train` and `plan_stages`.
    """
    run = None
    for stage in plan_stages(schedule, out) if stages is None else stages:
        if stage.finished:
            run = load_run(stage.folder, device)
        else:
            initial = None if stage.number == 1 else Path(out) / f"stage{stage.number - 1}"
            run = train(
                stage.config,
                stage.folder,
                device=device,
                dataset=stage.dataset,
                num_workers=num_workers,
                progress=progress,
                on_step=on_step,
                initial=initial,
                execution=execution,
            )
        if on_stage is not None:
            on_stage(stage, run)
    return run
