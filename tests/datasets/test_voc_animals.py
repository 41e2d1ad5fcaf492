"""VOC animals in both forms, and the class subset of the VOC readers that it is made of."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

from gcnlab.datasets import (
    IGNORE,
    VOC,
    VOC_ANIMALS,
    SBDSegmentation,
    VOCAnimals,
    VOCSegmentation,
    data_root,
    voc_sbd_train,
)
from gcnlab.datasets.miniature import SBD_ONLY, VOC_NAMES, make_sbd, make_voc
from gcnlab.datasets.voc import renumber
from gcnlab.datasets.voc_animals import shrink
from gcnlab.pretrained import data_folder
from gcnlab.training import DataConfig
from gcnlab.training.tasks import open_dataset
from tests.datasets.png import decode_png

REAL = (data_root() / "voc_animals" / "VOCdevkit" / "VOC2012").resolve()
CLASSES = ("person", "dog")  # not in VOC's order
ANIMALS = {0: 0, 8: 1, 10: 2, 12: 3, 13: 4, 15: 5, 17: 6}  # VOC's id → ours


def by_hand(ids, numbers):
    """VOC's ids with other numbers, pixel by pixel."""
    return [[numbers.get(int(i), IGNORE) for i in row] for row in np.asarray(ids)]


# --- LabelSet.subset


def test_a_subset_has_the_names_and_colours_in_the_order_given():
    part = VOC.subset(("dog", "background"))
    assert part.names == ("dog", "background")
    assert part.colors == ((64, 0, 128), (0, 0, 0))


def test_voc_animals_are_seven_classes_in_vocs_order():
    assert VOC_ANIMALS.names == ("background", "cat", "cow", "dog", "horse", "person", "sheep")
    assert [VOC.names.index(name) for name in VOC_ANIMALS.names] == list(ANIMALS)
    assert VOC_ANIMALS.colors == tuple(VOC.colors[i] for i in ANIMALS)


def test_an_unknown_class_and_a_class_twice_are_named():
    with pytest.raises(ValueError, match=r"unknown class 'hors'; did you mean horse\?"):
        VOC.subset(("cat", "hors"))
    with pytest.raises(ValueError, match="class 'cat' is given twice"):
        VOC.subset(("cat", "dog", "cat"))


# --- The readers with classes and names


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """VOC with the classes of Shapes, SBD with others, and lists of images that both label."""
    root = tmp_path_factory.mktemp("full")
    make_voc(root, ids=np.array(list(ANIMALS), dtype=np.uint8))
    make_sbd(root)
    lists = root / "lists"
    lists.mkdir()
    chosen = [SBD_ONLY[2], VOC_NAMES["train"][4], SBD_ONLY[0], VOC_NAMES["train"][0], SBD_ONLY[3]]
    (lists / "train.txt").write_text("\n".join(chosen))  # VOC's and SBD's, not in order
    (lists / "val.txt").write_text("\n".join(VOC_NAMES["val"][2:0:-1]))
    return root


def voc_of(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


def prepare(full: Path, root: Path) -> Path:
    """Make the small copy from VOC and SBD, with other readers than ours."""
    tree, source = voc_of(root / "voc_animals"), voc_of(full)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tree / folder).mkdir(parents=True)
    for split in ("train", "val"):
        listing = full / "lists" / f"{split}.txt"
        shutil.copy(listing, tree / "ImageSets" / "Segmentation")
        for name in listing.read_text().split():
            label = tree / "SegmentationClass" / f"{name}.png"
            if (source / "JPEGImages" / f"{name}.jpg").exists():
                shutil.copy(source / "JPEGImages" / f"{name}.jpg", tree / "JPEGImages")
                shutil.copy(source / "SegmentationClass" / f"{name}.png", label)
            else:
                sbd = full / "benchmark_RELEASE" / "dataset"
                shutil.copy(sbd / "img" / f"{name}.jpg", tree / "JPEGImages")
                ids = loadmat(sbd / "cls" / f"{name}.mat")["GTcls"]["Segmentation"][0, 0]
                Image.fromarray(ids).save(label)
    return root


