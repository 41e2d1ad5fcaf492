"""Settings of a run: frozen dataclasses, checked when made, each value explained where it stands.

The command line, the notebooks and the checkpoints all use these; there is no second definition.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from torch import nn

from gcnlab.datasets import (
    CAMVID,
    NORMALIZATIONS,
    SHAPES,
    CamVid,
    LabelSet,
    Normalization,
    Shapes,
    evaluation_transform,
    training_transform,
)
from gcnlab.datasets.transforms import weights_normalization
from gcnlab.models import BACKBONES, SegmentationNet, build_backbone
from gcnlab.models.backbones import published_weights
from gcnlab.models.blocks import check_kernel_size
from gcnlab.models.heads import HeadKind

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class ModelConfig:
    """The network of Figure 2."""

    backbone: str = "mini"
    """mini, mini_gcn, resnet18, resnet34, resnet50, resnet101, resnet152 or resnet50_gcn."""
    head: HeadKind = "gcn"
    """gcn, or the comparisons conv1x1 (baseline), conv (k×k) and stack (of 3×3)."""
    kernel_size: int | tuple[int, ...] = 7
    """k of the heads, odd, in pixels of each level's feature map: one for all, or one per level."""
    refine: bool = True
    """With the nine boundary refinements."""
    upsample: Literal["deconv", "bilinear"] = "deconv"
    """Learned deconvolution (bilinear at the start), or fixed bilinear."""
    mid_channels: int | None = None
    """Inner width of the stack head; None: the width of its input."""
    weights: str | None = None
    """Start of the backbone: None (random), a local file, or the name of torchvision's weights
    (such as IMAGENET1K_V2), which are then downloaded."""
    frozen_norm: bool = False
    """Keep batch norm's statistics, scale and shift as they came (needed at batch size 1)."""

    def __post_init__(self):
        _check_choice("model.backbone", self.backbone, BACKBONES)
        _check_choice("model.head", self.head, get_args(HeadKind))
        sizes = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,)
        for size in sizes:
            try:
                check_kernel_size(size)
            except ValueError as error:
                raise ValueError(f"model.kernel_size: {error}") from error
        _check("model.kernel_size", len(sizes) in (1, 4), "one k, or four (res-2 … res-5)")

    def build(self, num_classes: int) -> SegmentationNet:
        """The network, on the CPU."""
        return SegmentationNet(
            build_backbone(self.backbone, self.weights, self.frozen_norm),
            num_classes,
            head=self.head,
            kernel_size=self.kernel_size,
            refine=self.refine,
            upsample=self.upsample,
            mid_channels=self.mid_channels,
        )


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and how it is varied."""

    dataset: Literal["shapes", "camvid"] = "shapes"
    """shapes (made on the fly) or camvid (photographs)."""
    root: Path | None = None
    """Folder of CamVid; None: camvid under the environment variable GCNLAB_DATA, or under data/."""
    image_size: int = 256
    """Side of the images of Shapes, in pixels."""
    train_images: int | None = None
    """Number of training images of Shapes; None: 1,200."""
    crop: tuple[int, int] | None = None
    """Height and width of the random training crop, in pixels; smaller images are padded to it with
    void labels. None: whole images."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the random resize in training."""
    flip: bool = True
    """Mirror half of the training images."""
    color_jitter: float = 0.0
    """Strength of random brightness, contrast and saturation in training."""
    normalization: Literal["imagenet", "mean", "weights"] = "imagenet"
    """imagenet: mean and deviation; mean: the paper's mean subtraction; weights: as the backbone's
    torchvision weights were trained."""

    def __post_init__(self):
        _check_choice("data.dataset", self.dataset, ("shapes", "camvid"))
        _check_choice("data.normalization", self.normalization, (*NORMALIZATIONS, "weights"))
        _check("data.image_size", self.image_size >= 32, "at least 32 pixels")
        _check(
            "data.train_images",
            self.train_images is None or self.train_images >= 1,
            "at least 1, the split would be empty",
        )
        _check("data.crop", self.crop is None or min(self.crop) >= 1, "positive, in pixels")
        _check("data.scale", 0 < self.scale[0] <= self.scale[1], "a range of positive factors")
        _check("data.color_jitter", 0 <= self.color_jitter < 1, "between 0 and 1")

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        return {"shapes": SHAPES, "camvid": CAMVID}[self.dataset]

    def open(self, split: str, transforms: Any = None) -> Shapes | CamVid:
        """The data set's split ("train", "val", "test")."""
        if self.dataset == "camvid":
            return CamVid(split, self.root, transforms)
        length = self.train_images if split == "train" else None
        return Shapes(split, length, self.image_size, transforms=transforms)


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found. The defaults are the quick recipe of the mini scale; the paper's SGD
    is the preset "paper"."""

    epochs: int = 8
    """Passes over the training images."""
    batch_size: int = 8
    """Images a step."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd, as in the paper; adamw, which at the mini scale and from a random start reaches in a
    thousand steps what SGD does not in several thousand."""
    learning_rate: float = 5e-3
    """Peak learning rate. The paper gives none."""
    momentum: float = 0.9
    """Of SGD; the paper has 0.99 with batches of one image. (AdamW: its first moment's decay.)"""
    weight_decay: float = 0.01
    """Of convolutions' weights; normalisation parameters are not decayed. SGD adds it to the
    gradient (the paper: 0.0005), AdamW scales it with the rate only."""
    schedule: Literal["poly", "constant"] = "poly"
    """poly: peak × (1 − step/steps)^power; constant: peak."""
    power: float = 0.9
    """Exponent of the poly schedule."""
    warmup: float = 0.05
    """Share of all steps in which the rate rises linearly from 0 to the peak."""
    clip_norm: float | None = 5.0
    """Longest gradient (2-norm of all); None: no clipping."""
    precision: Precision = "auto"
    """auto: bf16 where the device computes in it (GPUs from Ampere on, CPUs with AVX512-BF16 or
    AMX), fp16 with loss scaling on older GPUs, else fp32."""
    seed: int = 0
    """Of the weights' start, the order of the images and their variation."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""

    def __post_init__(self):
        _check("training.epochs", self.epochs >= 1, "at least 1")
        _check("training.batch_size", self.batch_size >= 1, "at least 1")
        _check_choice("training.optimizer", self.optimizer, ("adamw", "sgd"))
        _check("training.learning_rate", self.learning_rate > 0, "positive")
        _check("training.momentum", 0 <= self.momentum < 1, "in [0, 1)")
        _check("training.weight_decay", self.weight_decay >= 0, "0 or positive")
        _check_choice("training.schedule", self.schedule, ("poly", "constant"))
        _check("training.power", self.power >= 0, "0 or positive")
        _check("training.warmup", 0 <= self.warmup < 1, "a share of all steps, in [0, 1)")
        _check("training.clip_norm", self.clip_norm is None or self.clip_norm > 0, "positive")
        _check_choice("training.precision", self.precision, get_args(Precision))
        _check("training.seed", self.seed >= 0, "0 or positive")
        _check("training.checkpoint_every", self.checkpoint_every >= 1, "at least 1")


@dataclass(frozen=True)
class RunConfig:
    """A whole run: network, data, training. `gcnlab train` takes every field as a flag."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        if self.data.normalization == "weights" and self._published() is None:
            raise ValueError(
                "data.normalization = 'weights' needs model.weights to name torchvision's weights"
            )

    def _published(self):
        if self.model.weights is None:
            return None
        return published_weights(self.model.backbone, self.model.weights)

    @property
    def normalization(self) -> Normalization:
        """What the network's images are normalised with."""
        if self.data.normalization == "weights":
            return weights_normalization(self._published())
        return NORMALIZATIONS[self.data.normalization]

    def training_set(self) -> Shapes | CamVid:
        """The training split, varied as `data` says."""
        d = self.data
        transform = training_transform(self.normalization, d.crop, d.scale, d.flip, d.color_jitter)
        return d.open("train", transform)

    def evaluation_set(self, split: str = "val") -> Shapes | CamVid:
        """A split to score on: normalised, not varied."""
        return self.data.open(split, evaluation_transform(self.normalization))

    def build_model(self) -> nn.Module:
        """The network for the data's classes."""
        return self.model.build(self.data.labels.num_classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and results."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """The opposite of `to_dict`. Raises ValueError for a setting that does not exist."""
        return _from_dict(cls, values, "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _from_dict(cls: type, values: dict[str, Any], prefix: str) -> Any:
    known = {f.name: f for f in fields(cls)}
    arguments = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"unknown setting {prefix}{name}")
        kind = known[name].type
        if is_dataclass(kind):
            value = _from_dict(kind, value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(value)
        elif name == "root" and value is not None:
            value = Path(value)
        arguments[name] = value
    return cls(**arguments)


def _check(name: str, good: bool, expected: str) -> None:
    if not good:
        raise ValueError(f"{name} must be {expected}")


def _check_choice(name: str, value: Any, choices: tuple) -> None:
    if value not in choices:
        raise ValueError(f"{name}: unknown {value!r}; choose one of {', '.join(choices)}")


PRESETS = {
    "shapes": (
        "Shapes at 256 px with the mini backbone, GCN k=7 and boundary refinement; minutes on 2 cores.",
        RunConfig(),
    ),
    "camvid": (
        "CamVid from scratch with the mini backbone, GCN k=7 and boundary refinement; under 40 "
        "CPU-minutes.",
        RunConfig(
            data=DataConfig("camvid", crop=(224, 288), scale=(0.6, 1.2)),
            training=TrainingConfig(epochs=32),
        ),
    ),
    "paper": (
        "SGD as in the paper on CamVid: ResNet-152 with ImageNet weights (downloaded), k=15, batches "
        "of one image padded to 512×512, momentum 0.99, frozen batch norm. Needs a GPU.",
        RunConfig(
            ModelConfig("resnet152", kernel_size=15, weights="IMAGENET1K_V1", frozen_norm=True),
            DataConfig("camvid", crop=(512, 512), normalization="weights"),
            TrainingConfig(
                epochs=60,
                batch_size=1,
                optimizer="sgd",
                learning_rate=1e-4,
                momentum=0.99,
                weight_decay=0.0005,
                warmup=0.02,
            ),
        ),
    ),
}
"""Runs to start from: name → (what it is, settings)."""
