"""Accuracy that EfficientNet-Lite loses when its padding becomes symmetric.

    python -m benchmarks.padding --out data/results/bench/padding.json

The weights were trained with TensorFlow's "same" padding, which moves the units of a map away from
their pixels; a backbone pads symmetrically (`gcnlab.models.centring`). Both are classifiers of
ImageNet's 1,000 classes here, with the same weights. Measured are the probability of "Egyptian cat"
for scikit-image's cat, and the share of photographs of one animal (cat, dog, horse, sheep, cow)
whose most probable class is of this animal. The photographs are training images of VOC animals that
show one of these animals and no other of them.

A third variant, "blurred", lets the strided convolutions also read the means of 2×2 neighbouring
units. It would put the patches of ConvNeXt and Swin on pixels, too; the result is why the maps of
these networks are interpolated instead. It takes about ten minutes on one core.
"""

import random
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from gcnlab.annotations import Float, Tensor
from gcnlab.datasets import VOCAnimals, cat_photograph, weights_normalization
from gcnlab.datasets.transforms import Normalize
from gcnlab.experiments.command import run_command
from gcnlab.models.backbones import published_weights
from gcnlab.models.centring import centre
from gcnlab.models.timm_weights import PACKAGES, packaged_state
from gcnlab.provenance import provenance, write_json

ANIMALS = {
    "cat": range(281, 286),
    "dog": range(151, 269),
    "horse": range(339, 340),  # sorrel; ImageNet has no other horse
    "sheep": range(348, 350),
    "cow": range(345, 348),
}
"""Animals of VOC, and ImageNet's numbers of their classes."""

EGYPTIAN_CAT = 285

VARIANTS = ("same", "symmetric", "blurred")

SIZES = {"timm/tf_efficientnet_lite0": 224, "timm/tf_efficientnet_lite2": 260}
"""Sides of the images of the networks' training, in pixels. A whole photograph is stretched to this
square, so that no part of the animal is cut off."""


@dataclass(frozen=True)
class PaddingBenchmark:
    """Measure what symmetric padding costs EfficientNet-Lite in accuracy."""

    out: Path | None = None
    """Write the figures and their provenance to this JSON file."""
    data: Path | None = None
    """Folder that holds voc_animals. None: the environment variable GCNLAB_DATA, or data/."""
    images: int = 100
    """Photographs of each animal."""
    seed: int = 0
    """Seed of the choice of the photographs."""

    def __call__(self) -> dict[str, Any]:
        result = measure(self)
        if self.out is not None:
            write_json(result, self.out)
        return result


def measure(settings: PaddingBenchmark) -> dict[str, Any]:
    """The figures of every network and variant, printed line by line."""
    start = time.perf_counter()
    dataset = VOCAnimals("train", settings.data)
    chosen = choose(dataset, settings.images, settings.seed)
    networks = {}
    for package, name in PACKAGES.items():
        weights = published_weights(name, package)
        transform = v2.Compose(
            [
                v2.Resize((SIZES[name], SIZES[name]), antialias=True),
                Normalize(weights_normalization(weights)),
            ]
        )
        rows, right = {}, {}
        for variant in VARIANTS:
            network = classifier(name, package, variant)
            cat = probabilities(network, transform(tv_tensors.Image(cat_photograph()[0])))[
                EGYPTIAN_CAT
            ]
            right[variant] = {
                animal: [
                    int(
                        probabilities(
                            network, transform(tv_tensors.Image(dataset.read(i)[0]))
                        ).argmax()
                    )
                    in ANIMALS[animal]
                    for i in indices
                ]
                for animal, indices in chosen.items()
            }
            shares = {a: sum(found) / len(found) for a, found in right[variant].items()}
            rows[variant] = {
                "egyptian_cat": float(cat),
                "right": sum(sum(found) for found in right[variant].values()),
                "share_right": sum(map(sum, right[variant].values()))
                / sum(map(len, chosen.values())),
                "share_right_by_animal": shares,
            }
            print(
                f"{name:<28}{variant:<11} Egyptian cat {cat:.2f}  right "
                f"{100 * rows[variant]['share_right']:.1f} %",
                flush=True,
            )
        networks[name] = {"weights": package, "size": SIZES[name], "variants": rows}
        networks[name]["only_right_under"] = {
            f"{one}, not {other}": only(right[one], right[other])
            for pair in combinations(VARIANTS, 2)
            for one, other in (pair, pair[::-1])
        }
    return {
        "what": "ImageNet classification by EfficientNet-Lite with TensorFlow's and symmetric padding",
        "photographs": {animal: len(indices) for animal, indices in chosen.items()},
        "networks": networks,
        "provenance": provenance(
            seeds=[settings.seed],
            dataset="VOC animals, photographs of one animal; scikit-image's cat",
            split="train",
            device="cpu",
            seconds=time.perf_counter() - start,
        ),
    }


def choose(dataset: VOCAnimals, number: int, seed: int) -> dict[str, list[int]]:
    """Choose photographs that show one animal and no other: at most `number` of each.

    Returns:
        The numbers of the photographs in the data set, for each animal.

    Raises:
        ValueError: there is no photograph of an animal.
    """
    order, chosen = list(range(len(dataset))), {animal: [] for animal in ANIMALS}
    random.Random(seed).shuffle(order)
    ids = {dataset.labels.names.index(animal): animal for animal in ANIMALS}
    for index in order:
        present = {ids[i] for i in dataset.read(index)[1].unique().tolist() if i in ids}
        if len(present) == 1 and len(found := chosen[present.pop()]) < number:
            found.append(index)
        if all(len(found) == number for found in chosen.values()):
            break
    if missing := [animal for animal, found in chosen.items() if not found]:
        raise ValueError(f"{dataset.root}: no photograph shows only a {missing[0]}")
    return chosen


def classifier(name: str, package: str, variant: str) -> nn.Module:
    """timm's classifier with the weights of a package, in evaluation mode.

    Args:
        name: "timm/NAME".
        package: see `gcnlab.models.timm_weights`.
        variant: one of `VARIANTS`.
    """
    network = timm.create_model(name.removeprefix("timm/"))
    state, _ = packaged_state(published_weights(name, package))
    network.load_state_dict(state)
    if variant != "same":
        centre(network, name)
    if variant == "blurred":
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
                module.register_forward_pre_hook(_means)
    return network.eval()


def _means(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    """Replace each unit by the mean of the 2×2 units that end with it."""
    height, width = inputs[0].shape[2:]
    return (F.avg_pool2d(inputs[0], 2, stride=1, padding=1)[..., :height, :width],)


def probabilities(
    network: nn.Module, image: Float[Tensor, "3 height width"]
) -> Float[Tensor, "classes"]:
    with torch.inference_mode():
        return network(image.as_subclass(Tensor)[None])[0].softmax(0)


def only(one: dict[str, list[bool]], other: dict[str, list[bool]]) -> int:
    """Number of photographs that `one` classifies right and `other` does not."""
    return sum(a and not b for animal in one for a, b in zip(one[animal], other[animal]))


if __name__ == "__main__":
    run_command(PaddingBenchmark, "benchmarks.padding")
