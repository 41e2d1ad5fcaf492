"""The paper's training schedules as settings (sections 4.1 to 4.3; Tables 1 to 5, 7 and 9).

A schedule has a few stages. Each stage starts from the weights of the one before, with a new
optimizer and a new decay of the learning rate; `gcnlab.training.stages` runs them.

- **voc**: (1) COCO + SBD + VOC, padded to 640×640; (2) SBD + VOC, padded to 512×512; (3) VOC's own
  train split, 512×512. k = 15.
- **cityscapes**: (1) coarse + train; (2) fine train. Crops of 800×800, k = 25.
- **ablation**: SBD + VOC, padded to 512×512: the single stage of Tables 1 to 5.

From the paper: the data and sizes, ResNet-152 with ImageNet weights, boundary refinement, SGD with
momentum 0.99 and weight decay 0.0005 on batches of one image, horizontal flips. The paper does not
give the learning rate, the number of steps, random scaling, the position of a crop, or k at
res-2 … res-4 (here one k for all levels); each is a field below with the reason for our choice.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gcnlab.evaluation import CITYSCAPES_CROPS, VOC_PADDED, Inference
from gcnlab.settings import check, check_kind, settle
from gcnlab.training.settings import (
    DataConfig,
    DatasetName,
    Decay,
    ModelConfig,
    Precision,
    RunConfig,
    TrainingConfig,
)


@dataclass(frozen=True)
class Stage:
    """The settings that differ between stages."""

    dataset: DatasetName
    """Training data. The scores are those of the val split of the first name."""
    crop: tuple[int, int]
    """Height and width that each image is padded to, or of the random crop, in pixels. Images of
    VOC have at most 500 pixels on a side and those of COCO 640, so they are only padded, as in the
    paper. The paper does not say where Cityscapes is cropped; here all positions are equally
    likely."""
    epochs: int
    """Passes over the images. The paper does not state them; the comment above `SCHEDULES` explains
    these."""
    learning_rate: float
    """Peak learning rate. The paper does not state it; the comment above `SCHEDULES` explains this
    one."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of a random resize before the crop. The paper mentions none, so it is off."""


@dataclass(frozen=True)
class Schedule:
    """The stages of a schedule, and the settings that they share."""

    stages: tuple[Stage, ...]
    """The stages in order."""
    model: ModelConfig
    """The network. model.weights initialises the backbone of the first stage."""
    inference: Inference
    """Flips, scales and tiles with which the val split is scored after each stage."""
    root: Path | None = None
    """Folder that holds VOCdevkit, benchmark_RELEASE, coco and cityscapes. None: GCNLAB_DATA, or
    data/."""
    normalization: Literal["imagenet", "mean"] = "imagenet"
    """imagenet: mean subtraction, as in the paper, and division by the deviation, as torchvision's
    weights were trained (the paper's weights, from Caffe, were not); mean: no division."""
    flip: bool = True
    """Flip half of the images horizontally, as in the paper."""
    color_jitter: float = 0.0
    """Strength of the random change of brightness, contrast and saturation. The paper mentions
    none: off."""
    batch_size: int = 1
    """Images per step, as in the paper."""
    momentum: float = 0.99
    """Momentum of SGD, as in the paper: with batches of one image, a mean over about 100
    gradients."""
    weight_decay: float = 0.0005
    """Weight decay, as in the paper."""
    decay: Decay = "poly"
    """Decay of the learning rate within a stage (see training.schedule). The paper gives none; poly
    with power 0.9 is that of DeepLab, to which the paper compares."""
    warmup: float = 0.02
    """Fraction of a stage's steps in which the learning rate rises: with momentum 0.99 the first
    steps add up a hundredfold. The paper gives none."""
    clip_norm: float | None = 5.0
    """Largest norm of the gradient. The paper gives none; with nine refinement blocks the mini
    network diverged without it."""
    precision: Precision = "auto"
    """Precision of the convolutions, see training.precision. The paper used fp32."""
    seed: int = 0
    """Seed of every stage."""
    checkpoint_steps: int | None = 5000
    """Steps between checkpoints: minutes of work on a GPU. None: one epoch."""

    def __post_init__(self):
        settle(self, "")
        check_kind("model", self.model, ModelConfig)
        for stage in self.stages:
            check_kind("stages", stage, Stage)
        check("stages", len(self.stages) >= 1, "at least one stage")
        # The settings of the runs are made here, so that a wrong value shows at once.
        labels = {config.data.labels for config in self.runs()}
        check("stages", len(labels) == 1, "of data sets with the same classes")

    def runs(self) -> list[RunConfig]:
        """The settings of each stage's run. Only the first loads weights into the backbone."""
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
        """The same stages with a randomly initialised mini backbone, an eighth of the size and one
        epoch each: a smoke test, meant for the miniature data sets."""

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


def _resnet152(kernel_size: int) -> ModelConfig:
    return ModelConfig(
        "resnet152", kernel_size=kernel_size, weights="IMAGENET1K_V1", frozen_norm=True
    )


# Learning rates: FCN also trained with momentum 0.99 on batches of one image, at 1e-10 on the sum
# over the pixels of an image. That is about 2.5e-5 on their mean, which is the loss here. Each
# later stage starts from half the learning rate of the one before, because it only refines. Nothing
# was tuned.
#
# Epochs: DeepLabv2, of the same time, saw 20,000 batches of 10 images. Half as many again, 300,000,
# are about 3 epochs of the 109,892 images, 30 of the 10,582, 14 of the 22,973. Later stages have
# half of that or less.
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
        "SBD + VOC at 512 in one stage, for Tables 1 to 5; set model.head and model.kernel-size.",
        Schedule(
            stages=(Stage("voc+sbd", (512, 512), epochs=30, learning_rate=2.5e-5),),
            model=_resnet152(15),
            inference=VOC_PADDED,
        ),
    ),
}
"""The paper's schedules: name → (description, settings)."""
