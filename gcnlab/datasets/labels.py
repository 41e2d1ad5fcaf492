"""The meaning of the ids in a label map: names and colours of the classes of each data set.

This module imports torch only to colour a map, so that settings can use the classes without torch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcnlab.arguments import nearest

if TYPE_CHECKING:
    import torch

IGNORE = 255
"""The id of void: it counts neither in the loss nor in scores. Padding is void."""


@dataclass(frozen=True)
class LabelSet:
    """Names and colours of the classes of a data set, in the order of their ids.

    Attributes:
        names: one per class; its position is the id.
        colors: one (red, green, blue) in 0 … 255 per class.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self):
        if len(self.names) != len(self.colors):
            raise ValueError(f"{len(self.names)} names but {len(self.colors)} colours")
        if len(self.names) > IGNORE:
            raise ValueError(
                f"{len(self.names)} classes are too many: an 8-bit label map holds at most {IGNORE}, and void"
            )

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def subset(self, names: Iterable[str]) -> "LabelSet":
        """Return the label set of some of the classes, with their colours, in the order given.

        Raises:
            ValueError: a name is not one of the classes, or is given twice.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in self.names:
                raise ValueError(
                    f"unknown class {name!r}{nearest(name, self.names)}; "
                    f"the classes are {', '.join(self.names)}"
                )
            if names.count(name) > 1:
                raise ValueError(f"class {name!r} is given twice: remove one")
        return LabelSet(names, tuple(self.colors[self.names.index(name)] for name in names))

    def colorize(self, labels: "torch.Tensor") -> "torch.Tensor":
        """Colour a label map of shape (height, width); void becomes white.

        Returns:
            An RGB picture, uint8 (height, width, 3).

        Raises:
            ValueError: an id is neither a class nor void, or `labels` holds no ids.
        """
        import torch

        from gcnlab.datasets.ids import check_ids

        check_ids(labels, self.num_classes, "labels", void=IGNORE)
        table = torch.full((256, 3), 255, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.colors, dtype=torch.uint8)
        return table[labels.long().cpu()]


SHAPES = LabelSet(
    names=("background", "disc", "square", "triangle", "star", "cross", "semicircle"),
    colors=(
        (60, 60, 60),
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (204, 121, 167),
        (213, 94, 0),
        (86, 180, 233),
    ),
)

CAMVID = LabelSet(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    colors=(
        (128, 190, 230),
        (140, 70, 60),
        (240, 220, 130),
        (110, 90, 120),
        (220, 150, 190),
        (60, 130, 60),
        (250, 180, 0),
        (160, 160, 110),
        (0, 70, 160),
        (220, 40, 40),
        (110, 20, 60),
    ),
)


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """The colours of the VOC devkit: three bits of the id at a time become bits of red, green and
    blue, the highest first.
    """
    colors = []
    for number in range(count):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colors.append(tuple(rgb))
    return tuple(colors)


VOC = LabelSet(
    names=(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
    colors=voc_palette(21),
)

VOC_ANIMALS = VOC.subset(("background", "cat", "cow", "dog", "horse", "person", "sheep"))
"""The classes of `VOCAnimals`, in VOC's order."""

_CITYSCAPES_CLASSES = (  # label id, name, colour; the train id is the position
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)

CITYSCAPES = LabelSet(
    names=tuple(name for _, name, _ in _CITYSCAPES_CLASSES),
    colors=tuple(color for _, _, color in _CITYSCAPES_CLASSES),
)

CITYSCAPES_LABEL_IDS = tuple(label for label, _, _ in _CITYSCAPES_CLASSES)
"""The label id of each train id."""
