"""Pictures, label maps, lists and folders that cannot be read: one line with the file and the fix."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gcnlab.cli.predict import Predict
from gcnlab.cli.vrf import pictures_in
from gcnlab.datasets import (
    CAMVID,
    CamVid,
    Cityscapes,
    ImageNet,
    SBDSegmentation,
    VOCSegmentation,
    read_image,
    read_labels,
)
from gcnlab.datasets.ids import check_labels
from gcnlab.datasets.miniature import make_cityscapes, make_imagenet, make_sbd, make_voc
from gcnlab.evaluation import BoundaryIoU, ConfusionMatrix, DistanceCounts, boundary_mask
from tests.bad_input.refusal import refused

COLOURS = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)
IDS = (COLOURS[..., 0] % 11).copy()
MAP = torch.from_numpy(IDS).long()

Case = tuple[Callable[[Path], object], tuple[str, ...]]
"""Makes the input in a folder and reads it; the words that the refusal must hold."""


def saved(pixels: np.ndarray, path: Path, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def floats(low: float, high: float, **at: float) -> Callable[[Path], object]:
    """A float TIFF from `low` to `high`, with another value at one pixel."""
    values = np.linspace(low, high, 64, dtype=np.float32).reshape(8, 8)
    values[3, 4] = at.get("one", low)
    return lambda folder: read_image(saved(values, folder / "grey.tif"))


def cut(name: str, keep: float, read=read_image, **options) -> Callable[[Path], object]:
    """A truncated picture."""

    def call(folder: Path) -> object:
        path = saved(COLOURS if read is read_image else IDS, folder / name, **options)
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])
        return read(path)

    return call


def frames(name: str, read=read_image) -> Callable[[Path], object]:
    def call(folder: Path) -> object:
        first, second = Image.fromarray(IDS), Image.fromarray(255 - IDS)
        first.save(folder / name, save_all=True, append_images=[second])
        return read(folder / name)

    return call


def label(name: str, pixels=IDS, **options) -> Callable[[Path], object]:
    return lambda folder: read_labels(saved(pixels, folder / name, **options))


def content(name: str, of: bytes, read=read_image) -> Callable[[Path], object]:
    def call(folder: Path) -> object:
        (folder / name).write_bytes(of)
        return read(folder / name)

    return call


def voc_list(of: bytes) -> Callable[[Path], object]:
    def call(folder: Path) -> object:
        tree = make_voc(folder)
        (tree / "ImageSets" / "Segmentation" / "train.txt").write_bytes(of)
        return VOCSegmentation("train", tree)

    return call


def sbd_list(of: str) -> Callable[[Path], object]:
    def call(folder: Path) -> object:
        tree = make_sbd(folder)
        (tree / "dataset" / "train.txt").write_text(of)
        return SBDSegmentation("train", tree)

    return call


def camvid(line: str = "", label: bool = True) -> Callable[[Path], object]:
    """One image; with `line`, a list of it and of that line."""

    def call(folder: Path) -> object:
        for part in ("train", "trainannot"):
            (folder / part).mkdir()
        saved(COLOURS, folder / "train" / "a.png")
        if label:
            saved(IDS, folder / "trainannot" / "a.png")
        if line:
            (folder / "train.txt").write_text(f"train/a.png trainannot/a.png\n{line}\n")
        return CamVid("train", folder)

    return call


def jpeg_label(folder: Path) -> object:
    data = camvid()(folder)
    saved(IDS, folder / "trainannot" / "a.png", format="JPEG")
    return data[0]


def only_apple_doubles(folder: Path) -> object:
    tree = make_imagenet(folder)
    for image in list((tree / "train").rglob("*.JPEG")):
        image.rename(image.with_name(f"._{image.name}"))
    return ImageNet("train", tree)


def only_hidden_cities(folder: Path) -> object:
    split = make_cityscapes(folder) / "leftImg8bit" / "train"
    for city in list(split.iterdir()):
        shutil.move(city, split / f".{city.name}")
    return Cityscapes("train", split.parents[1])


def only_hidden_pictures(folder: Path) -> object:
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\0\5\26\7")
    return pictures_in(folder)


def two_spellings(folder: Path) -> object:
    tree = make_voc(folder)
    image = tree / "JPEGImages" / "2007_000032.jpg"
    shutil.copy(image, image.with_suffix(".JPG"))
    image.rename(image.with_suffix(".Jpg"))
    return VOCSegmentation("train", tree)


def turned_tiff(folder: Path) -> object:
    exif = Image.Exif()
    exif[0x0112] = 6
    return read_labels(saved(IDS, folder / "a.tif", exif=exif))


def dangling_link(folder: Path) -> object:
    data = camvid()(folder)
    os.remove(folder / "train" / "a.png")
    (folder / "train" / "a.png").symlink_to("annex/objects/a.png")
    return data[0]


DEEP = "save it with 8 or 16 bits"
LOSSY = "use the original PNGs"
WRONG = MAP.clone()
WRONG[0, 0], WRONG[0, 1] = 77, -1
FAR = torch.ones(MAP.shape)

CASES: dict[str, Case] = {
    # Pictures
    "floats that are percent": (floats(0, 100), ("grey.tif", "0 … 100", DEEP)),
    "floats below black": (floats(-0.5, 1), ("grey.tif", "-0.5 … 1", "scale the values")),
    "floats with NaN": (floats(0, 1, one=float("nan")), ("grey.tif", "NaN", "replace them")),
    "floats with infinity": (floats(0, 1, one=float("inf")), ("grey.tif", "replace them")),
    "integers of 32 bits": (
        lambda f: read_image(saved(COLOURS[..., 0].astype(np.int32), f / "deep.tif")),
        ("deep.tif", "32 bits", DEEP),
    ),
    "a deep TIFF whose 0 is white": (
        lambda f: read_image(
            saved(IDS.astype(np.uint16) * 257, f / "negative.tif", tiffinfo={262: 0})
        ),
        ("negative.tif", "0 is white", DEEP),
    ),
    "half a JPEG": (cut("a.jpg", 0.7), ("a.jpg", "damaged")),
    "half a progressive JPEG": (cut("a.jpg", 0.9, progressive=True), ("a.jpg", "damaged")),
    "half a PNG": (cut("a.png", 0.5), ("a.png", "damaged")),
    "half a TIFF": (cut("a.tif", 0.5), ("a.tif", "damaged")),
    "half a WebP": (cut("a.webp", 0.5), ("a.webp", "damaged")),
    "half a BMP": (cut("a.bmp", 0.5), ("a.bmp", "damaged")),
    "a file of no bytes": (content("a.png", b""), ("a.png", "not an image")),
    "a picture of no columns": (content("a.pgm", b"P5 0 4 255\n"), ("a.pgm", "not an image")),
    "a text under a picture's name": (content("a.jpg", b"<html>"), ("a.jpg", "not an image")),
    "an AppleDouble by name": (content("._a.png", b"\0\5\26\7"), ("._a.png", "not an image")),
    "a GIF that moves": (frames("a.gif"), ("a.gif", "holds 2 images", "separate file")),
    "a PNG that moves": (frames("a.png"), ("a.png", "holds 2 images")),
    "a TIFF of many pages": (frames("a.tif"), ("a.tif", "holds 2 images")),
    "a folder in a picture's place": (read_image, ("is a folder", "specify the images in it")),
    "a picture that is not there": (
        lambda f: read_image(f / "none.jpg"),
        ("none.jpg does not exist",),
    ),
    "a link into an annex that is not fetched": (dangling_link, ("train/a.png does not exist",)),
    "no picture to predict": (lambda f: Predict(f, ())(), ("name at least one image",)),
    # Label maps
    "a JPEG under a PNG's name": (label("ids.png", format="JPEG"), ("ids.png", "JPEG", LOSSY)),
    "a JPEG among CamVid's labels": (jpeg_label, ("trainannot/a.png", "JPEG", LOSSY)),
    "a TIFF with JPEG inside": (label("ids.tif", compression="jpeg"), ("ids.tif", "jpeg", LOSSY)),
    "a JPEG 2000": (label("ids.jp2"), ("ids.jp2", "JPEG2000", LOSSY)),
    "a lossy WebP": (label("ids.png", format="WEBP"), ("ids.png", "8-bit ids", "original")),
    "ids of 16 bits": (label("ids.png", IDS.astype(np.uint16)), ("ids.png", "16 bits", "8-bit")),
    "ids of 16 bits, the other way round": (
        label("ids.tif", IDS.astype(">u2")),
        ("ids.tif", "16 bits", "use the 8-bit class ids"),
    ),
    "floats for ids": (label("ids.tif", IDS.astype(np.float32)), ("ids.tif", "use the 8-bit")),
    "a mask of one bit": (label("ids.png", IDS > 3), ("ids.png", "a mask, not class ids")),
    "colours for ids": (label("ids.png", COLOURS), ("ids.png", "use the original PNGs")),
    "grey whose 0 is white": (
        label("ids.tif", tiffinfo={262: 0}),
        ("ids.tif", "invert", "save the ids with 0 as black"),
    ),
    "a PGM that is scaled": (
        content("ids.pgm", b"P5 2 1 20\n\0\1", read_labels),
        ("ids.pgm", "0 … 20", "save the ids with 8 bits"),
    ),
    "a label map that moves": (frames("ids.gif", read_labels), ("ids.gif", "separate file")),
    "a label map that is turned": (turned_tiff, ("a.tif", "orientation", "save it without")),
    "half a label map": (cut("ids.png", 0.7, read_labels), ("ids.png", "damaged")),
    # Ids
    "ids that are no classes": (
        lambda _: ConfusionMatrix(11).update(MAP, WRONG),
        ("labels contain ids [-1, 77]", "0 … 10"),
    ),
    "predictions that are no classes": (
        lambda _: BoundaryIoU(11).update(WRONG, MAP),
        ("predictions contain ids [-1, 77]", "0 … 10"),
    ),
    "a curve of scores": (
        lambda _: DistanceCounts(11).update(MAP.float(), MAP, FAR),
        ("predictions", "float32", "argmax(1)"),
    ),
    "the boundary of a mask": (lambda _: boundary_mask(MAP > 3), ("labels", "bools", ".long()")),
    "the boundary of negative ids": (lambda _: boundary_mask(WRONG), ("[-1]", "0 or more")),
    "colours of ids that have none": (lambda _: CAMVID.colorize(WRONG), ("[-1, 77]", "0 … 10")),
    "a label map of floats": (
        lambda _: check_labels(MAP.double(), 11, "street.png"),
        ("street.png", "float64", ".long()"),
    ),
    # Lists
    "names with endings": (
        voc_list(b"2007_000039\n2007_000032.jpg\n"),
        ("train.txt:2", "without folder or extension", ": 2007_000032"),
    ),
    "paths for names": (
        voc_list(b"SegmentationClass/2007_000032\n"),
        ("train.txt:1", "is a path", "use only the name: 2007_000032"),
    ),
    "paths from Windows": (
        sbd_list("img\\2008_000002\n"),
        ("train.txt:1", "only the name: 2008_000002"),
    ),
    "a list of VOC's Main task": (
        voc_list(b"2007_000032  1\r\n2007_000039 -1\r\n"),
        ("train.txt:1", "two columns", "ImageSets/Segmentation"),
    ),
    "pairs for names": (
        voc_list(b"JPEGImages/a.jpg SegmentationClassAug/a.png\n"),
        ("train.txt:1", "one name per line"),
    ),
    "a list in Latin-1": (
        voc_list("2007_000032\ncafé\n".encode("latin-1")),
        ("train.txt:2", "save it as UTF-8"),
    ),
    "a list in UTF-16 without its mark": (
        voc_list("2007_000032\n".encode("utf-16-le")),
        ("train.txt:1", "UTF-8"),
    ),
    "a picture under a list's name": (voc_list(b"\xff\xd8\xff\xe0"), ("train.txt:1", "UTF-8")),
    "a list made of hidden files": (
        sbd_list("2008_000002\n._2008_000002\n"),
        ("train.txt:2", "hidden", "remove it"),
    ),
    "a name twice": (
        sbd_list("2008_000002\n\n2008_000002\n"),
        ("train.txt:3", "twice", "on line 1", "remove one"),
    ),
    "an empty list": (voc_list(b"\xef\xbb\xbf\r\n \r\n"), ("train.txt", "empty split")),
    "a list with a name that is not there": (
        voc_list(b"2007_999999\n"),
        ("2007_999999.jpg is missing", "gcnlab data get voc"),
    ),
    "CamVid's list with names": (camvid("a a"), ("train.txt:2", "train/NAME.png")),
    "CamVid's list with blanks": (
        camvid("train/b c.png trainannot/b c.png"),
        ("train.txt:2", "expected two paths, found 4", "without spaces"),
    ),
    "CamVid's list with an image twice": (
        camvid("CamVid\\train\\a.png CamVid\\trainannot\\a.png"),
        ("train.txt:2", "a.png is listed twice", "remove one"),
    ),
    # Folders
    "an image without its label": (camvid(label=False), ("trainannot/a.png is missing", "unpack")),
    "a folder of hidden files": (only_hidden_pictures, ("no images in",)),
    "ImageNet's folders with AppleDoubles alone": (only_apple_doubles, ("train: no images",)),
    "Cityscapes' cities hidden": (only_hidden_cities, ("train: no files CITY/*_leftImg8bit.png",)),
    "two files of one name": (two_spellings, ("2007_000032.JPG and 2007_000032.Jpg", "remove one")),
}


@pytest.mark.parametrize("what", CASES)
def test_bad_input_is_refused_in_one_line(tmp_path, what):
    call, words = CASES[what]
    refused(lambda: call(tmp_path), *words)


def test_there_are_as_many_kinds_as_promised():
    assert len(CASES) >= 25
