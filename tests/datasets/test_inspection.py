"""gcnlab data check and get: trees with one error each, and a server that breaks off."""

import hashlib
import io
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from gcnlab.cli import main
from gcnlab.datasets.download import SOURCES, Archive, download, fetch, unpack
from gcnlab.datasets.inspection import EXPECTED_SPLITS, inspect_dataset
from gcnlab.datasets.miniature import MAKERS, make_voc

pytestmark = pytest.mark.slow

# --- check

SETS = (
    "voc",
    "voc-test",
    "sbd",
    "voc-animals",
    "coco",
    "cityscapes",
    "cityscapes-coarse",
    "imagenet",
)


@pytest.mark.parametrize("name", SETS)
def test_a_whole_tree_has_no_problems_but_the_counts(drawn, name):
    assert [report.problems for report in inspect_dataset(name, drawn, counts=False)] == [[]] * len(
        EXPECTED_SPLITS[name]
    )
    for report in inspect_dataset(name, drawn):
        expected = report.split.count is not None
        assert any("expected" in p for p in report.problems) == expected


def test_the_counts_are_the_papers():
    count = {
        (name, part.name): part.count for name, parts in EXPECTED_SPLITS.items() for part in parts
    }
    assert count["sbd", "VOC + SBD, without VOC val"] == 10_582
    assert count["coco", "COCO + VOC + SBD, without VOC val"] == 109_892
    assert [count["cityscapes", split] for split in ("train", "val", "test")] == [2975, 500, 1525]
    assert count["cityscapes-coarse", "train_extra + train"] == 22_973
    assert count["cityscapes-coarse", "train_extra"] + 2975 == 22_973


def test_every_problem_is_found_and_named(root):
    tree = root / "VOCdevkit" / "VOC2012"
    Image.new("L", (5, 5), 77).save(tree / "SegmentationClass" / "2007_000032.png")
    (tree / "JPEGImages" / "2007_000039.jpg").write_bytes(b"\xff\xd8")
    (tree / "SegmentationClass" / "2007_000033.png").unlink()
    train, val = inspect_dataset("voc", root, counts=False)
    assert len(train.problems) == 2
    assert "2007_000032.png: label ids 77 are out of range" in train.problems[0]
    assert "2007_000039.jpg: damaged" in train.problems[1]
    (problem,) = val.problems
    assert "2007_000033.png is missing" in problem
    assert val.images == 0


def test_sizes_of_cityscapes_are_checked_where_counts_are(drawn):
    problems = [p for report in inspect_dataset("cityscapes", drawn) for p in report.problems]
    assert "aachen_000000_000019: 128×64, expected 2048×1024" in problems


def test_processes_find_what_one_finds(root):
    (root / "VOCdevkit/VOC2012/JPEGImages/2007_000039.jpg").write_bytes(b"\xff\xd8")
    seen = []
    one = [r.problems for r in inspect_dataset("voc", root)]
    two = [
        r.problems
        for r in inspect_dataset("voc", root, workers=2, on_image=lambda *a: seen.append(a))
    ]
    assert one == two
    assert seen[:6] == [(i, 6) for i in range(1, 7)]


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gcnlab", "data", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


def test_the_exit_status_tells(root, monkeypatch, capsys):
    assert command(monkeypatch, "check", "sbd", "--root", root, "--no-counts") == 0
    out = capsys.readouterr().out
    assert "VOC + SBD, without VOC val: 10 images, no problems" in out
    next((root / "benchmark_RELEASE" / "dataset" / "cls").iterdir()).write_bytes(b"no")
    assert command(monkeypatch, "check", "sbd", "--root", root, "--no-counts") == 1
    captured = capsys.readouterr()
    assert ".mat: damaged" in captured.out
    assert "gcnlab: sbd: found 1 problems" in captured.err
    assert command(monkeypatch, "check", "pascal") == 1
    assert "unknown data set 'pascal'" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_miniature_is_not_drawn_over_anything(drawn, tmp_path, name, monkeypatch, capsys):
    assert command(monkeypatch, "miniature", name, "--root", drawn) == 1
    assert "already exists: make the miniature in another folder" in capsys.readouterr().err


def test_a_miniature_is_always_the_same(drawn, tmp_path):
    again = make_voc(tmp_path)
    for file in sorted(again.rglob("*.*")):
        assert file.read_bytes() == (drawn / file.relative_to(tmp_path)).read_bytes()


# --- get


@pytest.fixture
def server():
    """Serves `files`; each answer ends after `limit` bytes, as a bad connection does."""

    class Handler(BaseHTTPRequestHandler):
        files: dict[str, bytes] = {}  # noqa: RUF012
        limit, ranges, requests = None, True, []

        def do_GET(self):
            self.requests.append(self.headers.get("Range"))
            content = self.files.get(self.path)
            if content is None:
                return self.send_error(404)
            start, asked = 0, self.headers.get("Range")
            if asked and self.ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][: self.limit])

        def log_message(self, *_):
            pass

    Handler.files, Handler.requests = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.address = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    server.server_close()


