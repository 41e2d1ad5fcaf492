"""The two tasks, segmentation and classification: the network, data, loss and score of a run.

The training loop knows a run only through `Task`. A task holds its settings in `.config`.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from gcnlab.annotations import Float, Int, Shaped, Tensor, UInt8
from gcnlab.datasets import (
    NORMALIZATIONS,
    SHAPES,
    CamVid,
    Cityscapes,
    ImageNet,
    LabelSet,
    Normalization,
    Shapes,
    VOCAnimals,
    VOCSegmentation,
    cityscapes_train_with_coarse,
    voc_sbd_coco_train,
    voc_sbd_train,
    weights_normalization,
)
from gcnlab.datasets.cached import Cached
from gcnlab.datasets.copies import FixedCopies
from gcnlab.datasets.ids import check_labels
from gcnlab.datasets.single_shapes import SingleShapes
from gcnlab.datasets.trees import check_split
from gcnlab.evaluation import Inference, Scores, evaluate, predict
from gcnlab.evaluation.classification import TopKAccuracy, evaluate_classifier
from gcnlab.models import SegmentationNet, build_backbone, build_classifier
from gcnlab.models.backbones import published_weights
from gcnlab.models.modes import evaluation_mode
from gcnlab.pretrained import WEIGHTS, pretrained_networks, resolve
from gcnlab.training.features import CachedFeatures, OnFeatures
from gcnlab.training.optimization import classification_loss, labelled_pixels, segmentation_loss
from gcnlab.training.pretraining import PretrainConfig
from gcnlab.training.settings import DataConfig, ModelConfig, RunConfig, Settings


class Task(ABC):
    """The interface between the training loop and a kind of run: network, data, loss and score.

    Args:
        config: the settings.
    """

    main_score: ClassVar[str]
    """The field of the scores, in percent, that decides which checkpoint is the best."""

    def __init__(self, config: Settings):
        self.config = config

    @abstractmethod
    def build_model(self, trained: bool = False) -> nn.Module:
        """Build the network on the CPU, with initial weights from torch's random generator.

        Args:
            trained: all weights are loaded later, so a backbone's pretrained weights are not read.
        """

    @abstractmethod
    def open(self, split: str, transforms: Any = None) -> Dataset:
        """Open a split ("train", "val", "test") of the data set: (image, target) pairs with bytes.

        Raises:
            FileNotFoundError, ValueError: a folder or file is missing; the error names it.
        """

    @abstractmethod
    def training_set(self) -> Dataset:
        """The training split: (image, target) pairs, augmented, normalised, of one size. A small
        set is read once and kept in memory."""

    def training_network(
        self, model: nn.Module, dataset: Dataset, num_workers: int = 0
    ) -> tuple[nn.Module, Dataset]:
        """The network that the loop calls, and its inputs: by default `model` and the images.

        Args:
            model: the network of the run; its weights are trained and saved.
            dataset: the training set.
            num_workers: data-loading workers; 0 loads in this process.
        """
        return model, dataset

    @abstractmethod
    def evaluation_set(self, split: str = "val") -> Dataset:
        """A split to score on: normalised, not augmented."""

    @abstractmethod
    def check_item(self, image: Tensor, target: Tensor, name: str) -> None:
        """Raise ValueError, naming the image, if its target does not fit the image or the
        classes."""

    @abstractmethod
    def count(self, targets: Shaped[Tensor, "batch ..."]) -> Int[Tensor, ""]:
        """The number of targets that the loss is a mean over: labelled pixels, or images."""

    @abstractmethod
    def loss(
        self,
        outputs: Float[Tensor, "batch ..."],
        targets: Shaped[Tensor, "batch ..."],
        count: Shaped[Tensor, ""] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of the network's outputs.

        Args:
            count: `count` of the whole batch, if `targets` is only a part of it.
        """

    @abstractmethod
    def score(self, model: nn.Module, num_workers: int = 0, progress: bool = True) -> Any:
        """Score `model` on the val split. The ranks share the images; all get the same scores."""

    def samples(self, model: nn.Module, number: int) -> UInt8[Tensor, "3 height width"] | None:
        """A picture of predictions for the first `number` images of the val split, if the task has
        one."""
        return None


