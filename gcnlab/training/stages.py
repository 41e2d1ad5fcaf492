"""The paper's training schedules, as data (sections 4.1 to 4.3; Tables 1 to 5, 7 and 9).

A schedule is a few stages; each is a normal run in a folder of its own (`out/stage1`, `out/stage2`, …) that
starts from the weights of the stage before it, with a new optimiser and a new decay of the rate:

- **voc**: (1) COCO + SBD + VOC, padded to 640×640; (2) SBD + VOC, padded to 512×512; (3) VOC's own train
  split, 512×512. k = 15.
- **cityscapes**: (1) coarse + train; (2) fine train. Crops of 800×800, k = 25.
- **ablation**: SBD + VOC, padded to 512×512: the one stage of Tables 1 to 5.

From the paper: the data and sizes, ResNet-152 with ImageNet weights, boundary refinement, SGD with momentum
0.99 and weight decay 0.0005 on batches of one image, mirroring. The paper is silent on the rate, the number of
steps, random scaling, where a crop lies, and k at res-2 … res-4 (one k for all levels here); each is a field
below with its reason.

A schedule that was stopped goes on where it was: a finished stage is known by its checkpoint and is not trained
again (nor are its data looked for), an unfinished one resumes. A stage with other settings, or from other
weights, is refused before anything is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import Dataset

from gcnlab.evaluation import CITYSCAPES_CROPS, VOC_PADDED, Inference
from gcnlab.settings import check, check_kind, settle
from gcnlab.training.checkpoint import CHECKPOINT, fingerprint, load_checkpoint
from gcnlab.training.config import DataConfig, DatasetName, ModelConfig, RunConfig
from gcnlab.training.execution import Execution
from gcnlab.training.loop import train
from gcnlab.training.optimization import Decay, Precision, TrainingConfig
from gcnlab.training.runs import TrainedRun, check_same_run, load_run


@dataclass(frozen=True)
class Stage:
    """What differs from stage to stage."""

    dataset: DatasetName
    """Trained on; the scores are those of the first name's val split."""
    crop: tuple[int, int]
    """Height and width that each image is padded to, or that a random crop has, in pixels. VOC's images
    are at most 500 pixels long and COCO's 640, so there it is padding alone, as in the paper. Where a
    crop of Cityscapes lies is not said: anywhere in the image, all places alike."""
    epochs: int
    """Passes over the images. The paper gives no count; see the schedules."""
    learning_rate: float
    """Peak rate. The paper gives none; see the schedules."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of a random resize before the crop. The paper names none: off."""


