"""The objects of a data set, each at several sizes on a texture: only the size changes.

The paper's Figure 3 compares a small bird with the same bird enlarged. In photographs, large and
small objects also differ in class, pose and surroundings. Here each object is cut out by its label,
resized, and laid in the middle of a texture without a class.
"""

import torch
from torch.utils.data import Dataset

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.cutout import cut_out, paste, textured_ground
from gcnlab.experiments.objects import LabelledObject, mask_of, objects_in


class PastedObjects(Dataset):
    """Square images of one object each; object i with length j has the index i · lengths + j.

    Args:
        dataset: the photographs, uint8, and their labels.
        objects: objects of the data set.
        lengths: of the longer side of the object's box, in pixels. The largest is the side of the
            images.
    """

    def __init__(self, dataset: Dataset, objects: list[LabelledObject], lengths: tuple[int, ...]):
        self.dataset, self.sources, self.lengths = dataset, objects, lengths

    def __len__(self) -> int:
        return len(self.sources) * len(self.lengths)

    def __getitem__(
        self, index: int
    ) -> tuple[UInt8[Tensor, "3 side side"], UInt8[Tensor, "side side"]]:
        """An image, and labels with the object's class and 0 for the texture."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, which = divmod(index, len(self.lengths))
        source, side = self.sources[number], max(self.lengths)
        image, labels = (torch.as_tensor(part) for part in self.dataset[source.image])
        item = cut_out(image.as_subclass(Tensor), mask_of(labels, source))
        ground = textured_ground(side, side, seed=number)
        image, mask = paste(item, ground, scale=self.lengths[which] / max(item.size))
        return image, mask.to(torch.uint8) * source.kind

    def objects(self) -> list[LabelledObject]:
        """The object of each image. If the resized mask falls apart, its largest part counts."""
        return [
            max(objects_in(labels, index), key=lambda item: item.size)
            for index, (_, labels) in enumerate(self[i] for i in range(len(self)))
        ]
