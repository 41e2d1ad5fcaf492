"""COCO as VOC: outlines painted by hand, by pycocotools' own annToMask, and by COCO's three encodings."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO

from gcnlab.datasets import VOC, COCOAsVOC, VOCSegmentation, voc_sbd_coco_train
from gcnlab.datasets.coco import CATEGORIES

HEIGHT, WIDTH = 9, 12


def rectangle(top, bottom, left, right):
    return [[left, top, right, top, right, bottom, left, bottom]]


def tree(tmp_path, annotations, images=1):
    """A COCO tree of one split; annotations are (image, category, segmentation, crowd)."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").mkdir()
    content = {"images": [], "annotations": []}
    for number in range(images):
        name = f"{number:012d}.jpg"
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "train2017" / name)
        content["images"].append(
            {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        )
    for number, (image, category, outline, crowd) in enumerate(annotations):
        content["annotations"].append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "segmentation": outline,
                "iscrowd": int(crowd),
            }
        )
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return tmp_path


def test_the_categories_are_vocs_twenty():
    assert sorted(CATEGORIES.values()) == sorted(VOC.names[1:])


def test_a_hand_computation(tmp_path):
    """A dog and a person that overlap, a crowd under both, a bed that VOC does not know."""
    crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[6:] = 1
    runs = [6, 3] * WIDTH  # down the columns: six clear, three hidden
    root = tree(
        tmp_path,
        [
            (0, 18, rectangle(1, 5, 1, 6), False),
            (0, 1, rectangle(3, 8, 4, 9), False),
            (0, 1, rectangle(0, 2, 9, 12), False),
            (0, 1, rectangle(1, 3, 10, 12), False),  # the same class: no conflict
            (0, 65, rectangle(0, 9, 0, 3), False),
            (0, 1, {"size": [HEIGHT, WIDTH], "counts": runs}, True),
        ],
    )
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    dog, person = VOC.names.index("dog"), VOC.names.index("person")
    expected[1:5, 1:6] = dog
    expected[3:8, 4:9] = person
    expected[3:5, 4:6] = 255
    expected[0:2, 9:12] = person
    expected[1:3, 10:12] = person
    expected[(crowd == 1) & (expected == 0)] = 255
    image, labels = COCOAsVOC("train", root)[0]
    assert image.shape == (3, HEIGHT, WIDTH)
    assert np.array_equal(labels, expected)


def test_the_three_encodings_give_the_same_mask(tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:7, 3:8] = 1
    compressed = mask_tools.encode(np.asfortranarray(mask))
    compressed = {"size": compressed["size"], "counts": compressed["counts"].decode()}
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    root = tree(
        tmp_path,
        [
            (0, 17, rectangle(2, 7, 3, 8), False),
            (1, 17, {"size": [HEIGHT, WIDTH], "counts": runs}, False),
            (2, 17, compressed, False),
        ],
        images=3,
    )
    data = COCOAsVOC("train", root)
    assert all(np.array_equal(data[i][1], 8 * mask) for i in range(3))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_miniature_equals_pycocotools_reading_of_it(drawn, split, capsys):
    theirs = COCO(drawn / "coco" / "annotations" / f"instances_{split}2017.json")
    capsys.readouterr()
    ours = COCOAsVOC(split, drawn / "coco")
    wanted = [
        key
        for key in sorted(theirs.imgs)
        if any(a["category_id"] in CATEGORIES and not a["iscrowd"] for a in theirs.imgToAnns[key])
    ]
    assert [theirs.imgs[key]["file_name"] for key in wanted] == [p.name for p in ours.images]
    assert len(wanted) < len(theirs.imgs)  # one has only a bed in it
    for i, key in enumerate(wanted):
        # Per class whether it is there; more than one class, or a crowd with none: void.
        layers = torch.zeros(21, *ours[i][1].shape, dtype=torch.bool)
        crowd = torch.zeros(ours[i][1].shape, dtype=torch.bool)
        for a in theirs.imgToAnns[key]:
            if a["category_id"] in CATEGORIES:
                mask = torch.from_numpy(theirs.annToMask(a)).bool()
                if a["iscrowd"]:
                    crowd |= mask
                else:
                    layers[VOC.names.index(CATEGORIES[a["category_id"]])] |= mask
        expected = layers.int().argmax(0).to(torch.uint8)
        expected[layers.sum(0) > 1] = 255
        expected[crowd & (layers.sum(0) == 0)] = 255
        assert torch.equal(ours[i][1], expected)