class Segmentation(Task):
    """Classify every pixel. The loss is the mean cross-entropy over the labelled pixels."""

    config: RunConfig
    main_score = "miou"

    @property
    def labels(self) -> LabelSet:
        """Names and colours of the classes."""
        return self.config.data.labels

    @property
    def normalization(self) -> Normalization:
        """The normalisation of the network's input.

        Raises:
            ValueError: data.normalization is "weights", and model.weights is not the name of
                published weights.
        """
        model, data = self.config.model, self.config.data
        if data.normalization != "weights":
            return NORMALIZATIONS[data.normalization]
        weights = published_weights(model.backbone, model.weights)
        if weights is None:
            raise ValueError(
                "data.normalization = 'weights' needs model.weights to name weights of torchvision, "
                f"of timm or of a package, not the file {model.weights}"
            )
        return weights_normalization(weights)

    @property
    def inference(self) -> Inference:
        """How the network is scored: one pass over the whole image, padded if the settings say so."""
        data = self.config.data
        return Inference(pad_to=data.crop if data.pad else None)

    def build_model(self, trained: bool = False) -> SegmentationNet:
        model = replace(self.config.model, weights=None) if trained else self.config.model
        return build_network(model, self.labels.num_classes)

    def open(self, split: str, transforms: Any = None) -> Dataset:
        return open_dataset(self.config.data, split, transforms)

    def training_set(self) -> Dataset:
        from gcnlab.datasets import training_transform  # imports torchvision, which is slow

        d = self.config.data
        if d.copies is not None:
            return FixedCopies(
                self.open("train"),
                d.copies,
                self.normalization,
                d.crop,
                d.scale,
                d.flip,
                d.color_jitter,
            )
        transform = training_transform(self.normalization, d.crop, d.scale, d.flip, d.color_jitter)
        return Cached(self.open("train"), transform)

    def training_network(
        self, model: nn.Module, dataset: Dataset, num_workers: int = 0
    ) -> tuple[nn.Module, Dataset]:
        """What follows the frozen layers of the backbone, on their cached features, if there are
        such layers and the copies of the images are fixed."""
        settings = self.config.model
        frozen = settings.frozen_backbone or settings.frozen_stride is not None
        if not (frozen and isinstance(dataset, FixedCopies)):
            return model, dataset
        name = f"{self.config.data.dataset}-{settings.backbone.replace('/', '-')}"
        if settings.frozen_stride is not None:
            name += f"-stride{settings.frozen_stride}"
        cached = CachedFeatures(dataset, model.backbone, name, num_workers, model.frozen_maps)
        return OnFeatures(model), cached

    def evaluation_set(self, split: str = "val") -> Dataset:
        from gcnlab.datasets import evaluation_transform

        return self.open(split, evaluation_transform(self.normalization))

    def check_item(self, image: Tensor, target: Tensor, name: str) -> None:
        if image.shape[-2:] != target.shape[-2:]:
            sizes = f"image {tuple(image.shape[-2:])} and labels {tuple(target.shape[-2:])}"
            raise ValueError(f"{name}: {sizes} differ in size")
        check_labels(target, self.labels.num_classes, name)

    def count(self, targets: Tensor) -> Tensor:
        return labelled_pixels(targets)

    def loss(self, outputs: Tensor, targets: Tensor, count: Tensor | None = None) -> Tensor:
        return segmentation_loss(outputs, targets, count)

    def score(
        self,
        model: nn.Module,
        num_workers: int = 0,
        progress: bool = True,
        inference: Inference | None = None,
    ) -> Scores:
        return evaluate(
            model,
            self.evaluation_set("val"),
            num_workers=num_workers,
            progress=progress,
            inference=inference or self.inference,
        )

    def samples(self, model: nn.Module, number: int) -> Tensor:
        """A row per image: the image, its labels, the prediction. Smaller images are padded with
        white."""
        dataset, rows = self.evaluation_set("val"), []
        with evaluation_mode(model):
            for index in range(min(number, len(dataset))):
                image, truth = (item.as_subclass(Tensor) for item in dataset[index])
                predicted = predict(model, image[None], inference=self.inference)[0]
                picture = (self.normalization.invert(image) * 255).round().to(torch.uint8)
                maps = [self.labels.colorize(m).permute(2, 0, 1) for m in (truth, predicted)]
                rows.append(torch.cat([picture, *maps], dim=2))
        height, width = (max(row.shape[axis] for row in rows) for axis in (1, 2))
        padded = [
            F.pad(r, (0, width - r.shape[2], 0, height - r.shape[1]), value=255) for r in rows
        ]
        return torch.cat(padded, dim=1)


