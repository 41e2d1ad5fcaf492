"""Inspect the files of a data set: compare counts with the paper, and read every image and label
map.

Each split is inspected separately. A split that cannot be opened (a folder or file is missing, or a
city is in another split's folder) counts as one problem; otherwise every image and label map is
read.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gcnlab.datasets.camvid import CamVid
from gcnlab.datasets.cityscapes import Cityscapes, cityscapes_train_with_coarse
from gcnlab.datasets.coco import COCOAsVOC, voc_sbd_coco_train
from gcnlab.datasets.files import data_root
from gcnlab.datasets.imagenet import ImageNet
from gcnlab.datasets.voc import SBDSegmentation, VOCSegmentation, voc_sbd_train
from gcnlab.datasets.voc_animals import VOCAnimals


@dataclass(frozen=True)
class ExpectedSplit:
    """A split and what it should contain.

    Attributes:
        name: name of the split.
        open: called with the folder of all data sets, returns the data set.
        count: expected number of images; None if unknown.
        read: whether to read its files; False only counts them (another split reads them).
    """

    name: str
    open: Callable[[Path], Any]
    count: int | None
    read: bool = True


def _voc(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


EXPECTED_SPLITS: dict[str, tuple[ExpectedSplit, ...]] = {
    "voc": (
        ExpectedSplit("train", lambda r: VOCSegmentation("train", _voc(r)), 1464),
        ExpectedSplit("val", lambda r: VOCSegmentation("val", _voc(r)), 1449),
    ),
    "voc-test": (ExpectedSplit("test", lambda r: VOCSegmentation("test", _voc(r)), 1456),),
    "sbd": (
        ExpectedSplit("train", lambda r: SBDSegmentation("train", r / "benchmark_RELEASE"), 8498),
        ExpectedSplit("val", lambda r: SBDSegmentation("val", r / "benchmark_RELEASE"), 2857),
        ExpectedSplit(
            "VOC + SBD, without VOC val",
            lambda r: voc_sbd_train(_voc(r), r / "benchmark_RELEASE"),
            10582,
            read=False,
        ),
    ),
    "voc-animals": (
        ExpectedSplit("train", lambda r: VOCAnimals("train", r), 3131),
        ExpectedSplit("val", lambda r: VOCAnimals("val", r), 300),
    ),
    "coco": (
        ExpectedSplit("train", lambda r: COCOAsVOC("train", r / "coco"), None),
        ExpectedSplit("val", lambda r: COCOAsVOC("val", r / "coco"), None),
        ExpectedSplit(
            "COCO + VOC + SBD, without VOC val",
            lambda r: voc_sbd_coco_train(_voc(r), r / "benchmark_RELEASE", r / "coco"),
            109892,
            read=False,
        ),
    ),
    "cityscapes": (
        ExpectedSplit("train", lambda r: Cityscapes("train", r / "cityscapes"), 2975),
        ExpectedSplit("val", lambda r: Cityscapes("val", r / "cityscapes"), 500),
        ExpectedSplit("test", lambda r: Cityscapes("test", r / "cityscapes"), 1525),
    ),
    "cityscapes-coarse": (
        ExpectedSplit(
            "train_extra",
            lambda r: Cityscapes("train_extra", r / "cityscapes", coarse=True),
            19998,
        ),
        ExpectedSplit(
            "train_extra + train",
            lambda r: cityscapes_train_with_coarse(r / "cityscapes"),
            22973,
            read=False,
        ),
    ),
    "imagenet": (
        ExpectedSplit("train", lambda r: ImageNet("train", r / "imagenet"), 1281167),
        ExpectedSplit("val", lambda r: ImageNet("val", r / "imagenet"), 50000),
    ),
    "camvid": (
        ExpectedSplit("train", lambda r: CamVid("train", r / "camvid"), 367),
        ExpectedSplit("val", lambda r: CamVid("val", r / "camvid"), 101),
        ExpectedSplit("test", lambda r: CamVid("test", r / "camvid"), 233),
    ),
}
"""Name of a data set → its splits, with the official counts (paper, sections 4.1 and 4.2; VOC animals
is our own selection)."""

IMAGE_SIZES = {"cityscapes": (1024, 2048), "cityscapes-coarse": (1024, 2048)}
"""(height, width) of every image of a data set."""


@dataclass
class SplitReport:
    """The result of inspecting one split.

    Attributes:
        split: the split.
        images: number of images found.
        problems: messages, each naming a file or a count.
    """

    split: ExpectedSplit
    images: int = 0
    problems: list[str] = field(default_factory=list)


def inspect_dataset(
    name: str,
    root: Path | None = None,
    workers: int = 0,
    counts: bool = True,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[SplitReport]:
    """Inspect a data set, split by split.

    Args:
        name: a key of `EXPECTED_SPLITS`.
        root: folder of all data sets; None means `data_root()`.
        workers: number of processes that read; 0 reads in this process.
        counts: compare counts and sizes with the official ones; False inspects only files and ids.
        on_image: called with (done, total) while a split is read.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in EXPECTED_SPLITS:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(EXPECTED_SPLITS)}")
    root = data_root() if root is None else Path(root)
    for split in EXPECTED_SPLITS[name]:
        report = SplitReport(split)
        try:
            dataset = split.open(root)
        except (FileNotFoundError, ValueError) as error:
            report.problems.append(str(error))
            yield report
            continue
        report.images = len(dataset)
        if counts and split.count is not None and report.images != split.count:
            report.problems.append(
                f"{split.name}: {report.images:,} images, expected {split.count:,}"
            )
        if split.read:
            size = IMAGE_SIZES.get(name) if counts else None
            for done, problem in enumerate(_read(dataset, size, workers), start=1):
                on_image(done, report.images)
                if problem:
                    report.problems.append(problem)
        yield report


def _read(dataset: Any, size: tuple[int, int] | None, workers: int) -> Iterator[str]:
    """Describe the problem of each image; "" if there is none."""
    if workers == 0:
        for index in range(len(dataset)):
            yield _problem(dataset, index, size)
        return
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_take, initargs=(dataset, size)
    ) as pool:
        yield from pool.map(_problem_of_taken, range(len(dataset)), chunksize=16)


def _problem(dataset: Any, index: int, size: tuple[int, int] | None) -> str:
    try:
        image, _ = dataset[index]
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    if size is not None and tuple(image.shape[-2:]) != size:
        height, width = image.shape[-2:]
        return f"{dataset.name(index)}: {width}×{height}, expected {size[1]}×{size[0]}"
    return ""


_taken: tuple = ()


def _take(*arguments: Any) -> None:
    """Store the data set in a worker process, so that it is sent only once."""
    global _taken
    _taken = arguments


def _problem_of_taken(index: int) -> str:
    return _problem(_taken[0], index, _taken[1])
