"""Cityscapes in its official layout; torchvision's reader and the official table agree."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from gcnlab.datasets import CITYSCAPES, Cityscapes, cityscapes_train_with_coarse
from gcnlab.datasets.cityscapes import to_label_ids, to_train_ids
from gcnlab.datasets.labels import CITYSCAPES_LABEL_IDS
from tests.datasets.png import decode_png

OFFICIAL = torchvision.datasets.Cityscapes.classes


def test_the_table_is_the_official_one():
    scored = [c for c in OFFICIAL if not c.ignore_in_eval]
    assert len(scored) == 19
    assert tuple(c.id for c in scored) == CITYSCAPES_LABEL_IDS
    assert tuple(c.name for c in scored) == CITYSCAPES.names
    assert tuple(tuple(c.color) for c in scored) == CITYSCAPES.colors
    written = [c for c in OFFICIAL if c.id >= 0]
    ids = torch.tensor([[c.id for c in written]], dtype=torch.uint8)
    expected = [c.train_id if not c.ignore_in_eval else 255 for c in written]
    assert to_train_ids(ids, "table").tolist() == [expected]


def test_there_and_back_is_the_same_for_what_is_scored():
    train_ids = torch.tensor([[*range(19), 255]], dtype=torch.uint8)
    assert to_label_ids(train_ids)[0, -1] == 0
    assert torch.equal(to_train_ids(to_label_ids(train_ids), "here"), train_ids)


@pytest.mark.parametrize(("split", "mode"), [("train", "fine"), ("val", "fine"), ("train_extra", "coarse")])  # fmt: skip
def test_equals_two_other_decoders(drawn, split, mode):
    root = drawn / "cityscapes"
    ours = Cityscapes(split, root, coarse=mode == "coarse")
    theirs = torchvision.datasets.Cityscapes(root, split, mode, "semantic")
    expected = {}
    for path, (target,), i in zip(theirs.images, theirs.targets, range(len(theirs))):
        image, ids = theirs[i]
        assert np.array_equal(np.array(ids), decode_png(target))
        expected[path.rsplit("/", 1)[-1]] = np.array(image), np.array(ids)
    assert len(ours) == len(theirs) > 0
    train_id = {c.id: 255 if c.ignore_in_eval else c.train_id for c in OFFICIAL}
    for i in range(len(ours)):
        image, labels = ours[i]
        picture, ids = expected[ours.images[i].name]
        assert np.array_equal(image.permute(1, 2, 0), picture)
        assert np.array_equal(labels, np.vectorize(train_id.get)(ids))


def test_names_are_city_sequence_frame(drawn):
    data = Cityscapes("val", drawn / "cityscapes")
    assert data.name(0) == "frankfurt_000000_000294"


def test_the_papers_first_stage_is_coarse_and_fine(drawn):
    data = cityscapes_train_with_coarse(drawn / "cityscapes")
    extra = Cityscapes("train_extra", drawn / "cityscapes", coarse=True)
    fine = Cityscapes("train", drawn / "cityscapes")
    assert len(data) == len(extra) + len(fine)
    assert torch.equal(data[len(extra)][1], fine[0][1])
    assert data.name(0) == extra.name(0)


def test_the_test_split_is_void(drawn):
    data = Cityscapes("test", drawn / "cityscapes")
    assert len(data) == 1
    assert (data[0][1] == 255).all()


# --- Trees that are wrong


def test_swapped_splits(root):
    folder = root / "cityscapes" / "leftImg8bit"
    (folder / "val").rename(folder / "other")
    (folder / "train").rename(folder / "val")
    with pytest.raises(ValueError, match=r"val/aachen: aachen belongs to the train split"):
        Cityscapes("val", root / "cityscapes")


def test_missing_labels_folder_or_file(root):
    folder = root / "cityscapes" / "gtFine" / "train"
    file = folder / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"
    file.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"aachen_000000_000019_gtFine_labelIds\.png is missing"
    ):
        Cityscapes("train", root / "cityscapes")
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match=r"gtFine/train/aachen is missing"):
        Cityscapes("train", root / "cityscapes")
    with pytest.raises(FileNotFoundError, match=r"folder .*leftImg8bit/.* does not exist"):
        Cityscapes("train", root / "nowhere")
    for city in (root / "cityscapes" / "leftImg8bit" / "val").iterdir():
        for image in city.iterdir():
            image.unlink()
    with pytest.raises(ValueError, match=r"leftImg8bit/val: no files CITY"):
        Cityscapes("val", root / "cityscapes")


def spoil(root, pixels):
    file = root / "cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    Image.fromarray(pixels).save(file)
    return Cityscapes("train", root / "cityscapes")


@pytest.mark.parametrize(
    ("pixels", "match"),
    [
        (np.full((64, 128), 34, np.uint8), r"labelIds\.png: ids \[34\] are not label ids"),
        (
            np.eye(64, 128, dtype=np.uint8) * 255,
            r"labelIds\.png: ids \[255\] .* the file holds train ids",
        ),
        (np.full((64, 128), 26001, np.uint16), r"labelIds\.png: .*16 bits"),
        (np.full((64, 128, 4), 7, np.uint8), r"labelIds\.png: .*colours, not ids"),
        (np.full((64, 100), 7, np.uint8), r"is 128×64, but its label map .* is 100×64"),
    ],
    ids=["an unknown id", "train ids", "instance ids", "colours", "another size"],
)
def test_a_wrong_label_is_named(root, pixels, match):
    with pytest.raises(ValueError, match=match):
        spoil(root, pixels)[0]


def test_arguments(drawn):
    with pytest.raises(ValueError, match="unknown split 'extra'"):
        Cityscapes("extra", drawn / "cityscapes")
    with pytest.raises(ValueError, match="coarse=True"):
        Cityscapes("train_extra", drawn / "cityscapes")


def test_cityscapes_tables_take_ids_alone():
    with pytest.raises(ValueError, match=r"train ids contain ids \[19\]"):
        to_label_ids(torch.tensor([[0, 19]]))
    with pytest.raises(ValueError, match="train ids must be class ids, not float32"):
        to_label_ids(torch.zeros(1, 2))