class Classification(Task):
    """Classify every image. The loss is the mean cross-entropy over the images."""

    config: PretrainConfig
    main_score = "top1"

    @property
    def normalization(self) -> Normalization:
        """The normalisation of the network's input."""
        return NORMALIZATIONS[self.config.data.normalization]

    @property
    def labels(self) -> LabelSet | None:
        """Names and colours of the classes; None for ImageNet, whose images only have numbers."""
        if self.config.data.dataset == "imagenet":
            return None
        return LabelSet(SHAPES.names[1:], SHAPES.colors[1:])  # without the background

    def build_model(self, trained: bool = False) -> nn.Module:
        return build_classifier(self.config.backbone, self.config.num_classes)

    def open(self, split: str, transforms: Any = None) -> ImageNet | SingleShapes:
        data = self.config.data
        if data.dataset == "imagenet":
            root = None if data.root is None else data.root / "imagenet"
            dataset = ImageNet(split, root, transforms)
        else:
            length = data.train_images if split == "train" else None
            dataset = SingleShapes(split, length, data.image_size, transforms=transforms)
        if dataset.num_classes != self.config.num_classes:
            where = f" at {dataset.root}" if hasattr(dataset, "root") else ""
            raise ValueError(
                f"num_classes is {self.config.num_classes}, but {data.dataset}{where} has "
                f"{dataset.num_classes}"
            )
        return dataset

    def training_set(self) -> Dataset:
        from gcnlab.datasets.transforms import classification_training_transform

        d = self.config.data
        transform = classification_training_transform(
            self.normalization, d.crop, d.area, d.ratio, d.flip
        )
        return Cached(self.open("train"), transform)

    def evaluation_set(self, split: str = "val") -> Dataset:
        from gcnlab.datasets.transforms import classification_evaluation_transform

        d = self.config.data
        transform = classification_evaluation_transform(self.normalization, d.resize, d.crop)
        return self.open(split, transform)

    def check_item(self, image: Tensor, target: Tensor, name: str) -> None:
        if not 0 <= int(target) < self.config.num_classes:
            last = self.config.num_classes - 1
            raise ValueError(f"{name}: class {int(target)} is not in 0 … {last}")

    def count(self, targets: Tensor) -> Tensor:
        # `full` fills on the device; a number copied to a GPU would make the loop wait.
        return torch.full((), len(targets), device=targets.device)

    def loss(self, outputs: Tensor, targets: Tensor, count: Tensor | None = None) -> Tensor:
        return classification_loss(outputs, targets, self.config.label_smoothing, count)

    def score(self, model: nn.Module, num_workers: int = 0, progress: bool = True) -> TopKAccuracy:
        dataset = self.evaluation_set("val")
        return evaluate_classifier(model, dataset, num_workers=num_workers, progress=progress)


TASKS = {
    RunConfig.task: (RunConfig, Segmentation),
    PretrainConfig.task: (PretrainConfig, Classification),
}
"""Name of a task → the class of its settings, and the task."""


def task_of(config: Settings | Task) -> Task:
    """The task that `config` describes. A task of your own is returned as it is."""
    return config if isinstance(config, Task) else TASKS[config.task][1](config)


def build_network(config: ModelConfig, num_classes: int) -> SegmentationNet:
    """Build the segmentation network on the CPU."""
    weights = config.weights
    if weights is not None and (weights in pretrained_networks() or Path(weights).is_dir()):
        weights = resolve(weights) / WEIGHTS
    return SegmentationNet(
        build_backbone(config.backbone, weights, config.frozen_norm),
        num_classes,
        head=config.head,
        kernel_size=config.kernel_size,
        refine=config.refine,
        upsample=config.upsample,
        mid_channels=config.mid_channels,
        frozen_backbone=config.frozen_backbone,
        frozen_stride=config.frozen_stride,
    )


def open_dataset(data: DataConfig, split: str, transforms: Any = None) -> Dataset:
    """Open a split ("train", "val", "test") of a segmentation data set.

    Raises:
        FileNotFoundError, ValueError: a folder or file is missing; the error names it.
    """
    if data.dataset == "shapes":
        length = data.train_images if split == "train" else None
        return Shapes(split, length, data.image_size, transforms=transforms)
    camvid, voc, sbd, coco, cityscapes = (
        None if data.root is None else data.root / name
        for name in ("camvid", "VOCdevkit/VOC2012", "benchmark_RELEASE", "coco", "cityscapes")
    )
    match (data.dataset, split):
        case ("camvid", _):
            _check_holds_camvid(data.root)
            return CamVid(split, camvid, transforms)
        case ("voc-animals", _):
            return VOCAnimals(split, data.root, transforms)
        case ("voc-animals-tune", _):
            check_split(split, ("train", "val"))
            return VOCAnimals("tune" if split == "val" else "tune-train", data.root, transforms)
        case ("voc+sbd", "train"):
            return voc_sbd_train(voc, sbd, transforms)
        case ("voc+sbd+coco", "train"):
            return voc_sbd_coco_train(voc, sbd, coco, transforms)
        case ("cityscapes+coarse", "train"):
            return cityscapes_train_with_coarse(cityscapes, transforms)
        case ("voc" | "voc+sbd" | "voc+sbd+coco", _):
            return VOCSegmentation(split, voc, transforms)
    return Cityscapes(split, cityscapes, transforms)


def _check_holds_camvid(root: Path | None) -> None:
    """Raise FileNotFoundError if `root` is CamVid's own folder, as earlier versions took it."""
    if root is None or (root / "camvid").exists() or not (root / "train").is_dir():
        return
    raise FileNotFoundError(
        f"data.root = {root} seems to be the folder of CamVid itself: give the folder that holds camvid/"
    )
