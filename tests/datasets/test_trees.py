"""Folders with files of the operating system, upper-case extensions, and both Unicode spellings."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from gcnlab.datasets import (
    CamVid,
    Cityscapes,
    COCOAsVOC,
    ImageNet,
    SBDSegmentation,
    VOCSegmentation,
    voc_sbd_train,
)
from gcnlab.datasets.inspection import inspect_dataset
from gcnlab.datasets.miniature import VOC_NAMES
from gcnlab.datasets.trees import folders_in, pictures_in, require_files
from tests.datasets.test_camvid import write_split

APPLE_DOUBLE = b"\0\5\26\7\0\2\0\0Mac OS X        "
LEFT = ("._{0}", ".DS_Store", "Thumbs.db", "desktop.ini")
NFC, NFD = (unicodedata.normalize(form, "café_über") for form in ("NFC", "NFD"))

READERS = {
    "voc": lambda r: VOCSegmentation("train", r / "VOCdevkit" / "VOC2012"),
    "sbd": lambda r: SBDSegmentation("train", r / "benchmark_RELEASE"),
    "coco": lambda r: COCOAsVOC("train", r / "coco"),
    "cityscapes": lambda r: Cityscapes("train", r / "cityscapes"),
    "imagenet": lambda r: ImageNet("train", r / "imagenet"),
    "camvid": lambda r: CamVid("train", r / "camvid"),
}


@pytest.fixture
def trees(root):
    """The miniatures, and CamVid as folders."""
    write_split(root / "camvid")
    return root


def contents(data):
    """The names, images and labels of a data set."""
    names = [data.name(i) for i in range(len(data))]
    return names, [tuple(np.asarray(part).tobytes() for part in data[i]) for i in range(len(data))]


def leave_behind(root):
    """Add the files that macOS, Windows, Jupyter and a network disk leave in every folder."""
    for folder, _, files in list(os.walk(root)):
        for name in files:
            for left in LEFT:
                with open(os.path.join(folder, left.format(name)), "wb") as file:
                    file.write(APPLE_DOUBLE)
        for hidden in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            os.mkdir(os.path.join(folder, hidden))
            for name in files:
                with open(os.path.join(folder, hidden, name), "wb") as file:
                    file.write(APPLE_DOUBLE)


@pytest.mark.parametrize("name", READERS)
def test_what_systems_leave_is_passed_over(trees, name):
    expected = contents(READERS[name](trees))
    leave_behind(trees)
    assert contents(READERS[name](trees)) == expected


@pytest.mark.parametrize("name", ["voc", "sbd", "cityscapes", "imagenet"])
def test_the_check_of_a_tree_passes_over_it_too(trees, name):
    leave_behind(trees)
    assert not [p for report in inspect_dataset(name, trees, counts=False) for p in report.problems]


@pytest.mark.parametrize("name", READERS)
def test_endings_in_upper_case(trees, name):
    expected = contents(READERS[name](trees))
    for folder, _, files in list(os.walk(trees)):
        for file in files:
            stem, ending = os.path.splitext(file)
            if ending.lower() in (".jpg", ".jpeg", ".png", ".mat"):
                os.rename(os.path.join(folder, file), os.path.join(folder, stem + ending.upper()))
    assert contents(READERS[name](trees)) == expected


@pytest.mark.parametrize("on_disk", [NFC, NFD])
@pytest.mark.parametrize("in_list", [NFC, NFD])
def test_the_two_spellings_of_an_accent_are_one_name(trees, on_disk, in_list):
    tree, name = trees / "VOCdevkit" / "VOC2012", VOC_NAMES["train"][0]
    for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (tree / folder / f"{name}.{ending}").rename(tree / folder / f"{on_disk}.{ending}")
    listing = tree / "ImageSets" / "Segmentation" / "train.txt"
    listing.write_text(listing.read_text().replace(name, in_list), encoding="utf-8")
    data = READERS["voc"](trees)
    assert data.name(0) == NFC
    assert data[0][1].shape == data[0][0].shape[-2:]


def test_a_validation_image_in_another_spelling_is_not_trained_on(trees):
    """SBD's list has it composed, VOC's decomposed: by bytes they are two images."""
    voc, sbd = trees / "VOCdevkit" / "VOC2012", trees / "benchmark_RELEASE" / "dataset"
    name = VOC_NAMES["val"][0]
    files = [voc / "JPEGImages" / f"{name}.jpg", voc / "SegmentationClass" / f"{name}.png"]
    for file in files:
        file.rename(file.with_stem(NFD))
    for file in (sbd / "img" / f"{name}.jpg", sbd / "cls" / f"{name}.mat"):
        file.rename(file.with_stem(NFC))
    for listing, spelled in (
        (voc / "ImageSets" / "Segmentation" / "val.txt", NFD),
        (sbd / "train.txt", NFC),
    ):
        listing.write_text(listing.read_text().replace(name, spelled), encoding="utf-8")
    merged = voc_sbd_train(voc, sbd.parent)
    assert NFC not in [merged.name(i) for i in range(len(merged))]


def test_a_folder_of_pictures_is_listed_in_order(tmp_path):
    for name in ("b.PNG", "a b.jpg", "c.JPEG", "._a.png", "d.txt", "e"):
        (tmp_path / name).touch()
    (tmp_path / "f.png").mkdir()
    (tmp_path / "g.png").symlink_to("nowhere.png")  # reading it says what is wrong
    assert [path.name for path in pictures_in(tmp_path)] == ["a b.jpg", "b.PNG", "c.JPEG", "g.png"]
    (tmp_path / ".git").mkdir()
    assert [path.name for path in folders_in(tmp_path)] == ["f.png"]


def test_names_with_blanks_are_read_from_folders(tmp_path):
    root = write_split(tmp_path)
    for folder, ending in (("train", "jpg"), ("trainannot", "png")):
        (root / folder / f"a_1.{ending}").rename(root / folder / f"a street.{ending}")
    assert CamVid("train", root).name(0) == "a street"


def test_of_two_spellings_on_a_disk_the_asked_one_is_taken(tmp_path):
    for name in ("a.jpg", "a.JPG"):
        (tmp_path / name).touch()
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("this disk does not tell a.jpg from a.JPG")
    assert require_files([tmp_path / "a.jpg", None], "set", "fetch it") == [
        tmp_path / "a.jpg",
        None,
    ]
    with pytest.raises(ValueError, match=r"a\.JPG and a\.jpg both match a\.Jpg: remove one"):
        require_files([tmp_path / "a.Jpg"], "set", "fetch it")


def test_the_case_of_a_name_itself_counts(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "A.png")
    if (tmp_path / "a.png").exists():
        pytest.skip("this disk does not tell a.png from A.png")
    with pytest.raises(FileNotFoundError, match=r"a\.png is missing"):
        require_files([tmp_path / "a.png"], "set", "fetch it")
