"""Single shapes: one textured object per image, to classify the whole image.

The mini backbones are pretrained on this data set, as the paper's ResNet50-GCN is pretrained on
ImageNet (Table 6). Sizes, textures and rotations are those of Shapes, and only the outline reveals
the class.
"""

from collections.abc import Callable

import numpy as np
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor
from gcnlab.datasets.labels import SHAPES
from gcnlab.datasets.shapes import SPLITS, Scene, checked_length, random_scene, render

_STREAM = 1  # makes the images differ from those of Shapes with the same seed


class SingleShapes(Dataset):
    """One textured shape per image, drawn on access from a seed.

    `dataset[i]` is (image, class): a tv_tensor, uint8 (3, side, side), and a class 0 … 5, its
    position in `classes`. An image depends only on (seed, split, index).

    Args:
        split: "train", "val" or "test"; their images differ.
        length: number of images; None means 1,200 / 300 / 300. A longer set starts with the images
            of a shorter one.
        image_size: side of the square image, in pixels, at least 32.
        seed: a different seed gives a different data set.
        transforms: called with the image only.
    """

    classes = SHAPES.names[1:]
    num_classes = len(classes)

    def __init__(
        self,
        split: str = "train",
        length: int | None = None,
        image_size: int = 256,
        seed: int = 0,
        transforms: Callable | None = None,
    ):
        self.length = checked_length(split, length, seed, image_size)
        self.split = split
        self.image_size, self.seed, self.transforms = image_size, seed, transforms

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from torchvision import tv_tensors  # slow to import

        scene = self.scene(index)
        image = tv_tensors.Image(render(scene)[0])
        label = scene.objects[0].kind - 1
        return (image if self.transforms is None else self.transforms(image)), label

    def name(self, index: int) -> str:
        """The name of image `index` in error messages."""
        return f"single-shapes-{self.split}-{index:05d}"

    def scene(self, index: int) -> Scene:
        """The scene of image `index`, with its only object."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside the {self.length} images")
        place = list(SPLITS).index(self.split)
        rng = np.random.default_rng([self.seed, place, index, _STREAM])
        scene = random_scene(rng, self.image_size, self.image_size)
        return Scene(scene.height, scene.width, scene.background, scene.objects[:1])
