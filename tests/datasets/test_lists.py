"""Lists in all encodings, with any line ends and blanks; an invalid name is reported with its line."""

import codecs
import re

import pytest

from gcnlab.datasets import CamVid, ImageNet, SBDSegmentation, VOCSegmentation
from gcnlab.datasets.lists import read_lines, read_names
from gcnlab.datasets.miniature import VOC_NAMES
from tests.datasets.test_camvid import with_list
from tests.datasets.test_imagenet import flatten_val

NAMES = ["2007_000032", "é_über", "日本", "v1.2"]

WRITTEN = {
    "Unix": "\n".join(NAMES) + "\n",
    "no end of the last line": "\n".join(NAMES),
    "Windows": "\r\n".join(NAMES) + "\r\n",
    "old Mac": "\r".join(NAMES) + "\r",
    "all three": f"{NAMES[0]}\r\n{NAMES[1]}\r{NAMES[2]}\n{NAMES[3]}",
    "trailing blanks": "".join(f"{name} \t\n" for name in NAMES),
    "leading blanks": "".join(f"  {name}\n" for name in NAMES),
    "blanks that do not break": "".join(f"{name}\xa0\n" for name in NAMES),
    "blank lines": "\n\n" + "\n \n".join(NAMES) + "\n\n\n",
    "two marked files, one after the other": f"{NAMES[0]}\n\ufeff" + "\n".join(NAMES[1:]),
}
ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "UTF-16 little": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16 big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("written", WRITTEN)
def test_the_same_names_however_they_are_written(tmp_path, written, encoding):
    listing = tmp_path / "train.txt"
    listing.write_bytes(ENCODINGS[encoding](WRITTEN[written]))
    assert read_names(listing, "fetch it") == NAMES


def test_the_language_of_the_machine_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "cp1252")
    (tmp_path / "train.txt").write_bytes("é\n".encode())
    assert read_names(tmp_path / "train.txt", "fetch it") == ["é"]


def test_lines_keep_their_numbers(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\n\r\n one \r\rtwo")
    assert read_lines(tmp_path / "a.txt") == [(3, "one"), (5, "two")]


def test_characters_that_end_no_line(tmp_path):
    """str.splitlines treats these characters as line ends."""
    (tmp_path / "a.txt").write_text("a\u2028b\nc\x85d\n", encoding="utf-8")
    assert read_lines(tmp_path / "a.txt") == [(1, "a\u2028b"), (2, "c\x85d")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "JPEGImages/2007_000032.jpg",
            "has a file extension; use the name without folder or extension: 2007_000032",
        ),
        ("JPEGImages\\2007_000032", "is a path; use only the name: 2007_000032"),
        (
            "C:\\VOC\\JPEGImages\\2007_000032.jpg",
            "has a file extension; use the name without folder or extension: 2007_000032",
        ),
        (
            "2007_000032.jpg",
            "has a file extension; use the name without folder or extension: 2007_000032",
        ),
        ("2007_000032.PNG", "has a file extension"),
        ("2008_000002.mat", "has a file extension"),
        ("2007_000032 1", "has two columns, as in the lists of VOC's Main task"),
        ("2007_000032 -1", "has two columns"),
        ("2007_000032  0", "has two columns"),
        ("2007_000032 2007_000039", "is not one name"),
        ("# the first split", "is not one name"),
        ("/JPEGImages/a.jpg /SegmentationClassAug/a.png", "is not one name"),
        ("._2007_000032", "is the name of a hidden file: remove it"),
    ],
)
@pytest.mark.parametrize("reader", ["voc", "sbd"])
def test_a_line_that_is_no_name_is_named(root, reader, line, words):
    tree = root / "VOCdevkit" / "VOC2012"
    listing, make = {
        "voc": (
            tree / "ImageSets" / "Segmentation" / "train.txt",
            lambda: VOCSegmentation("train", tree),
        ),
        "sbd": (
            root / "benchmark_RELEASE" / "dataset" / "train.txt",
            lambda: SBDSegmentation("train", root / "benchmark_RELEASE"),
        ),
    }[reader]
    listing.write_text("2007_000039\n\n" + line + "\n")
    with pytest.raises(ValueError, match=re.escape("train.txt:3: " + repr(line) + " " + words)):
        make()