@pytest.fixture
def small(full, tmp_path) -> Path:
    return prepare(full, tmp_path / "small")


def test_voc_with_classes_renumbers_and_makes_the_others_void(full):
    data = VOCSegmentation("train", voc_of(full), classes=CLASSES)
    assert data.labels.names == ("background", *CLASSES)
    seen = set()
    for i in range(len(data)):
        file = voc_of(full) / "SegmentationClass" / f"{data.name(i)}.png"
        assert data[i][1].tolist() == by_hand(decode_png(file), {0: 0, 15: 1, 12: 2})
        seen |= set(data[i][1].unique().tolist())
    assert seen == {0, 1, 2, IGNORE}


def test_sbd_with_classes_and_the_merged_set(full):
    data = SBDSegmentation("train", full / "benchmark_RELEASE", classes=CLASSES)
    whole = SBDSegmentation("train", full / "benchmark_RELEASE")
    for (_, ours), (_, all_ids) in zip(data, whole):
        assert ours.tolist() == by_hand(all_ids, {0: 0, 15: 1, 12: 2})
    merged = voc_sbd_train(voc_of(full), full / "benchmark_RELEASE", classes=CLASSES)
    assert merged.labels == VOC.subset(("background", *CLASSES)) == data.labels
    assert {part.labels for part in merged.parts} == {data.labels}


def test_without_classes_nothing_changes(full):
    data = VOCSegmentation("train", voc_of(full))
    assert data.labels == VOC == VOCSegmentation.labels
    file = voc_of(full) / "SegmentationClass" / f"{data.name(0)}.png"
    assert np.array_equal(data[0][1], decode_png(file))


def test_names_select_images_in_their_order(full):
    chosen = [VOC_NAMES["train"][3], VOC_NAMES["train"][1]]
    data = VOCSegmentation("train", voc_of(full), names=chosen)
    assert [data.name(i) for i in range(2)] == chosen
    other = SBDSegmentation("trainval", full / "benchmark_RELEASE", names=[SBD_ONLY[3]])
    assert [other.name(i) for i in range(len(other))] == [SBD_ONLY[3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("cat", "sheeps")}, r"unknown class 'sheeps'; did you mean sheep\?"),
        ({"classes": ("cat", "cat")}, "class 'cat' is given twice"),
        ({"classes": ("background", "cat")}, "without the background"),
        ({"classes": ()}, "one or more of VOC's classes"),
        ({"names": ["2007_000033", "x"]}, r"2007_000033 is not in .*train\.txt, nor are 1 more"),
        ({"names": []}, "one or more names"),
        ({"names": ["2007_000032"] * 2}, "each given once"),
    ],
)
def test_classes_and_names_that_are_wrong(full, options, message):
    with pytest.raises(ValueError, match=message):
        VOCSegmentation("train", voc_of(full), **options)


def test_an_id_that_is_no_class_of_voc_does_not_become_void():
    with pytest.raises(ValueError, match=r"a\.png: label ids 77 are out of range"):
        renumber(torch.tensor([[0, 77]], dtype=torch.uint8), VOC_ANIMALS, "a.png")


# --- The two forms


@pytest.mark.parametrize("split", ["train", "val", "tune", "tune-train"])
def test_both_forms_give_the_same_images_and_labels(full, small, split):
    ours = VOCAnimals(split, full, lists=full / "lists")
    copy = VOCAnimals(split, small)
    assert [ours.name(i) for i in range(len(ours))] == [copy.name(i) for i in range(len(copy))]
    for (image, labels), (other, other_labels) in zip(ours, copy, strict=True):
        assert torch.equal(image, other)
        assert torch.equal(labels, other_labels)
    assert ours.labels == copy.labels == VOC_ANIMALS


