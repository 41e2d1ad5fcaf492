"""CamVid's two forms, and every way in which its files can be wrong."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from gcnlab.datasets import CamVid, data_root, read_image, read_labels

HEIGHT, WIDTH = 12, 16
IDS = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 12  # 0 … 10, void 11


def photograph(seed: int) -> np.ndarray:
    """A smooth image, which JPEG preserves."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    channels = (100 + 5 * rows, 80 + 7 * columns, np.full_like(rows, 40 * seed))
    return np.stack(channels, axis=-1).astype(np.uint8)


def save(pixels: np.ndarray, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_split(root: Path, split: str = "train", suffix: str = ".jpg", count: int = 2) -> Path:
    """A folder of images and one of labels, whose names sort backwards in time."""
    for number in range(count):
        name = f"{chr(ord('b') - number)}_{number}"
        save(photograph(number), root / split / f"{name}{suffix}", quality=95, subsampling=0)
        save((IDS + number) % 12, root / f"{split}annot" / f"{name}.png")
    return root


@pytest.fixture
def folders(tmp_path) -> Path:
    """The form with folders only: JPEG images, PNG labels."""
    return write_split(write_split(tmp_path / "camvid"), "val", count=1)


def with_list(root: Path, end: str) -> Path:
    """The form with lists: PNG images, whose names have another order."""
    write_split(root, "train", ".png")
    lines = [
        f"/SegNet/CamVid/train/{name}.png /SegNet/CamVid/trainannot/{name}.png{end}"
        for name in ("b_0", "a_1")
    ]
    (root / "train.txt").write_text("\n".join(lines) + "\n\n")
    return root


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# --- The two forms


def test_folders_pair_images_and_labels_by_name(folders):
    data = CamVid("train", folders)
    assert [data.name(i) for i in range(len(data))] == ["a_1", "b_0"]
    image, labels = data[0]
    assert np.abs(image.permute(1, 2, 0).numpy() - photograph(1).astype(int)).max() < 8  # JPEG
    expected = (IDS + 1) % 12
    expected[expected == 11] = 255
    assert np.array_equal(labels, expected)


def test_images_of_a_folder_are_in_the_order_of_their_names(tmp_path):
    for name in "caebd":
        save(photograph(1), tmp_path / "train" / f"{name}.jpg")
        save(IDS, tmp_path / "trainannot" / f"{name}.png")
    data = CamVid("train", tmp_path)
    assert [data.name(i) for i in range(5)] == list("abcde")


@pytest.mark.parametrize("end", [";", ""])
def test_a_list_gives_the_pairs_in_its_order(tmp_path, end):
    data = CamVid("train", with_list(tmp_path, end))
    assert [data.name(i) for i in range(len(data))] == ["b_0", "a_1"]
    for number in range(2):
        image, labels = data[number]
        assert np.array_equal(image.permute(1, 2, 0), photograph(number))  # PNG loses nothing
        assert np.array_equal(labels % 244, (IDS + number) % 12)  # 255 % 244 is 11


def test_only_listed_images_belong_to_the_split(tmp_path):
    root = with_list(tmp_path, ";")
    save(photograph(0), root / "train" / "c_2.png")  # no label, and not asked for
    assert len(CamVid("train", root)) == 2


def test_files_that_are_no_images_are_passed_over(folders):
    (folders / "train" / "Thumbs.db").write_text("")
    assert len(CamVid("train", folders)) == 2


def test_each_split_has_its_own_images(folders):
    assert (len(CamVid("train", folders)), len(CamVid("val", folders))) == (2, 1)


def test_an_item_is_a_pair_of_tv_tensors(folders):
    image, labels = CamVid("train", folders)[0]
    assert (type(image), type(labels)) == (tv_tensors.Image, tv_tensors.Mask)
    assert image.dtype == labels.dtype == torch.uint8
    assert (image.shape, labels.shape) == ((3, HEIGHT, WIDTH), (HEIGHT, WIDTH))


def test_transforms_get_the_pair(folders):
    def mirror(image, labels):
        return tv_tensors.wrap(image.flip(-1), like=image), tv_tensors.wrap(
            labels.flip(-1), like=labels
        )

    plain, mirrored = CamVid("train", folders)[0], CamVid("train", folders, mirror)[0]
    assert all(torch.equal(a.flip(-1), b) for a, b in zip(plain, mirrored))


def test_palette_labels_are_read_as_ids(folders):
    """The palette's colours do not matter: here they are in the opposite order."""
    labels = Image.fromarray(IDS).convert("P")
    labels.putpalette([255 - value for value in range(256) for _ in range(3)])
    labels.putdata(IDS.flatten().tolist())
    labels.save(folders / "trainannot" / "a_1.png")
    assert np.array_equal(CamVid("train", folders)[0][1] % 244, IDS)


def test_the_root_is_looked_for_under_gcnlab_data(folders, monkeypatch):
    monkeypatch.setenv("GCNLAB_DATA", str(folders.parent))
    assert data_root() == folders.parent
    assert len(CamVid("train")) == 2
    monkeypatch.delenv("GCNLAB_DATA")
    assert data_root() == Path("data")


# --- What can be wrong with a tree


def test_an_unknown_split_is_named(folders):
    with pytest.raises(ValueError, match="'training'"):
        CamVid("training", folders)


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*GCNLAB_DATA"):
        CamVid("train", tmp_path / "nowhere")


def test_a_missing_split_is_named(folders):
    with pytest.raises(FileNotFoundError, match=r"camvid/test is missing"):
        CamVid("test", folders)


def test_an_empty_split_is_named(tmp_path):
    write_split(tmp_path, count=1)
    (tmp_path / "train" / "b_0.jpg").unlink()
    with pytest.raises(ValueError, match="train: empty split"):
        CamVid("train", tmp_path)


def test_an_empty_list_is_named(tmp_path):
    (with_list(tmp_path, ";") / "train.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"train\.txt: empty split"):
        CamVid("train", tmp_path)


@pytest.mark.parametrize("gone", ["train/a_1.png", "trainannot/a_1.png"])
def test_a_missing_file_of_a_list_is_named(tmp_path, gone):
    (with_list(tmp_path, ";") / gone).unlink()
    with pytest.raises(FileNotFoundError, match=gone):
        CamVid("train", tmp_path)


def test_an_image_without_a_label_is_named(folders):
    (folders / "trainannot" / "a_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"trainannot/a_1\.png"):
        CamVid("train", folders)


def test_a_line_with_one_path_is_named(tmp_path):
    with (with_list(tmp_path, ";") / "train.txt").open("a") as listing:
        listing.write("/SegNet/CamVid/train/c.png\n")
    with pytest.raises(ValueError, match=r"train\.txt:4: expected two paths, found 1"):
        CamVid("train", tmp_path)


# --- What can be wrong with a file


def test_a_truncated_jpeg_is_named(folders):
    truncate(folders / "train" / "a_1.jpg")
    with pytest.raises(ValueError, match=r"train/a_1\.jpg: damaged"):
        CamVid("train", folders)[0]


def test_a_truncated_label_is_named(folders):
    truncate(folders / "trainannot" / "a_1.png")
    with pytest.raises(ValueError, match=r"trainannot/a_1\.png: damaged"):
        CamVid("train", folders)[0]


@pytest.mark.parametrize("content", [b"", b"this is no picture\n"])
@pytest.mark.parametrize("path", ["train/a_1.jpg", "trainannot/a_1.png"])
def test_a_file_that_is_no_picture_is_named(folders, path, content):
    (folders / path).write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: damaged, or not an image"):
        CamVid("train", folders)[0]


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        (np.zeros((HEIGHT, WIDTH, 3), np.uint8), "RGB"),
        (np.zeros((HEIGHT, WIDTH), np.uint16), "I;16"),
        (np.zeros((HEIGHT, WIDTH), bool), "1"),
    ],
)
def test_a_label_that_is_not_8_bit_ids_is_named(folders, pixels, mode):
    save(pixels, folders / "trainannot" / "a_1.png")
    with pytest.raises(ValueError, match=rf"trainannot/a_1\.png: labels must be .* not {mode}"):
        CamVid("train", folders)[0]


@pytest.mark.parametrize("wrong", [12, 254])
def test_an_id_out_of_range_is_named(folders, wrong):
    ids = IDS.copy()
    ids[3, 4] = wrong
    save(ids, folders / "trainannot" / "a_1.png")
    with pytest.raises(ValueError, match=rf"trainannot/a_1\.png: label ids {wrong} are out of"):
        CamVid("train", folders)[0]


def test_a_label_of_another_size_is_named_with_its_size(folders):
    save(IDS[:, :-1], folders / "trainannot" / "a_1.png")
    with pytest.raises(ValueError, match=r"a_1\.jpg is 16×12, but .*trainannot/a_1\.png is 15×12"):
        CamVid("train", folders)[0]


# --- read_image, read_labels


@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_missing_picture_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read(tmp_path / "none.png")


def test_grey_and_transparent_pictures_are_read_as_rgb(tmp_path):
    grey, clear = photograph(1)[..., 0], np.dstack([photograph(1), IDS])
    assert np.array_equal(read_image(save(grey, tmp_path / "g.png")), np.stack([grey] * 3))
    rgb = read_image(save(clear, tmp_path / "c.png")).permute(1, 2, 0)
    assert np.array_equal(rgb, photograph(1))


def reads_or_names_the_file(read, path: Path) -> bool:
    try:
        read(path)
    except ValueError as error:
        return str(path) in str(error)
    return True


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_whatever_byte_is_damaged_the_error_names_the_file(tmp_path, form, read):
    path = tmp_path / "damaged.picture"
    save(photograph(1)[..., 0], path, format=form)
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        assert reads_or_names_the_file(read, path), place


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with right checksums and any content."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png(40000, 40000), id="claims 1.6 gigapixels"),
        pytest.param(png(8, 8, (b"gAMA", b"\0")), id="short chunk"),
        pytest.param(
            png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000)))), id="huge comment"
        ),
    ],
)
def test_a_malformed_png_is_named(tmp_path, read, content):
    path = tmp_path / "malformed.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"malformed\.png"):
        read(path)


# --- The real thing

_ROOT = Path(__file__).parents[2]
_PLACES = [_ROOT.parent / "shared" / "camvid", Path(os.environ.get("GCNLAB_DATA", "")) / "camvid"]
_CAMVID = next((place for place in _PLACES if place.is_dir()), None)


@pytest.mark.skipif(
    _CAMVID is None, reason="needs CamVid in ../shared/camvid or $GCNLAB_DATA/camvid"
)
def test_the_real_data_set_is_as_described():
    train, val = CamVid("train", _CAMVID), CamVid("val", _CAMVID)
    assert (len(train), len(val)) == (367, 101)
    image, labels = train[0]
    assert (image.shape, labels.shape) == ((3, 360, 480), (360, 480))
    assert set(labels.unique().tolist()) <= {*range(11), 255}
