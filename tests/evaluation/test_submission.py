"""Submissions, read back by independent code and by Cityscapes' own evaluation."""

import json
import os
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gcnlab.datasets import LabelSet, Normalization, evaluation_transform
from gcnlab.datasets.cityscapes import CITYSCAPES, Cityscapes
from gcnlab.datasets.miniature import make_cityscapes, make_voc
from gcnlab.datasets.voc import VOC, VOCSegmentation
from gcnlab.evaluation import ConfusionMatrix, Inference, evaluate
from gcnlab.evaluation.submission import (
    read_archive,
    submission_format,
    submit,
    write_cityscapes,
    write_voc,
)

TRANSFORM = evaluation_transform(Normalization())


def network(classes: int) -> torch.nn.Module:
    """A network that predicts one of several classes by the colour of each pixel."""
    torch.manual_seed(1)
    net = torch.nn.Conv2d(3, classes, 1)
    torch.nn.init.normal_(net.weight, std=3.0)
    return net


@pytest.fixture(scope="module")
def voc(tmp_path_factory) -> Path:
    return make_voc(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory) -> Path:
    return make_cityscapes(tmp_path_factory.mktemp("data"))


def ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int64)


# --- VOC


def devkit_colormap(count: int = 256) -> np.ndarray:
    """The devkit's VOClabelcolormap.m, line by line."""
    colormap = np.zeros((count, 3), dtype=int)
    for i in range(count):
        number, r, g, b = i, 0, 0, 0
        for j in range(8):
            r |= (number & 1) << (7 - j)
            g |= (number >> 1 & 1) << (7 - j)
            b |= (number >> 2 & 1) << (7 - j)
            number >>= 3
        colormap[i] = r, g, b
    return colormap


def test_a_voc_submission_has_the_official_tree_names_sizes_and_palette(voc, tmp_path):
    data = VOCSegmentation("test", voc, TRANSFORM)
    archive = submit(network(21), data, tmp_path / "out", "test", progress=False)
    names = (voc / "ImageSets" / "Segmentation" / "test.txt").read_text().split()
    with tarfile.open(archive) as packed:
        assert sorted(packed.getnames()) == sorted(
            f"results/VOC2012/Segmentation/comp6_test_cls/{name}.png" for name in names
        )
        packed.extractall(tmp_path / "server", filter="data")
    folder = tmp_path / "server" / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls"
    for name in names:
        with Image.open(voc / "JPEGImages" / f"{name}.jpg") as photograph:
            size = photograph.size
        with Image.open(folder / f"{name}.png") as found:
            assert (found.mode, found.size) == ("P", size)
            assert found.getpalette() == devkit_colormap().reshape(-1).tolist()
            assert np.array(found).max() < 21


def devkit_scores(predictions: list[np.ndarray], truths: list[np.ndarray]) -> np.ndarray:
    """VOCevalseg.m: a confusion matrix over all images without void, then tp / (gtj + resj − tp)."""
    counts = np.zeros((21, 21))
    for predicted, true in zip(predictions, truths):
        labelled = true < 255
        summed = 1 + true.astype(float) + predicted.astype(float) * 21  # as the devkit numbers them
        histogram = np.bincount(summed[labelled].astype(int) - 1, minlength=441)
        counts += histogram.reshape(21, 21).T  # true, predicted
    with np.errstate(invalid="ignore"):
        gtj, resj, tp = counts.sum(1), counts.sum(0), np.diag(counts)
        return 100 * tp / (gtj + resj - tp)