def test_labels_are_those_of_voc_or_sbd_with_our_numbers(full):
    data = VOCAnimals("train", full, lists=full / "lists")
    assert [data.name(i) for i in range(5)] == (full / "lists/train.txt").read_text().split()
    mat = full / "benchmark_RELEASE" / "dataset" / "cls" / f"{data.name(0)}.mat"
    ids = loadmat(mat)["GTcls"]["Segmentation"][0, 0]
    assert data[0][1].tolist() == by_hand(ids, ANIMALS)
    # The second image is labelled by both; VOC's labels count.
    assert (full / "benchmark_RELEASE/dataset/cls" / f"{data.name(1)}.mat").exists()
    png = voc_of(full) / "SegmentationClass" / f"{data.name(1)}.png"
    assert data[1][1].tolist() == by_hand(decode_png(png), ANIMALS)


def test_large_photographs_are_shrunk_and_small_ones_are_not():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (3, 375, 500), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, 7, (375, 500), dtype=np.uint8))
    smaller, ids = shrink(image, labels, 384)
    assert smaller.shape == (3, 288, 384)
    assert ids.shape == (288, 384)
    # Nearest neighbours: pixel i shows what lies at the centre of pixel i.
    rows = ((torch.arange(288) + 0.5) * 375 / 288).long()
    columns = ((torch.arange(384) + 0.5) * 500 / 384).long()
    assert torch.equal(ids.as_subclass(torch.Tensor), labels[rows][:, columns])
    # Lanczos keeps a ramp at the positions of the pixels' centres.
    ramp = (torch.arange(500) * 0.5).to(torch.uint8).expand(3, 375, 500).contiguous()
    expected = (torch.arange(384) + 0.5) * 500 / 384 * 0.5 - 0.5
    found = shrink(ramp, labels, 384)[0][0, 100].float()
    assert (found - expected)[8:-8].abs().max() < 1
    for part, same in zip(shrink(image[:, :200, :384], labels[:200, :384], 384), (image, labels)):
        assert torch.equal(part, same[..., :200, :384])
    assert shrink(image.mT.contiguous(), labels.mT.contiguous(), 384)[1].shape == (384, 288)


