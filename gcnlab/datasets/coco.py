"""COCO with VOC's labels: the images that contain VOC's 20 classes, as semantic label maps.

    coco/train2017/000000000009.jpg   coco/val2017/…
    coco/annotations/instances_train2017.json, instances_val2017.json

The paper's first stage trains on "COCO, only images with the 20 VOC classes". Together with SBD and
VOC these are 109,892 images, so 99,310 of COCO's 123,287 (train and val). The paper does not say
how instances become a label map. We chose:

- the other 60 classes are background;
- a crowd is void, except where a single object is drawn over it;
- pixels where objects of *different* classes overlap are void, because the order is unknown;
- an image is used if it has at least one instance of the 20 classes that is not a crowd.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.datasets.files import (
    LabelledImages,
    check_split,
    data_root,
    require_files,
    require_folder,
)
from gcnlab.datasets.labels import IGNORE, VOC
from gcnlab.datasets.lists import check_file_name
from gcnlab.datasets.merged import Merged
from gcnlab.datasets.voc import VOCSegmentation, require_disjoint, voc_sbd_train

CATEGORIES = {
    5: "aeroplane",
    2: "bicycle",
    16: "bird",
    9: "boat",
    44: "bottle",
    6: "bus",
    3: "car",
    17: "cat",
    62: "chair",
    21: "cow",
    67: "diningtable",
    18: "dog",
    19: "horse",
    4: "motorbike",
    1: "person",
    64: "pottedplant",
    20: "sheep",
    63: "sofa",
    7: "train",
    72: "tvmonitor",
}
"""COCO's category id → VOC's name of the class."""

_REMEDY = "this is not a COCO 2017 tree; `gcnlab data get coco` downloads it"


class COCOAsVOC(LabelledImages):
    """COCO 2017 with VOC's labels.

    Args:
        split: "train", "val", or "trainval" for both, as in the paper.
        root: folder with annotations/ and the folders of images; None means `coco` under
            `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.

    Raises:
        FileNotFoundError, ValueError: a folder or file is missing or damaged, or an image has an
            invalid outline. The message names the file.
        ModuleNotFoundError: pycocotools, which decodes COCO's outlines, is not installed.
    """

    labels = VOC

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
    ):
        check_split(split, ("train", "val", "trainval"))
        _mask_tools()
        super().__init__(transforms)
        self.split = split
        self.root = data_root() / "coco" if root is None else Path(root)
        require_folder(self.root, _REMEDY)
        self.images, self._instances, self._files = [], [], []
        for part in ("train", "val") if split == "trainval" else (split,):
            self._read(part)
        self.images = require_files(self.images, f"{split} split of COCO", _REMEDY)

    def _read(self, part: str) -> None:
        """Read the images of one annotation file; their outlines are stored as compressed runs."""
        file = self.root / "annotations" / f"instances_{part}2017.json"
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: {_REMEDY}")
        try:
            content = json.loads(file.read_bytes())  # json detects the encoding of bytes
            sizes = {i["id"]: (i["height"], i["width"]) for i in content["images"]}
            found: dict[int, list[tuple[int, bool, dict]]] = {}
            for item in content["annotations"]:
                if item["category_id"] in CATEGORIES:
                    instance = _encoded(item, *sizes[item["image_id"]])
                    found.setdefault(item["image_id"], []).append(instance)
            names = {i["id"]: i["file_name"] for i in content["images"]}
        except Exception as error:  # pycocotools raises plain Exceptions
            raise ValueError(
                f"{file}: damaged, or not an instances file of COCO ({error!r})"
            ) from error
        for number in sorted(found):
            if not all(crowd for _, crowd, _ in found[number]):
                check_file_name(names[number], f"{file}, image {number}")
                self.images.append(self.root / f"{part}2017" / names[number])
                self._instances.append(found[number])
                self._files.append(file)
        if not self.images:
            raise ValueError(f"{file}: no image with one of VOC's classes")

    def label_map(self, index: int, image: Tensor) -> UInt8[Tensor, "_ _"]:
        (height, width) = self._instances[index][0][2]["size"]
        labels = torch.zeros(height, width, dtype=torch.uint8)
        crowds = torch.zeros(height, width, dtype=torch.bool)
        for class_id, crowd, runs in self._instances[index]:
            mask = _decoded(runs)
            if crowd:
                crowds |= mask
                continue
            other = mask & (labels != 0) & (labels != class_id)
            labels[mask] = class_id
            labels[other] = IGNORE
        labels[crowds & (labels == 0)] = IGNORE
        return labels

    def label_source(self, index: int) -> str:
        return f"{self._files[index]}, image {self.images[index].name}"


def voc_sbd_coco_train(
    voc_root: str | Path | None = None,
    sbd_root: str | Path | None = None,
    coco_root: str | Path | None = None,
    transforms: Callable | None = None,
) -> Merged:
    """The data of the paper's first stage: 109,892 images of COCO train and val, SBD and VOC train.

    Raises the errors of `COCOAsVOC`, `VOCSegmentation` and `SBDSegmentation`.
    """
    own = voc_sbd_train(voc_root, sbd_root)
    merged = Merged([*own.parts, COCOAsVOC("trainval", coco_root)], transforms)
    require_disjoint(merged, VOCSegmentation("val", voc_root))
    return merged


def _encoded(item: dict, height: int, width: int) -> tuple[int, bool, dict]:
    """(class id, whether it is a crowd, compressed runs) of an annotation in any of COCO's formats."""
    tools, outline = _mask_tools(), item["segmentation"]
    if isinstance(outline, list):
        if not outline or any(len(polygon) < 6 for polygon in outline):
            raise ValueError(
                f"annotation {item.get('id')} has a polygon with fewer than three corners"
            )
        runs = tools.merge(tools.frPyObjects(outline, height, width))
    elif isinstance(outline["counts"], list):
        runs = tools.frPyObjects(outline, height, width)
    else:
        runs = {"size": outline["size"], "counts": outline["counts"].encode()}
    if tuple(runs["size"]) != (height, width):
        raise ValueError(
            f"annotation {item.get('id')} has the size {runs['size']}, but its image {height, width}"
        )
    return VOC.names.index(CATEGORIES[item["category_id"]]), bool(item.get("iscrowd")), runs


def _decoded(runs: dict) -> Bool[Tensor, "height width"]:
    with warnings.catch_warnings():  # pycocotools 2.0.11 with NumPy 2
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return torch.from_numpy(_mask_tools().decode(runs)).bool()


def _mask_tools():
    try:
        from pycocotools import mask
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading COCO needs pycocotools: pip install 'gcnlab[coco]'"
        ) from error
    return mask
