"""VOC 2012 and SBD in their official layouts; torchvision's readers and a PNG decoder of our own agree."""

import numpy as np
import pytest
import torchvision
from PIL import Image
from scipy.io import loadmat, savemat

from gcnlab.datasets import VOC, SBDSegmentation, VOCSegmentation, voc_sbd_train
from gcnlab.datasets.miniature import VOC_NAMES
from gcnlab.datasets.voc import require_disjoint
from tests.datasets.png import decode_png


def voc(root, split="train", **options):
    return VOCSegmentation(split, root / "VOCdevkit" / "VOC2012", **options)


def sbd(root, split="train", **options):
    return SBDSegmentation(split, root / "benchmark_RELEASE", **options)


def label_file(root, name):
    return root / "VOCdevkit" / "VOC2012" / "SegmentationClass" / f"{name}.png"


def test_the_palette_is_the_devkits():
    # The first and last colours of VOClabelcolormap, as the devkit's documentation prints them.
    assert VOC.colors[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert VOC.colors[20] == (0, 64, 128)
    assert VOC.colors[15] == (192, 128, 128)
    assert VOC.names[15] == "person"


@pytest.mark.parametrize("split", ["train", "val", "trainval"])
def test_voc_equals_two_other_decoders(drawn, split):
    ours = voc(drawn, split)
    theirs = torchvision.datasets.VOCSegmentation(drawn, "2012", split)
    assert len(ours) == len(theirs) > 0
    for i in range(len(ours)):
        image, labels = ours[i]
        picture, mask = theirs[i]
        assert np.array_equal(image.permute(1, 2, 0), np.array(picture))
        assert np.array_equal(labels, np.array(mask))
        assert np.array_equal(labels, decode_png(label_file(drawn, ours.name(i))))
        assert {0, 255} < set(np.unique(labels))


def test_sizes_are_odd_and_kept(drawn):
    assert len({tuple(image.shape) for image, _ in voc(drawn)}) > 2


def test_the_test_split_has_images_and_only_void(drawn):
    data = voc(drawn, "test")
    assert [data.name(i) for i in range(len(data))] == list(VOC_NAMES["test"])
    image, labels = data[0]
    assert labels.shape == image.shape[-2:]
    assert (labels == 255).all()


@pytest.mark.parametrize("split", ["train", "val"])
def test_sbd_equals_torchvisions_reader(drawn, split):
    ours = sbd(drawn, split)
    theirs = torchvision.datasets.SBDataset(
        drawn / "benchmark_RELEASE" / "dataset", split, "segmentation"
    )
    assert len(ours) == len(theirs) > 0
    for i in range(len(ours)):
        assert np.array_equal(ours[i][1], np.array(theirs[i][1]))
        assert np.array_equal(ours[i][0].permute(1, 2, 0), np.array(theirs[i][0]))


def test_the_merged_set_has_every_image_once_and_none_of_voc_val(drawn):
    merged = voc_sbd_train(drawn / "VOCdevkit" / "VOC2012", drawn / "benchmark_RELEASE")
    names = [merged.name(i) for i in range(len(merged))]
    both = sbd(drawn, "trainval")
    everything = {*VOC_NAMES["train"], *(image.stem for image in both.images)}
    assert any(image.stem in VOC_NAMES["val"] for image in both.images)  # or this tests nothing
    assert sorted(names) == sorted(everything - set(VOC_NAMES["val"]))
    # VOC's own labels, with void, for the images that both have.
    shared = [i for i, name in enumerate(names) if name in {image.stem for image in both.images} & set(VOC_NAMES["train"])]  # fmt: skip
    assert shared
    assert all((merged[i][1] == 255).any() for i in shared)
    assert not any((merged[i][1] == 255).any() for i in range(len(VOC_NAMES["train"]), len(merged)))


def test_an_image_on_both_sides_is_named(drawn):
    with pytest.raises(
        ValueError, match=r"2007_000033.*in both the training set and the validation"
    ):
        require_disjoint(sbd(drawn, "train"), voc(drawn, "val"))


# --- Trees that are wrong


def test_no_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"folder .*VOC2012 does not exist.*gcnlab data get voc"
    ):
        voc(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"folder .*benchmark_RELEASE does not exist.*gcnlab data get sbd"
    ):
        sbd(tmp_path)