def test_large_images_of_the_full_form_are_shrunk(full, tmp_path):
    root = shutil.copytree(full, tmp_path / "large")
    name = VOC_NAMES["train"][0]
    photograph, label = (
        voc_of(root) / folder
        for folder in (f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png")
    )
    Image.open(photograph).resize((500, 333)).save(photograph)
    Image.open(label).resize((500, 333), Image.Resampling.NEAREST).save(label)
    shapes = []

    def look(image, labels):
        shapes.append((tuple(image.shape), tuple(labels.shape)))
        return image, labels

    data = VOCAnimals("train", root, look, root / "lists")
    data[3]
    assert data.name(3) == name
    assert shapes == [((3, 256, 384), (256, 384))]


# --- Splits, and the settings of a run


def test_tune_is_part_of_train_and_depends_only_on_the_names(full):
    names = [f"n{i}" for i in range(3131)]
    from gcnlab.datasets.voc_animals import _part

    tune, rest = _part(names, "tune"), _part(names, "tune-train")
    assert len(tune) == 300
    assert sorted(tune + rest) == sorted(names)
    assert set(_part(names[::-1], "tune")) == set(tune)
    assert _part(names, "train") == names


def test_a_run_opens_it_by_name(small):
    data = DataConfig("voc-animals", small)
    assert data.labels == VOC_ANIMALS
    assert [len(open_dataset(data, split)) for split in ("train", "val")] == [5, 2]
    tuning = DataConfig("voc-animals-tune", small)
    assert tuning.labels == VOC_ANIMALS
    train, val = (open_dataset(tuning, split) for split in ("train", "val"))
    assert (train.split, val.split) == ("tune-train", "tune")
    assert (len(train), len(val)) == (4, 1)
    for config in (data, tuning):
        with pytest.raises(ValueError, match="unknown split 'test'"):
            open_dataset(config, "test")


# --- Trees that are wrong


def test_neither_form_is_there(full, small, tmp_path):
    words = (
        r"VOC animals not found in .*VOCdevkit/VOC2012 and SBD in .*gcnlab data get.*GCNLAB_DATA"
    )
    with pytest.raises(FileNotFoundError, match=words):
        VOCAnimals("train", tmp_path / "nowhere")
    (tmp_path / "VOCdevkit").symlink_to(full / "VOCdevkit")
    with pytest.raises(FileNotFoundError, match=words):  # SBD is missing
        VOCAnimals("train", tmp_path)
    with pytest.raises(FileNotFoundError, match="give the folder that holds it"):
        VOCAnimals("train", small / "voc_animals")


def test_a_listed_image_that_is_missing(full, small, tmp_path):
    with open(voc_of(small / "voc_animals") / "ImageSets/Segmentation/train.txt", "a") as listing:
        listing.write("\n2099_000001\n")
    with pytest.raises(FileNotFoundError, match=r"2099_000001\.jpg is missing"):
        VOCAnimals("train", small)
    lists = shutil.copytree(full / "lists", tmp_path / "lists")
    with open(lists / "train.txt", "a") as listing:
        listing.write("\n2099_000001\n")
    with pytest.raises(ValueError, match=r"2099_000001 is not in the trainval split of SBD"):
        VOCAnimals("train", full, lists=lists)


@pytest.mark.parametrize("form", ["full", "small"])
def test_a_training_image_that_is_a_validation_image(full, small, tmp_path, form):
    """SBD labels validation images of VOC, so a list could contain one."""
    if form == "full":
        lists = shutil.copytree(full / "lists", tmp_path / "lists")
        with open(lists / "train.txt", "a") as listing:
            listing.write(f"\n{VOC_NAMES['val'][0]}")
        arguments = {"root": full, "lists": lists}
    else:
        lists = voc_of(small / "voc_animals") / "ImageSets" / "Segmentation"
        shutil.copy(lists / "val.txt", lists / "train.txt")
        arguments = {"root": small}
    with pytest.raises(ValueError, match="in both the training set and the validation set"):
        VOCAnimals("train", **arguments)


def test_a_split_without_images_of_its_list(small):
    (voc_of(small / "voc_animals") / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.txt is missing: unpack"):
        VOCAnimals("val", small)
    with pytest.raises(ValueError, match="unknown split 'trainval'"):
        VOCAnimals("trainval", small)


# --- The committed lists and the real photographs


def test_the_lists_that_come_with_the_package():
    train, val = (
        (data_folder("voc_animals") / f"{split}.txt").read_text().split()
        for split in ("train", "val")
    )
    assert (len(set(train)), len(set(val))) == (len(train), len(val)) == (3131, 300)
    assert not set(train) & set(val)
    assert all(re.fullmatch(r"20\d\d_\d{6}", name) for name in train + val)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no photographs in {REAL}: set GCNLAB_DATA")
def test_the_photographs_are_what_the_data_card_says():
    counts = {}
    for split, length in (("train", 3131), ("val", 300)):
        data = VOCAnimals(split, REAL.parents[2])
        assert len(data) == length
        listed = (data_folder("voc_animals") / f"{split}.txt").read_text().split()
        assert [data.name(i) for i in range(length)] == listed
        total = np.zeros(VOC_ANIMALS.num_classes, dtype=int)
        for file in data.parts[0].label_files:
            ids = set(np.unique(np.array(Image.open(file)))) - {255}
            total += [voc_id in ids for voc_id in ANIMALS]
        counts[split] = total.tolist()
        image, labels = data[0]
        assert max(image.shape) <= 384
        assert labels.shape == image.shape[1:]
    card = (Path(__file__).parents[2] / "data" / "README.md").read_text()
    for number, name in enumerate(VOC_ANIMALS.names):
        row = f"| {name} | {counts['train'][number]:,} | {counts['val'][number]:,} |"
        assert row in card, json.dumps(counts)
    tune, rest = VOCAnimals("tune", REAL.parents[2]), VOCAnimals("tune-train", REAL.parents[2])
    assert (len(tune), len(rest)) == (300, 2831)