def test_the_devkits_formula_on_a_voc_submission_is_our_miou(voc, tmp_path):
    data = VOCSegmentation("val", voc, TRANSFORM)
    net, inference = network(21), Inference(flip=True, scales=(1.0, 1.25), tile=(40, 40))
    archive = submit(net, data, tmp_path / "out", "val", inference=inference, progress=False)
    assert archive.name == "VOC2012_comp6_val.tgz"
    found = {Path(name).stem: np.array(p) for name, p in read_archive(archive).items()}
    truths = []
    for name in found:
        with Image.open(voc / "SegmentationClass" / f"{name}.png") as label:
            truths.append(np.array(label))
    official = devkit_scores(list(found.values()), truths)
    ours = evaluate(net, data, progress=False, inference=inference)
    assert 0 < ours.miou < 100
    assert list(ours.iou.values()) == pytest.approx(official.tolist(), nan_ok=True, abs=1e-9)
    assert ours.miou == pytest.approx(np.nanmean(official), abs=1e-9)


def test_the_devkits_formula_where_most_is_right(voc, tmp_path):
    """Labels moved by three pixels: many classes have different scores."""
    data = VOCSegmentation("val", voc)
    truths = [data[i][1] for i in range(len(data))]
    moved = [true.roll(3, -1).masked_fill(true.roll(3, -1) == 255, 0) for true in truths]
    archive = write_voc([(data.name(i), ids) for i, ids in enumerate(moved)], tmp_path, "val")
    packed = [np.array(picture) for picture in read_archive(archive).values()]
    official = devkit_scores(packed, [true.numpy() for true in truths])
    ours = ConfusionMatrix(21)
    for predicted, true in zip(moved, truths):
        ours.update(predicted, true)
    assert (official > 20).sum() >= 3
    assert np.allclose(100 * ours.iou().numpy(), official, atol=1e-9, equal_nan=True)


def test_the_competition_is_in_the_path(tmp_path):
    archive = write_voc([("2008_000006", ids([0, 20]))], tmp_path, "test", "comp5")
    assert list(read_archive(archive)) == [
        "results/VOC2012/Segmentation/comp5_test_cls/2008_000006.png"
    ]


# --- Cityscapes


def test_a_cityscapes_submission_has_label_ids_and_official_names(cityscapes, tmp_path):
    from cityscapesscripts.helpers.csHelpers import getCsFileInfo
    from cityscapesscripts.helpers.labels import id2label

    data = Cityscapes("test", cityscapes, TRANSFORM)
    archive = submit(network(19), data, tmp_path / "out", "test", progress=False)
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "server")
    assert len(names) == len(data)
    for name, photograph in zip(sorted(names), sorted(data.images)):
        info = getCsFileInfo(name)
        wanted = getCsFileInfo(photograph.name)
        assert info[:3] == wanted[:3]
        with Image.open(tmp_path / "server" / name) as found, Image.open(photograph) as picture:
            assert (found.mode, found.size) == ("L", picture.size)
            assert all(not id2label[i].ignoreInEval for i in np.unique(found).tolist())


def test_every_train_id_becomes_the_official_label_id(tmp_path):
    from cityscapesscripts.helpers.labels import trainId2label

    archive = write_cityscapes([("bonn_000000_000019", torch.arange(19)[None])], tmp_path)
    (picture,) = read_archive(archive).values()
    assert np.array(picture)[0].tolist() == [trainId2label[i].id for i in range(19)]
    assert [trainId2label[i].name for i in range(19)] == list(CITYSCAPES.names)