@dataclass(frozen=True)
class Schedule:
    """A schedule: its stages, and what they have in common."""

    stages: tuple[Stage, ...]
    """One after the other."""
    model: ModelConfig
    """The network. Its weights are the start of the first stage."""
    inference: Inference
    """How the val split is scored after each stage."""
    root: Path | None = None
    """Folder that holds VOCdevkit, benchmark_RELEASE, coco, cityscapes. None: GCNLAB_DATA, or data/."""
    normalization: Literal["imagenet", "mean"] = "imagenet"
    """imagenet: mean subtraction, as in the paper, and division by the deviation, which torchvision's
    weights were trained with (the paper's, of Caffe, were not); mean: nothing is divided."""
    flip: bool = True
    """Mirror half of the images, as in the paper."""
    color_jitter: float = 0.0
    """Strength of random brightness, contrast and saturation. The paper names none: off."""
    batch_size: int = 1
    """Images a step, as in the paper."""
    momentum: float = 0.99
    """Of SGD, as in the paper: with batches of one, the mean of about a hundred images' gradients."""
    weight_decay: float = 0.0005
    """As in the paper."""
    decay: Decay = "poly"
    """How the rate falls within a stage (see training.schedule). The paper is silent; poly with power 0.9
    is DeepLab's, against which it compares."""
    warmup: float = 0.02
    """Share of a stage's steps in which the rate rises: at momentum 0.99 the first steps add up a
    hundredfold. The paper is silent."""
    clip_norm: float | None = 5.0
    """Longest gradient. The paper is silent; with nine refinements the mini network diverged without it."""
    precision: Precision = "auto"
    """Arithmetic of the convolutions, see training.precision. The paper's time had fp32."""
    seed: int = 0
    """Of every stage."""
    checkpoint_steps: int | None = 5000
    """Steps between checkpoints: minutes of a GPU's work. None: an epoch."""

    def __post_init__(self):
        settle(self, "")
        check_kind("model", self.model, ModelConfig)
        for stage in self.stages:
            check_kind("stages", stage, Stage)
        check("stages", len(self.stages) >= 1, "at least one stage")
        # The runs are made here already, so that a wrong setting shows at once.
        labels = {run.data.labels for run in self.runs()}
        check("stages", len(labels) == 1, "of data sets with the same classes")

    def runs(self) -> list[RunConfig]:
        """The settings of each stage's run. Only the first loads the backbone's weights."""
        return [
            RunConfig(
                self.model if number == 0 else replace(self.model, weights=None),
                DataConfig(
                    stage.dataset,
                    self.root,
                    crop=stage.crop,
                    scale=stage.scale,
                    flip=self.flip,
                    color_jitter=self.color_jitter,
                    normalization=self.normalization,
                ),
                TrainingConfig(
                    epochs=stage.epochs,
                    batch_size=self.batch_size,
                    optimizer="sgd",
                    learning_rate=stage.learning_rate,
                    momentum=self.momentum,
                    weight_decay=self.weight_decay,
                    schedule=self.decay,
                    warmup=self.warmup,
                    clip_norm=self.clip_norm,
                    precision=self.precision,
                    seed=self.seed,
                    checkpoint_steps=self.checkpoint_steps,
                ),
            )
            for number, stage in enumerate(self.stages)
        ]

    def tiny(self) -> "Schedule":
        """The same stages with the mini backbone from a random start, an eighth of the size, one epoch
        each: tries the way, trains nothing. It is meant for the miniature data sets."""

        def eighth(size: tuple[int, int] | None) -> tuple[int, int] | None:
            return None if size is None else (size[0] // 8, size[1] // 8)

        i = self.inference
        return replace(
            self,
            stages=tuple(replace(s, crop=eighth(s.crop), epochs=1) for s in self.stages),
            model=replace(self.model, backbone="mini", weights=None),
            inference=replace(i, tile=eighth(i.tile), pad_to=eighth(i.pad_to)),
            checkpoint_steps=4,
        )


@dataclass(frozen=True)
class Plan:
    """What a stage will do, and what of it is done.

    Attributes:
        number: 1 is the first stage.
        config: the settings of its run.
        folder: of its run.
        dataset: it is trained on; None if it is finished (its data are not looked for then).
        steps: of the whole stage.
        done: steps that its checkpoint holds.
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
        """One line: data, size, images, steps, rate, state."""
        data, training = self.config.data, self.config.training
        state = f", resumes at step {self.done:,}" if self.done else ""
        return (
            f"stage {self.number}: {data.dataset} at {data.crop[0]}×{data.crop[1]}"
            + (f", {len(self.dataset):,} images" if self.dataset is not None else "")
            + f", {training.epochs} epochs, {self.steps:,} steps of {training.batch_size}, "
            f"rate {training.learning_rate:g}" + (", finished" if self.finished else state)
        )


def plan(schedule: Schedule, out: str | Path) -> list[Plan]:
    """What `run_schedule` would do; opens the data of every unfinished stage, training and val.

    Raises:
        FileNotFoundError, ValueError: naming the folder, file or setting: data that are not whole, a
            stage's checkpoint that is damaged or of other settings or out of its order.
    """
    plans, previous = [], None
    for number, config in enumerate(schedule.runs(), start=1):
        folder = Path(out) / f"stage{number}"
        path = folder / CHECKPOINT
        state = load_checkpoint(path) if path.exists() else None
        if state is not None:
            if number > 1 and not plans[-1].finished:
                raise ValueError(
                    f"{path}: there is a stage {number}, but stage {number - 1} in "
                    f"{plans[-1].folder} is not finished: remove the later one, or put the earlier back"
                )
            start = None
            if previous is not None:
                start = {"path": str(plans[-1].folder), "sha256": fingerprint(previous["model"])}
            check_same_run(state, config, path, start)
        if state is not None and state["step"] == state.get("steps"):
            plans.append(Plan(number, config, folder, None, state["steps"], state["step"]))
        else:
            dataset = config.training_set()
            config.evaluation_set("val")  # found missing now rather than after days
            steps = max(1, len(dataset) // config.training.batch_size) * config.training.epochs
            done = 0 if state is None else state["step"]
            plans.append(Plan(number, config, folder, dataset, steps, done))
        previous = state
    return plans


def run_schedule(
    schedule: Schedule,
    out: str | Path,
    device: str | torch.device | None = None,
    num_workers: int = 0,
    progress: bool = True,
    on_step: Callable[[int, int, float], None] | None = None,
    on_stage: Callable[[Plan, TrainedRun], None] | None = None,
    plans: list[Plan] | None = None,
    execution: Execution | None = None,
) -> TrainedRun:
    """Train the stages one after the other; stages that are finished already are passed over.

    Args:
        schedule: the stages.
        out: folder for their runs, `stage1` …
        device, num_workers, progress, on_step, execution: see `train`.
        on_stage: called with a stage's plan and its trained network, of finished stages too: the place
            to score it.
        plans: what `plan` has just given, so that no data are opened twice.

    Returns:
        The last stage's network.

    Raises:
        TrainingDiverged, FileNotFoundError, ValueError: see `train` and `plan`.
    """
    run = None
    for step in plan(schedule, out) if plans is None else plans:
        if step.finished:
            run = load_run(step.folder, device)
        else:
            initial = None if step.number == 1 else Path(out) / f"stage{step.number - 1}"
            run = train(
                step.config,
                step.folder,
                device=device,
                dataset=step.dataset,
                num_workers=num_workers,
                progress=progress,
                on_step=on_step,
                initial=initial,
                execution=execution,
            )
        if on_stage is not None:
            on_stage(step, run)
    return run


def _resnet152(kernel_size: int) -> ModelConfig:
    return ModelConfig(
        "resnet152", kernel_size=kernel_size, weights="IMAGENET1K_V1", frozen_norm=True
    )


# Rates: FCN trained with momentum 0.99 on batches of one, too, at 1e-10 on the sum over an image's pixels: some 2.5e-5
# on their mean, as the loss is here. Each later stage starts from half the rate of the one before it, as it only
# refines. Nothing is tuned.
#
# Epochs: DeepLabv2, of the same time, saw 20,000 batches of 10 images. Half as many again, 300,000, are about 3 epochs
# of the 109,892, 30 of the 10,582, 14 of the 22,973. Later stages have half of that, or less.
SCHEDULES = {
    "voc": (
        "VOC 2012 in three stages (Table 7): COCO + SBD + VOC at 640, SBD + VOC at 512, VOC at 512; k=15.",
        Schedule(
            stages=(
                Stage("voc+sbd+coco", (640, 640), epochs=3, learning_rate=2.5e-5),
                Stage("voc+sbd", (512, 512), epochs=15, learning_rate=1.25e-5),
                Stage("voc", (512, 512), epochs=30, learning_rate=6.25e-6),
            ),
            model=_resnet152(15),
            inference=VOC_PADDED,
        ),
    ),
    "cityscapes": (
        "Cityscapes in two stages (Table 9): coarse + train, then fine train; crops of 800, k=25.",
        Schedule(
            stages=(
                Stage("cityscapes+coarse", (800, 800), epochs=14, learning_rate=2.5e-5),
                Stage("cityscapes", (800, 800), epochs=50, learning_rate=1.25e-5),
            ),
            model=_resnet152(25),
            inference=CITYSCAPES_CROPS,
        ),
    ),
    "ablation": (
        "SBD + VOC at 512 in one stage, as Tables 1 to 5 have it; change model.head and model.kernel-size.",
        Schedule(
            stages=(Stage("voc+sbd", (512, 512), epochs=30, learning_rate=2.5e-5),),
            model=_resnet152(15),
            inference=VOC_PADDED,
        ),
    ),
}
"""The paper's schedules: name → (what it is, settings)."""
