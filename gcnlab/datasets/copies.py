"""A fixed number of augmented copies of each training image, the same in every epoch and run.

The features of a frozen backbone can then be computed once per copy and kept
(`gcnlab.training.features`), where random augmentation would need the backbone in every step.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor
from gcnlab.datasets.normalization import Normalization


class FixedCopies(Dataset):
    """Copies of each image: as it is, mirrored, then alternating with a random scale and position.

    Copy 0 is the image in the upper left corner of the crop (in its middle, if it is larger than
    the crop). Copy 1 is the same mirrored. Copies 2, 4, … are scaled by a random factor, cropped at
    random, and jittered in colour; copies 3, 5, … are also mirrored. Without `flip`, no copy is
    mirrored, and all from 1 on are random. The random numbers depend on the image and the copy
    alone.

    `dataset[i]` is a random copy of image i: its number is drawn from torch's random generator.

    Args:
        dataset: pairs (image, labels) of tv_tensors without transforms, with a method `name(index)`.
        number: copies of each image, at least 1.
        normalization: the normalisation of the image.
        crop: (height, width) of every copy, in pixels; smaller images are padded at the bottom and
            right with the mean colour, and with void labels.
        scale: range of the random factor.
        flip: mirror every second copy.
        color_jitter: strength of random brightness, contrast and saturation.
    """

    def __init__(
        self,
        dataset: Dataset,
        number: int,
        normalization: Normalization,
        crop: tuple[int, int],
        scale: tuple[float, float] = (1.0, 1.0),
        flip: bool = True,
        color_jitter: float = 0.0,
    ):
        self.dataset, self.number, self.flip = dataset, number, flip
        self.normalization, self.crop = normalization, crop
        self.scale, self.color_jitter = scale, color_jitter

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.copy(index, int(torch.randint(0, self.number, ())))

    def name(self, index: int) -> str:
        """The name of image `index` in error messages."""
        return self.dataset.name(index)

    def copy(self, index: int, number: int) -> tuple[Tensor, Tensor]:
        """Copy `number` of image `index`: (normalised image, labels), of the crop's size."""
        from torchvision.transforms import v2  # slow to import

        from gcnlab.datasets.transforms import training_transform

        random = number >= (2 if self.flip else 1)
        scale, jitter = (self.scale, self.color_jitter) if random else ((1.0, 1.0), 0.0)
        steps = [training_transform(self.normalization, self.crop, scale, False, jitter)]
        if not random:
            steps.insert(0, _CropMiddle(self.crop))
        if self.flip and number % 2:
            steps.insert(0, v2.RandomHorizontalFlip(p=1.0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000_003 * number + index)
            return v2.Compose(steps)(*self.dataset[index])

    def description(self) -> dict[str, Any]:
        """What the copies depend on, as plain values: the images and the augmentation."""
        files = [Path(file) for file in getattr(self.dataset, "images", ())]
        listed = "\n".join(f"{file.name} {file.stat().st_size}" for file in files)
        digest = hashlib.sha256(listed.encode())
        for item in self.copy(0, 0):  # of a data set without files, too
            digest.update(item.contiguous().numpy().tobytes())
        return {
            "images": len(self),
            "content": digest.hexdigest(),
            "copies": self.number,
            "crop": list(self.crop),
            "scale": list(self.scale),
            "flip": self.flip,
            "color_jitter": self.color_jitter,
            "mean": list(self.normalization.mean),
            "std": list(self.normalization.std),
        }


class _CropMiddle:
    """Crop the middle of an image that is larger than `size`; an axis that is shorter stays."""

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def __call__(self, *pair: Tensor) -> tuple[Tensor, ...]:
        from torchvision.transforms.v2 import functional as F

        size = [min(side, most) for side, most in zip(pair[0].shape[-2:], self.size)]
        return tuple(F.center_crop(item, size) for item in pair)
