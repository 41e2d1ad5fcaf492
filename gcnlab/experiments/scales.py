"""The scales: the images, backbone and schedule that the networks of a table have in common.

The paper's k goes up to 15 on a map of 16×16 pixels. Images of 256 px give a map of 8×8, on which
k = 7 already covers almost everything; images of 512 px give the paper's map. Photographs of 384 px
give a map of 12×12, which k = 11 covers.
"""

from dataclasses import dataclass, replace
from typing import Literal

from gcnlab.training import PRESETS, DataConfig, ModelConfig, RunConfig

Scale = Literal["mini", "quick", "large", "full", "camvid", "photos", "photos-tuned"]


@dataclass(frozen=True)
class TableScale:
    """How the networks of a table are trained.

    Attributes:
        images: short description of the images, for headings.
        run: settings with seed 0; the networks of a table differ from it only in the model.
        folder: subfolder of the results for these runs.
        kernel_sizes: k of the GCN networks in Table 1.
        compared: k at which Tables 2 and 3 compare GCN with other heads.
        kernel_size: k in Tables 5 and 6, where the paper uses 15.
        seeds: least number of runs per network for a verdict on Tables 1 and 5.
        backbones: the two of Table 6: a ResNet, and one of about the same cost with GCN inside.
        tables: the tables that are defined at this scale.
        starts_from: the scale whose trained networks these start from: each run from the network of
            the same name and seed. None: they start from the weights of their settings.
    """

    images: str
    run: RunConfig
    folder: str
    kernel_sizes: tuple[int, ...] = (3, 5, 7, 15)
    compared: tuple[int, ...] = (3, 5, 7)
    kernel_size: int = 7
    seeds: int = 5
    backbones: tuple[str, str] = ("mini", "mini_gcn")
    tables: tuple[int | str, ...] = (1, 2, 3, 4, 5, 6, "levels")
    starts_from: Scale | None = None


_QUICK = PRESETS["quick"][1]
_PHOTOS = TableScale(
    "VOC animals, frozen Lite0",
    PRESETS["photos"][1],
    "photos",
    kernel_sizes=(3, 5, 7, 11),
    compared=(5, 7),
    kernel_size=11,
    tables=(1, 2, 3, 5, "levels"),  # Tables 4 and 6 need other stacks and other backbones
)

SCALES: dict[Scale, TableScale] = {
    "mini": TableScale("Shapes, 256 px", PRESETS["shapes"][1], "shapes"),
    "quick": TableScale("Shapes, 256 px, pretrained", _QUICK, "quick"),
    "large": TableScale(
        "Shapes, 512 px, pretrained",
        replace(_QUICK, data=DataConfig(image_size=512)),
        "large",
        kernel_sizes=(3, 7, 15),  # each field is about twice as large as the previous one
        kernel_size=15,
        seeds=3,
    ),
    "full": TableScale(
        "Shapes, 512 px, ResNet-18",
        RunConfig(ModelConfig("resnet18"), DataConfig(image_size=512)),
        "shapes512",
        kernel_sizes=(3, 5, 7, 9, 11, 13, 15),
        kernel_size=15,
        backbones=("resnet50", "resnet50_gcn"),
    ),
    "camvid": TableScale("CamVid", PRESETS["camvid"][1], "camvid", seeds=3),
    "photos": _PHOTOS,
    "photos-tuned": replace(
        _PHOTOS,
        images="VOC animals, tuned Lite0",
        run=PRESETS["photos-tuned"][1],
        folder="photos-tuned",
        seeds=3,
        tables=(5,),
        starts_from="photos",
    ),
}