def test_a_missing_list_label_folder_or_label(root):
    tree = root / "VOCdevkit" / "VOC2012"
    label_file(root, "2007_000039").unlink()
    label_file(root, "2007_000063").unlink()
    with pytest.raises(FileNotFoundError, match=r"2007_000039\.png is missing, and 1 more"):
        voc(root)
    for file in (tree / "SegmentationClass").iterdir():
        file.unlink()
    (tree / "SegmentationClass").rmdir()
    with pytest.raises(FileNotFoundError, match=r"SegmentationClass is missing"):
        voc(root)
    (tree / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.txt is missing"):
        voc(root)


def test_an_empty_list_and_a_name_twice(root):
    listing = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("\n")
    with pytest.raises(ValueError, match=r"val\.txt: empty split"):
        voc(root, "val")
    listing.write_text("2007_000033\n2007_000033\n")
    with pytest.raises(ValueError, match=r"2007_000033 is listed twice"):
        voc(root, "val")


def first_item_fails(data, match):
    with pytest.raises(ValueError, match=match):
        data[0]


def test_colours_instead_of_ids(root):
    file = label_file(root, VOC_NAMES["train"][0])
    Image.open(file).convert("RGB").save(file)
    first_item_fails(voc(root), r"2007_000032\.png: labels must be 8-bit ids .*colours, not ids")


def test_another_programs_palette(root):
    file = label_file(root, VOC_NAMES["train"][0])
    Image.open(file).convert("RGB").quantize(8).save(file)
    first_item_fails(voc(root), r"2007_000032\.png: in the palette, id .* not class ids")


def test_sixteen_bits_and_four_bits(root):
    file = label_file(root, VOC_NAMES["train"][0])
    ids = np.array(Image.open(file))
    Image.fromarray(ids.astype(np.uint16)).save(file)
    first_item_fails(voc(root), r"2007_000032\.png: .*16 bits")
    write_grey(file, ids % 16, bits=4)
    first_item_fails(voc(root), r"2007_000032\.png: .*4-bit grey")


def test_grey_ids_of_eight_bits_are_read(root):
    """SegmentationClassAug, as others distribute it, is like this."""
    file = label_file(root, VOC_NAMES["train"][0])
    ids = np.array(Image.open(file))
    Image.fromarray(ids).save(file)
    assert np.array_equal(voc(root)[0][1], ids)


def test_an_id_that_is_no_class(root):
    file = label_file(root, VOC_NAMES["train"][0])
    ids = np.array(Image.open(file))
    ids[3, 4] = 21
    Image.fromarray(ids).save(file)
    first_item_fails(voc(root), r"2007_000032\.png: label ids 21 are out of range")


def test_a_truncated_jpeg_and_sizes_that_differ(root):
    picture = root / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000032.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    first_item_fails(voc(root), r"2007_000032\.jpg: damaged")
    Image.new("RGB", (20, 10)).save(picture)
    first_item_fails(
        voc(root), r"2007_000032\.jpg is 20×10, but its label map .*2007_000032\.png is"
    )


def test_a_mat_file_that_is_damaged_or_has_no_ids(root):
    data = sbd(root)
    file = data.label_files[0]
    ids = loadmat(file)["GTcls"][0]["Segmentation"][0]
    savemat(file, {"GTcls": {"Segmentation": ids.astype(np.uint16)}})
    first_item_fails(data, r"\.mat: GTcls\.Segmentation must be 8-bit ids, not uint16")
    savemat(file, {"GTinst": {"Segmentation": ids}})
    first_item_fails(data, r"\.mat: damaged, or without GTcls\.Segmentation")
    file.write_bytes(b"MATLAB")
    first_item_fails(data, r"\.mat: damaged")


@pytest.mark.parametrize("make", [voc, sbd])
def test_an_unknown_split(drawn, make):
    with pytest.raises(ValueError, match="unknown split 'all'"):
        make(drawn, "all")


def write_grey(path, ids, bits):
    """A grey PNG of fewer than 8 bits, which Pillow does not write."""
    import struct
    import zlib

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width = ids.shape
    per_byte = 8 // bits
    padded = np.pad(ids, ((0, 0), (0, -width % per_byte)))
    rows = [
        bytes(
            sum(int(v) << (8 - bits * (k + 1)) for k, v in enumerate(line[i : i + per_byte]))
            for i in range(0, len(line), per_byte)
        )
        for line in padded
    ]
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