def test_a_name_twice_is_named_with_both_lines(tmp_path):
    (tmp_path / "a.txt").write_text("x\n\ny\nx\n")
    with pytest.raises(ValueError, match=r"a\.txt:4: x is listed twice, first on line 1"):
        read_names(tmp_path / "a.txt", "fetch it")
    (tmp_path / "a.txt").write_text("e\u0301\n\u00e9\n", encoding="utf-8")  # é, in both spellings
    with pytest.raises(ValueError, match=r"a\.txt:2: é is listed twice"):
        read_names(tmp_path / "a.txt", "fetch it")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\nb\nä\n".encode("latin-1"), "a.txt:3: not UTF-8 text: save it as UTF-8"),
        ("a\r\nä\r\n".encode("cp1252"), "a.txt:2: not UTF-8 text"),
        ("a\nb\n".encode("utf-16-le"), "a.txt:1: contains zero bytes: save the list as UTF-8"),
        (codecs.BOM_UTF32_LE + "a\n".encode("utf-32-le"), "contains zero bytes"),
        (codecs.BOM_UTF16_LE + b"a\0b", "a.txt:1: not UTF-16 text"),
        (codecs.BOM_UTF8 + b" \r\n", "a.txt: empty split"),
        (b"", "a.txt: empty split"),
    ],
)
def test_what_is_no_list_is_named(tmp_path, content, words):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        read_names(tmp_path / "a.txt", "fetch it")


# --- The readers' lists


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_reader_takes_every_list(root, encoding, end):
    def rewrite(listing):
        listing.write_bytes(ENCODINGS[encoding](end.join([*listing.read_text().split("\n"), ""])))

    tree, sbd = root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset"
    camvid = with_list(root / "camvid", ";")
    kit = flatten_val(root)
    expected = ImageNet("val", root / "imagenet").items
    rewrite(tree / "ImageSets" / "Segmentation" / "train.txt")
    rewrite(sbd / "train.txt")
    rewrite(camvid / "train.txt")
    rewrite(kit / "ILSVRC2012_validation_ground_truth.txt")
    voc = VOCSegmentation("train", tree)
    assert [voc.name(i) for i in range(len(voc))] == list(VOC_NAMES["train"])
    assert len(SBDSegmentation("train", root / "benchmark_RELEASE")) == 6
    assert [path.stem for path in CamVid("train", camvid).images] == ["b_0", "a_1"]
    assert ImageNet("val", root / "imagenet").items == expected


@pytest.mark.parametrize(
    "written",
    [
        "train\\{0}.png trainannot\\{0}.png",
        "C:\\CamVid\\train\\{0}.png C:\\CamVid\\trainannot\\{0}.png;",
        "train/{0}.png\ttrainannot/{0}.png",
        "./train/{0}.png ./trainannot/{0}.png ",
        "train/{0}.PNG trainannot/{0}.Png",
    ],
)
def test_camvids_paths_in_other_hands(tmp_path, written):
    root = with_list(tmp_path, ";")
    (root / "train.txt").write_text("".join(written.format(n) + "\r\n" for n in ("b_0", "a_1")))
    data = CamVid("train", root)
    assert [path.name for path in data.images] == ["b_0.png", "a_1.png"]
    assert [path.name for path in data.label_files] == ["b_0.png", "a_1.png"]
    assert data[0][0].shape == (3, 12, 16)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train/a_1.png", "expected two paths, found 1: write IMAGE LABEL"),
        ("train/a 1.png trainannot/a 1.png", "expected two paths, found 4"),
        ("a_1 a_1", "'a_1' is not the path of an image"),
        ("train/a_1 trainannot/a_1", "'train/a_1' is not the path of an image"),
        ("train/../a_1.png trainannot/a_1.png", "'train/../a_1.png' is not the path of an image"),
        ("train/._a_1.png trainannot/._a_1.png", "'._a_1.png' is the name of a hidden file"),
        ("x/train/b_0.png trainannot/b_0.png", "b_0.png is listed twice, first on line 1"),
    ],
)
def test_a_line_of_camvid_that_is_no_pair_is_named(tmp_path, line, words):
    root = with_list(tmp_path, ";")
    first, *_ = (root / "train.txt").read_text().splitlines()
    (root / "train.txt").write_text(f"{first}\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(f"train.txt:2: {words}")):
        CamVid("train", root)


def test_a_line_of_imagenets_truth_that_is_no_number_is_named(root):
    truth = flatten_val(root) / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1\nn01440764\n" + truth.read_text())
    with pytest.raises(ValueError, match=r"ground_truth\.txt:2: 'n01440764' is not a class number"):
        ImageNet("val", root / "imagenet")