def test_three_classes_on_one_pixel_are_void_in_any_order(tmp_path):
    boxes = [(0, c, rectangle(1, 4, 1, 4), False) for c in (1, 18, 17)]
    assert (COCOAsVOC("train", tree(tmp_path, boxes))[0][1][1:4, 1:4] == 255).all()


def test_an_image_with_nothing_but_a_crowd_is_left_out(tmp_path):
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    root = tree(tmp_path, [(0, 1, runs, True), (1, 18, rectangle(1, 3, 1, 3), False)], images=2)
    assert [path.stem for path in COCOAsVOC("train", root).images] == [f"{1:012d}"]


def test_the_papers_first_stage_has_all_three_and_none_of_voc_val(drawn):
    voc_root = drawn / "VOCdevkit" / "VOC2012"
    merged = voc_sbd_coco_train(voc_root, drawn / "benchmark_RELEASE", drawn / "coco")
    parts = [type(part).__name__ for part in merged.parts]
    assert parts == ["VOCSegmentation", "SBDSegmentation", "COCOAsVOC"]
    validation = {path.stem for path in VOCSegmentation("val", voc_root).images}
    assert not validation & {path.stem for path in merged.images}
    assert merged.name(len(merged) - 1) == merged.parts[-1].images[-1].stem
    assert torch.equal(merged[len(merged) - 1][1], merged.parts[-1][len(merged.parts[-1]) - 1][1])


# --- Trees that are wrong


def test_no_annotations_and_no_images(root):
    (root / "coco" / "val2017" / f"{1009:012d}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val2017/000000001009\.jpg is missing"):
        COCOAsVOC("val", root / "coco")
    (root / "coco" / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"instances_val2017\.json is missing.*data get coco"
    ):
        COCOAsVOC("trainval", root / "coco")


def test_annotations_of_the_other_split(root):
    folder = root / "coco" / "annotations"
    (folder / "instances_val2017.json").rename(folder / "instances_train2017.json")
    with pytest.raises(FileNotFoundError, match=r"train2017/000000001009\.jpg is missing"):
        COCOAsVOC("train", root / "coco")


@pytest.mark.parametrize(
    "outline",
    [[[1, 1, 3, 3]], [], {"size": [4, 4], "counts": [16]}, {"counts": [0]}],
    ids=["two corners", "empty", "other size", "no size"],
)
def test_an_outline_that_is_none(tmp_path, outline):
    root = tree(tmp_path, [(0, 1, outline, False)])
    with pytest.raises(ValueError, match=r"instances_train2017\.json: damaged"):
        COCOAsVOC("train", root)


def test_a_damaged_file_and_one_without_vocs_classes(tmp_path):
    root = tree(tmp_path, [(0, 65, rectangle(1, 4, 1, 4), False)])
    with pytest.raises(ValueError, match=r"no image with one of VOC's classes"):
        COCOAsVOC("train", root)
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(ValueError, match=r"instances_train2017\.json: damaged"):
        COCOAsVOC("train", root)


def test_an_image_of_another_size_than_annotated(root):
    data = COCOAsVOC("train", root / "coco")
    Image.new("RGB", (20, 10)).save(data.images[0])
    with pytest.raises(
        ValueError, match=r"is 20×10, but its label map .*instances_train2017\.json"
    ):
        data[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_annotations_in_any_encoding_of_json(root, encoding):
    file = root / "coco" / "annotations" / "instances_val2017.json"
    expected = COCOAsVOC("val", root / "coco").images
    file.write_text(file.read_text(), encoding=encoding)
    assert COCOAsVOC("val", root / "coco").images == expected


@pytest.mark.parametrize("folder", ["train2017/", "train2017\\", "/elsewhere/", "../"])
def test_a_path_for_a_file_name_is_named(tmp_path, folder):
    """An absolute path led out of the tree."""
    root = tree(tmp_path, [(0, 1, rectangle(1, 4, 1, 4), False)])
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = f"{folder}000000000000.jpg"
    file.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"instances_train2017\.json, image 0: .* is a path; use only the name"
    ):
        COCOAsVOC("train", root)