def official_scores(tree: Path, results: Path) -> dict:
    """Score `results` with Cityscapes' evaluation, in a separate process: it reads its settings from
    the environment when it is imported."""
    code = """
        import glob, json
        from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
        official.args.quiet, official.args.JSONOutput = True, False
        official.args.evalInstLevelScore = False  # of instances, which are not predicted
        truths = sorted(glob.glob(official.args.groundTruthSearch))
        found = [official.getPrediction(official.args, truth) for truth in truths]
        scores = official.evaluateImgLists(found, truths, official.args)
        print(json.dumps({"images": len(truths), "mean": scores["averageScoreClasses"],
                          "classes": scores["classScores"]}))
    """
    places = {"CITYSCAPES_DATASET": str(tree), "CITYSCAPES_RESULTS": str(results)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=os.environ | places,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_cityscapes_own_evaluation_accepts_ours_and_agrees(cityscapes, tmp_path):
    data = Cityscapes("val", cityscapes, TRANSFORM)
    net, inference = network(19), Inference(flip=True, tile=(64, 64), overlap=0.6)
    submit(net, data, tmp_path / "out", "val", inference=inference, progress=False)
    official = official_scores(cityscapes, tmp_path / "out" / "results")
    ours = evaluate(net, data, progress=False, inference=inference)
    assert official["images"] == ours.images == len(data)
    assert 0 < ours.miou < 100
    assert official["mean"] == pytest.approx(ours.miou / 100, abs=1e-6)
    for name, value in ours.iou.items():
        assert official["classes"][name] == pytest.approx(value / 100, abs=1e-6, nan_ok=True)


def test_cityscapes_own_evaluation_agrees_where_most_is_right(cityscapes, tmp_path):
    """Labels moved by three pixels: many classes have different scores."""
    data = Cityscapes("val", cityscapes)
    ours, moved = ConfusionMatrix(19), []
    for i in range(len(data)):
        true = data[i][1]
        moved.append((data.name(i), true.roll(3, -1).masked_fill(true.roll(3, -1) == 255, 4)))
        ours.update(moved[-1][1], true)
    write_cityscapes(moved, tmp_path / "out", "val")
    official = official_scores(cityscapes, tmp_path / "out" / "results")
    scores = [official["classes"][name] for name in CITYSCAPES.names]
    assert sum(score > 0.2 for score in scores) >= 3
    assert np.allclose(scores, ours.iou().numpy(), atol=1e-6, equal_nan=True)
    assert official["mean"] == pytest.approx(ours.miou(), abs=1e-6)


# --- What is wrong is said


@pytest.mark.parametrize("write", [write_voc, write_cityscapes])
def test_ids_that_are_no_class_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="bonn_000000_000019: label ids 77"):
        write([("bonn_000000_000019", ids([0, 77]))], tmp_path / "a")
    with pytest.raises(ValueError, match=r"bonn_000000_000019: void \(255\)"):
        write([("bonn_000000_000019", ids([0, 255]))], tmp_path / "b")


@pytest.mark.parametrize("write", [write_voc, write_cityscapes])
def test_one_name_twice_and_nothing_at_all_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="two predictions"):
        write([("bonn_000000_000019", ids([0]))] * 2, tmp_path / "a")
    with pytest.raises(ValueError, match="no predictions"):
        write([], tmp_path / "b")


@pytest.mark.parametrize("write", [write_voc, write_cityscapes])
def test_old_predictions_are_not_packed_with_new_ones(write, tmp_path):
    (tmp_path / "old.png").touch()
    with pytest.raises(ValueError, match="not empty"):
        write([("bonn_000000_000019", ids([0]))], tmp_path)


def test_a_name_that_is_none_of_cityscapes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="city_123456_123456"):
        write_cityscapes([("holiday", ids([0]))], tmp_path)


def test_a_damaged_archive_is_an_error(tmp_path, monkeypatch):
    """What comes back from the archive is compared with what was predicted."""
    module = sys.modules["gcnlab.evaluation.submission"]

    def other(archive):
        return {name: Image.new("P", p.size) for name, p in read_archive(archive).items()}

    monkeypatch.setattr(module, "read_archive", other)
    with pytest.raises(ValueError, match="differs from the prediction"):
        write_voc([("2008_000006", ids([0, 20]))], tmp_path)


def test_other_classes_have_no_server():
    assert submission_format(VOC) is write_voc
    assert submission_format(CITYSCAPES) is write_cityscapes
    with pytest.raises(ValueError, match="voc and cityscapes"):
        submission_format(LabelSet(("a", "b"), ((0, 0, 0), (1, 1, 1))))
