"""Miniature data sets in the official layouts, to try every protocol without downloading data.

Each has a few drawn images. Names, file formats, palettes, ids, odd sizes and void strips are as in
the real data sets; the pictures are textured shapes, each kind of shape standing for a class. The
tests and the notebooks (by default) use them.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gcnlab.datasets.cityscapes import to_label_ids
from gcnlab.datasets.coco import CATEGORIES
from gcnlab.datasets.files import palette_picture
from gcnlab.datasets.labels import SHAPES, VOC, VOC_ANIMALS, voc_palette
from gcnlab.datasets.shapes import Scene, outline, random_scene, render

VOC_NAMES = {
    "train": ("2007_000032", "2007_000039", "2007_000063", "2008_000008", "2009_001012", "2011_003271"),
    "val": ("2007_000033", "2007_000042", "2008_000009", "2011_003256"),
    "test": ("2008_000006", "2008_000011"),
}  # fmt: skip
SBD_ONLY = ("2008_000002", "2008_000003", "2009_000015", "2010_000014")
CITYSCAPES_NAMES = {
    "train": ("aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000313"),
    "val": ("frankfurt_000000_000294", "frankfurt_000001_007973", "lindau_000000_000019"),
    "test": ("berlin_000000_000019",),
    "train_extra": ("augsburg_000000_000000", "bamberg_000000_000000"),
}
IMAGENET_CLASSES = ("n01440764", "n02123045", "n03594945")

_CATEGORY = {name: number for number, name in CATEGORIES.items()}
_VOC_IDS = np.array(
    [0, 1, 5, 12, 15, 18, 20], dtype=np.uint8
)  # VOC's ids for the classes of Shapes
_ANIMAL_IDS = np.array([VOC.names.index(name) for name in VOC_ANIMALS.names], dtype=np.uint8)
_CITYSCAPES_IDS = np.array([0, 2, 8, 10, 11, 13, 18], dtype=np.uint8)


def make_voc(
    root: str | Path, size: tuple[int, int] = (60, 80), ids: np.ndarray = _VOC_IDS
) -> Path:
    """Make VOC 2012 under `root`/VOCdevkit/VOC2012; the images vary in size around `size`, in
    pixels. `ids` are VOC's ids for the seven classes of Shapes.
    """
    folder = _new(Path(root) / "VOCdevkit" / "VOC2012")
    for split, names in VOC_NAMES.items():
        _write_list(folder / "ImageSets" / "Segmentation" / f"{split}.txt", names)
        for name in names:
            scene = _scene(name, size)
            image, kinds, _ = (part.numpy() for part in render(scene))
            _save(image.transpose(1, 2, 0), folder / "JPEGImages" / f"{name}.jpg", quality=92)
            if split != "test":
                picture = palette_picture(_with_void(ids[kinds]), voc_palette(256))
                _save(picture, folder / "SegmentationClass" / f"{name}.png")
    names = sorted((*VOC_NAMES["train"], *VOC_NAMES["val"]))
    _write_list(folder / "ImageSets" / "Segmentation" / "trainval.txt", names)
    return folder


def make_voc_animals(root: str | Path, size: tuple[int, int] = (60, 80)) -> Path:
    """Make the small copy of VOC animals under `root`/voc_animals, with all seven classes."""
    return make_voc(Path(root) / "voc_animals", size, _ANIMAL_IDS)


def make_sbd(root: str | Path, size: tuple[int, int] = (60, 80)) -> Path:
    """Make SBD under `root`/benchmark_RELEASE, with own images and images of VOC train and VOC val."""
    from scipy.io import savemat

    folder = _new(Path(root) / "benchmark_RELEASE") / "dataset"
    splits = {
        "train": (*SBD_ONLY[:3], *VOC_NAMES["train"][1:3], VOC_NAMES["val"][0]),
        "val": (*SBD_ONLY[3:], VOC_NAMES["train"][4], *VOC_NAMES["val"][2:]),
    }
    (folder / "cls").mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        _write_list(folder / f"{split}.txt", names)
        for name in names:
            image, ids, _ = (part.numpy() for part in render(_scene(name, size)))
            _save(image.transpose(1, 2, 0), folder / "img" / f"{name}.jpg", quality=92)
            truth = {"Segmentation": _VOC_IDS[ids], "CategoriesPresent": np.unique(_VOC_IDS[ids])}
            savemat(folder / "cls" / f"{name}.mat", {"GTcls": truth}, do_compression=True)
    return folder.parent


def make_coco(root: str | Path, size: tuple[int, int] = (60, 80)) -> Path:
    """Make COCO 2017 under `root`/coco, with polygons, a crowd, overlaps, and classes unknown to
    VOC.
    """
    folder = _new(Path(root) / "coco")
    kinds = {k: _CATEGORY[VOC.names[_VOC_IDS[k]]] for k in range(1, SHAPES.num_classes)}
    for split, count in (("train", 4), ("val", 2)):
        content = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": n, "name": name} for n, name in CATEGORIES.items()]
        for number in range(count):
            key = 9 + 16 * number + (1000 if split == "val" else 0)
            scene = _scene(f"coco-{split}-{number}", size)
            name = f"{key:012d}.jpg"
            image = render(scene)[0].numpy().transpose(1, 2, 0)
            _save(image, folder / f"{split}2017" / name, quality=92)
            content["images"].append(
                {"id": key, "file_name": name, "height": scene.height, "width": scene.width}
            )
            found = _instances(scene, key, [kinds[o.kind] for o in scene.objects])
            if number == 0:  # a crowd of people in the corner, and an overlapping car
                found += [_crowd(scene, key), _box(scene, key, _CATEGORY["car"])]
            if number == 1:  # only a class that VOC does not have: a bed
                found = [_box(scene, key, 65)]
            content["annotations"] += found
        for i, item in enumerate(content["annotations"], start=1):
            item["id"] = i
        file = folder / "annotations" / f"instances_{split}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def make_cityscapes(root: str | Path, size: tuple[int, int] = (64, 128)) -> Path:
    """Make Cityscapes under `root`/cityscapes, with images of one `size`; coarse labels omit the
    edges.
    """
    folder = _new(Path(root) / "cityscapes")
    for split, names in CITYSCAPES_NAMES.items():
        for name in names:
            city = name.split("_")[0]
            image, ids, _ = (part.numpy() for part in render(_scene(name, size, jitter=0)))
            picture = folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
            _save(image.transpose(1, 2, 0), picture)
            if split == "test":
                continue
            fine = _label_ids(_CITYSCAPES_IDS[ids])
            if split != "train_extra":
                _save(fine, folder / "gtFine" / split / city / f"{name}_gtFine_labelIds.png")
            coarse = np.where(_near_edge(ids, 3), 0, fine).astype(np.uint8)
            _save(coarse, folder / "gtCoarse" / split / city / f"{name}_gtCoarse_labelIds.png")
    return folder


def make_imagenet(root: str | Path, size: tuple[int, int] = (48, 64), images: int = 4) -> Path:
    """Make ImageNet under `root`/imagenet: three classes, `images` of each for training and half as
    many for validation.
    """
    folder = _new(Path(root) / "imagenet")
    for split, count in (("train", images), ("val", max(1, images // 2))):
        for kind, name in enumerate(IMAGENET_CLASSES, start=1):
            for i in range(count):
                scene = _scene(f"{name}-{split}-{i}", size)
                (largest, *_) = sorted(scene.objects, key=lambda item: -item.size)
                only = type(largest)(kind, largest.center, largest.size, largest.angle, i)
                scene = Scene(scene.height, scene.width, scene.background, (only,))
                image = render(scene)[0].numpy().transpose(1, 2, 0)
                file = f"{name}_{i}" if split == "train" else f"ILSVRC2012_val_{kind * 100 + i:08d}"
                _save(image, folder / split / name / f"{file}.JPEG", quality=92)
    return folder


MAKERS = {
    "voc": make_voc,
    "sbd": make_sbd,
    "voc-animals": make_voc_animals,
    "coco": make_coco,
    "cityscapes": make_cityscapes,
    "imagenet": make_imagenet,
}
"""Name of a data set → the function that makes its miniature."""


def make_miniatures(root: str | Path, names: Iterable[str] = tuple(MAKERS)) -> Path:
    """Make several miniatures in one folder; set GCNLAB_DATA to it to use them."""
    for name in names:
        MAKERS[name](root)
    return Path(root)


def _new(folder: Path) -> Path:
    """Return `folder`, which must not exist, so that no miniature is mixed into real data."""
    if folder.exists():
        raise FileExistsError(f"{folder} already exists: make the miniature in another folder")
    return folder


def _scene(name: str, size: tuple[int, int], jitter: int = 9) -> Scene:
    """A scene that depends only on the name; its sides exceed `size` by up to `jitter` pixels."""
    rng = np.random.default_rng(list(name.encode()))
    height, width = (side + int(rng.integers(0, jitter + 1)) for side in size)
    return random_scene(rng, height, width)


def _near_edge(ids: np.ndarray, distance: int) -> np.ndarray:
    """Whether a pixel with another id is at most `distance` rows and columns away."""
    padded = np.pad(ids, distance, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * distance + 1,) * 2)
    return windows.min((2, 3)) != windows.max((2, 3))


def _with_void(ids: np.ndarray) -> np.ndarray:
    """Add void strips along the edges of objects, as in VOC."""
    return np.where(_near_edge(ids, 1), 255, ids).astype(np.uint8)


def _label_ids(train_ids: np.ndarray) -> np.ndarray:
    """Convert to label ids and add the ego vehicle, as in the real files."""
    ids = to_label_ids(torch.from_numpy(train_ids)).numpy()
    ids[-3:] = 1  # ego vehicle
    return ids


def _instances(scene: Scene, image: int, categories: Sequence[int]) -> list[dict]:
    return [
        {
            "image_id": image,
            "category_id": number,
            "iscrowd": 0,
            "segmentation": [[float(v) for corner in outline(item) for v in corner]],
        }
        for item, number in zip(scene.objects, categories)
    ]


def _box(scene: Scene, image: int, category: int) -> dict:
    bottom, right = scene.height / 2, scene.width / 2
    corners = [0.0, 0.0, right, 0.0, right, bottom, 0.0, bottom]
    return {"image_id": image, "category_id": category, "iscrowd": 0, "segmentation": [corners]}


def _crowd(scene: Scene, image: int) -> dict:
    """The lower quarter of the image, as uncompressed runs (column by column, starting with zeros)."""
    height, width = scene.height, scene.width
    low = height // 4
    runs = [height - low, low] * width
    return {
        "image_id": image,
        "category_id": _CATEGORY["person"],
        "iscrowd": 1,
        "segmentation": {"size": [height, width], "counts": runs},
    }


def _write_list(path: Path, names: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


def _save(picture: np.ndarray | Image.Image, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(path, **options)
