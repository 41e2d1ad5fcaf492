"""Settings of a run: frozen dataclasses, checked when made, each value explained where it stands.

The command line, the notebooks and the checkpoints all use these; there is no second definition.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from torch import nn
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor
from gcnlab.datasets import (
    CAMVID,
    CITYSCAPES,
    NORMALIZATIONS,
    SHAPES,
    VOC,
    Cached,
    CamVid,
    Cityscapes,
    LabelSet,
    Normalization,
    Shapes,
    VOCSegmentation,
    check_labels,
    cityscapes_train_with_coarse,
    evaluation_transform,
    training_transform,
    voc_sbd_coco_train,
    voc_sbd_train,
)
from gcnlab.datasets.normalization import weights_normalization
from gcnlab.evaluation import evaluate
from gcnlab.models import BACKBONES, SegmentationNet, build_backbone
from gcnlab.models.backbones import published_weights
from gcnlab.models.choices import UPSAMPLES, HeadKind, check_kernel_size
from gcnlab.settings import check, check_choice, check_kind, settle
from gcnlab.training.losses import labelled_pixels, segmentation_loss
from gcnlab.training.optimization import TrainingConfig
from gcnlab.training.samples import prediction_picture
from gcnlab.training.task import Task

DatasetName = Literal[
    "shapes", "camvid", "voc", "voc+sbd", "voc+sbd+coco", "cityscapes", "cityscapes+coarse"
]


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
    mid_channels: int | tuple[int, ...] | None = None
    """Inner width of the stack head: one for all, or one per level; None: the width of its input."""
    weights: str | None = None
    """Start of the backbone: None (random), a local file, or the name of torchvision's weights
    (such as IMAGENET1K_V2), which are then downloaded."""
    frozen_norm: bool = False
    """Keep batch norm's statistics, scale and shift as they came (needed at batch size 1)."""

    def __post_init__(self):
        settle(self, "model.")
        check_choice("model.backbone", self.backbone, BACKBONES)
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
        check("model.mid_channels", len(widths) in (1, 4), "one width, or four (res-2 … res-5)")
        check("model.mid_channels", all(w is None or w >= 1 for w in widths), "at least 1")

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

    dataset: DatasetName = "shapes"
    """shapes (made on the fly); camvid (photographs); voc, alone or with the images of SBD (the paper's
    10,582) and COCO (109,892); cityscapes, fine or with the coarse labels (22,973). What is joined by +
    is trained on; val and test are those of the first name."""
    root: Path | None = None
    """Where the data lie: of camvid its own folder; of the others the folder that holds VOCdevkit,
    benchmark_RELEASE, coco and cityscapes. None: the environment variable GCNLAB_DATA, or data/."""
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
        settle(self, "data.")
        check_choice("data.dataset", self.dataset, get_args(DatasetName))
        check_choice("data.normalization", self.normalization, (*NORMALIZATIONS, "weights"))
        check("data.image_size", self.image_size >= 32, "at least 32 pixels")
        check(
            "data.train_images",
            self.train_images is None or self.train_images >= 1,
            "at least 1, the split would be empty",
        )
        check("data.crop", self.crop is None or min(self.crop) >= 1, "positive, in pixels")
        check("data.scale", 0 < self.scale[0] <= self.scale[1], "a range of positive factors")
        check("data.color_jitter", 0 <= self.color_jitter < 1, "between 0 and 1")

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        first = self.dataset.split("+")[0]
        return {"shapes": SHAPES, "camvid": CAMVID, "voc": VOC, "cityscapes": CITYSCAPES}[first]

    def open(self, split: str, transforms: Any = None) -> Dataset:
        """The data set's split ("train", "val", "test").

        Raises:
            FileNotFoundError, ValueError: naming the folder or file, if the data are not whole.
        """
        if self.dataset == "shapes":
            length = self.train_images if split == "train" else None
            return Shapes(split, length, self.image_size, transforms=transforms)
        if self.dataset == "camvid":
            return CamVid(split, self.root, transforms)
        voc, sbd, coco, cityscapes = (
            None if self.root is None else self.root / name
            for name in ("VOCdevkit/VOC2012", "benchmark_RELEASE", "coco", "cityscapes")
        )
        match (self.dataset, split):
            case ("voc+sbd", "train"):
                return voc_sbd_train(voc, sbd, transforms)
            case ("voc+sbd+coco", "train"):
                return voc_sbd_coco_train(voc, sbd, coco, transforms)
            case ("cityscapes+coarse", "train"):
                return cityscapes_train_with_coarse(cityscapes, transforms)
            case ("voc" | "voc+sbd" | "voc+sbd+coco", _):
                return VOCSegmentation(split, voc, transforms)
        return Cityscapes(split, cityscapes, transforms)


@dataclass(frozen=True)
class RunConfig(Task):
    """A whole run of segmentation: network, data, training. `gcnlab train` takes every field as a flag."""

    task: ClassVar[str] = "segmentation"

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        check_kind("model", self.model, ModelConfig)
        check_kind("data", self.data, DataConfig)
        check_kind("training", self.training, TrainingConfig)
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

    def training_set(self) -> Dataset:
        """The training split, varied as `data` says; a small one is read once."""
        d = self.data
        transform = training_transform(self.normalization, d.crop, d.scale, d.flip, d.color_jitter)
        return Cached(d.open("train"), transform)

    def evaluation_set(self, split: str = "val") -> Dataset:
        """A split to score on: normalised, not varied."""
        return self.data.open(split, evaluation_transform(self.normalization))

    def build_model(self, trained: bool = False) -> nn.Module:
        """The network for the data's classes."""
        model = replace(self.model, weights=None) if trained else self.model
        return model.build(self.data.labels.num_classes)

    def check_item(self, image: Tensor, target: Tensor, name: str) -> None:
        """Raise ValueError, naming the image, if its label map has another size or a wrong id."""
        if image.shape[-2:] != target.shape[-2:]:
            raise ValueError(
                f"{name}: image {tuple(image.shape[-2:])} and labels {tuple(target.shape[-2:])} differ"
            )
        check_labels(target, self.data.labels.num_classes, name)

    def count(self, targets: Tensor) -> Tensor:
        """Labelled pixels."""
        return labelled_pixels(targets)

    def loss(self, outputs: Tensor, targets: Tensor, count: Tensor | None = None) -> Tensor:
        """Cross-entropy over the labelled pixels."""
        return segmentation_loss(outputs, targets, count)

    def score(self, model: nn.Module) -> float:
        """Mean IoU on the val split."""
        return evaluate(model, self.evaluation_set("val"), progress=False).miou

    def samples(self, model: nn.Module, number: int) -> Tensor:
        """Predictions for the first images of the val split, see `prediction_picture`."""
        dataset = self.evaluation_set("val")
        pairs = [dataset[index] for index in range(min(number, len(dataset)))]
        return prediction_picture(model, pairs, self.data.labels, self.normalization)


PRESETS = {
    "shapes": (
        "Shapes at 256 px with the mini backbone, GCN k=7 and boundary refinement; minutes on 2 cores.",
        RunConfig(),
    ),
    "quick": (
        "The same, two epochs from the shipped backbone that single shapes have trained (run it where data/ is): "
        "under two minutes on 2 cores without the refinement.",
        RunConfig(
            ModelConfig(weights="data/checkpoints/mini-seed0/weights.safetensors"),
            training=TrainingConfig(epochs=2),
        ),
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