CONTENT = bytes(range(256)) * 40


def test_a_download_goes_on_where_it_stopped(server, tmp_path):
    server.files["/a.bin"], server.limit = CONTENT, 4000
    file, seen = tmp_path / "a.bin", []
    for _ in range(2):
        with pytest.raises(OSError, match=r"a\.bin: .*run the command again"):
            download(f"{server.address}/a.bin", file)
    assert not file.exists()
    assert (tmp_path / "a.bin.part").stat().st_size == 8000
    download(f"{server.address}/a.bin", file, lambda *a: seen.append(a))
    assert file.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=4000-", "bytes=8000-"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.files["/a.bin"], server.ranges = CONTENT, False
    (tmp_path / "a.bin.part").write_bytes(b"something old")
    download(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_is_whole_already(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    download(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_no_answer_and_no_such_file(server, tmp_path):
    with pytest.raises(OSError, match=r"/b\.bin: the server returned 404"):
        download(f"{server.address}/b.bin", tmp_path / "b.bin")
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:9/c"):
        download("http://127.0.0.1:9/c", tmp_path / "c")


def archives(tree):
    """The tree as a .tar and as a .zip, in memory."""
    tarred, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        archive.add(tree, arcname=tree.name)
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in tree.rglob("*"):
            archive.write(path, path.relative_to(tree.parent))
    return {"/t.tar": tarred.getvalue(), "/t.zip": zipped.getvalue()}


@pytest.mark.parametrize("kind", ["/t.tar", "/t.zip"])
def test_fetch_checks_unpacks_and_removes(server, tmp_path, kind):
    make_voc(tmp_path / "made")
    server.files = archives(tmp_path / "made" / "VOCdevkit")
    md5 = hashlib.md5(server.files[kind]).hexdigest()
    archive = Archive(server.address + kind, md5, 0.1, "VOCdevkit/VOC2012/SegmentationClass")
    fetch(archive, tmp_path / "got")
    assert [p.name for p in (tmp_path / "got").iterdir()] == ["VOCdevkit"]
    train, val = inspect_dataset("voc", tmp_path / "got", counts=False)
    assert train.images == 6
    assert not train.problems
    assert not val.problems


def test_a_file_with_another_hash_is_removed_and_never_unpacked(server, tmp_path):
    make_voc(tmp_path / "made")
    server.files = archives(tmp_path / "made" / "VOCdevkit")
    with pytest.raises(
        ValueError, match=r"t\.tar: the file has the MD5 .*, not 0000; it was removed"
    ):
        fetch(Archive(f"{server.address}/t.tar", "0000", 0.1, "VOCdevkit"), tmp_path / "got")
    assert list((tmp_path / "got").iterdir()) == []


def test_paths_that_lead_out_are_refused(tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(ValueError, match=r"bad\.tar: the archive is damaged or has unsafe paths"):
        unpack(tmp_path / "bad.tar", tmp_path / "into")
    (tmp_path / "worse.tar").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"worse\.tar: the archive is damaged"):
        unpack(tmp_path / "worse.tar", tmp_path / "into")


def test_nothing_is_downloaded_unless_agreed(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    monkeypatch.setattr("gcnlab.datasets.download.fetch", lambda *_: pytest.fail("downloads"))
    assert command(monkeypatch, "get", "voc", "--root", tmp_path) == 1
    assert "Download 2.0 GB" in asked[0]
    captured = capsys.readouterr()
    assert "Flickr" in captured.out  # the terms come first
    assert "nothing was downloaded" in captured.err


def test_what_cannot_be_downloaded_is_explained(tmp_path, monkeypatch, capsys):
    for name, words in (("cityscapes", "register"), ("imagenet", "devkit"), ("camvid", "SegNet")):
        assert command(monkeypatch, "get", name, "--root", tmp_path) == 0
        assert words in capsys.readouterr().out


def test_what_is_there_is_not_fetched_again(drawn, monkeypatch, capsys):
    monkeypatch.setattr("gcnlab.datasets.download.fetch", lambda *_: pytest.fail("downloads"))
    for name in ("voc", "sbd", "coco"):
        assert command(monkeypatch, "get", name, "--root", drawn) == 0
    assert "data check coco" in capsys.readouterr().out


def test_every_source_can_be_checked_and_has_a_whole_hash():
    assert set(SOURCES) <= set(EXPECTED_SPLITS)
    for source in SOURCES.values():
        assert all(len(archive.md5) == 32 for archive in source.archives)
