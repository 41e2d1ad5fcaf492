"""Fields of many objects, against a computation by hand with the library's parts."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gcnlab.datasets import Shapes
from gcnlab.evaluation import boundary_mask, predict
from gcnlab.experiments import fields, object_fields
from gcnlab.experiments.field_results import read_fields
from gcnlab.experiments.object_fields import Settings, measure, numbers, without_largest
from gcnlab.experiments.objects import choose_objects, mask_of
from gcnlab.receptive import valid_field
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig, train

QUICK = Settings(objects=3, least_depth=8, windows=(16, 24), repeated=1)


def test_measures_of_a_field_by_hand():
    field = torch.zeros(4, 10)
    field[1, 2], field[1, 5], field[3, 9] = 8, -1, 1
    mask = torch.zeros(4, 10, dtype=torch.bool)
    mask[1, :6] = True
    found = numbers(field, (1, 2), mask)
    assert found == {
        "radius": pytest.approx(math.sqrt((1 * 9 + 1 * (4 + 49)) / 10)),
        "area_mass": pytest.approx(100 / 40),  # one pixel holds 80 %
        "coverage_mass": pytest.approx(100 / 6),
        "area_maximum": pytest.approx(100 / 40),
        "coverage_maximum": pytest.approx(100 / 6),
    }
    assert all(math.isnan(v) for v in numbers(torch.zeros(4, 10), (1, 2), mask).values())


def test_the_largest_window_is_left_out():
    """Each pixel has the mean drop of the other windows that cover it, or 0."""
    grid = OcclusionGrid((7, 9), (4, 4), (2, 3))
    drop = torch.from_numpy(np.random.default_rng(1).normal(size=grid.shape))
    drop[0, 0] = -9  # alone at the corner
    found = without_largest(drop, grid)
    for row in range(7):
        for column in range(9):
            covering = [
                drop[i, j].item()
                for i, (top, bottom) in enumerate(grid.rows)
                for j, (left, right) in enumerate(grid.columns)
                if (i, j) != (0, 0) and top <= row < bottom and left <= column < right
            ]
            expected = sum(covering) / len(covering) if covering else 0
            assert found[row, column].item() == pytest.approx(expected, abs=1e-6)
    assert found[0, 0] == 0


def test_scores_of_an_object_by_hand():
    """The object is the left block. The right block of its class, and void, do not count."""
    labels = torch.zeros(30, 60, dtype=torch.uint8)
    labels[:, :20], labels[:, 40:50], labels[:, 50:] = 1, 1, 255
    mask = torch.zeros(30, 60, dtype=torch.bool)
    mask[:, :20] = True
    classes = torch.zeros(30, 60, dtype=torch.int64)
    classes[:15, :30] = 1  # half of the object, and 150 pixels of the background
    classes[:, 40:] = 1
    inside, iou = object_fields.scores(classes, labels, mask, 1)
    assert inside == pytest.approx(50)
    assert iou == pytest.approx(100 * 300 / (600 + 150))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"objects": 0}, "objects must be at least 1, not 0"),
        ({"batch": 1}, "batch must be at least 2"),
        ({"seed": -1}, "seed"),
        ({"windows": (32, 32)}, "different sides"),
        ({"windows": (1,)}, "2 px or more"),
        ({"method": "drilldown"}, "choose exact"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        Settings(**setting)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "tiny"


@pytest.fixture(scope="module")
def run(folder):
    config = RunConfig(
        ModelConfig(head="conv1x1", refine=False),
        DataConfig(image_size=64, train_images=4),
        TrainingConfig(epochs=1, batch_size=4),
    )
    return train(config, folder, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "size"), [("plain", None), ("exact", None), ("exact", (80, 72))]
)
def test_measures_are_those_of_single_fields(run, method, size):
    """Also where images are padded at the bottom and right before the network sees them."""
    scenes, bottom, right = Shapes("val", 8, 64), 0, 0
    if size is not None:
        data = replace(run.config.data, crop=size, pad=True)
        run = replace(run, config=replace(run.config, data=data))
        bottom, right = size[0] - 64, size[1] - 64
    objects = choose_objects(scenes, 8, 3, 0)
    found = measure({"run": run}, scenes, objects, replace(QUICK, method=method))["run"]
    assert [list(o.measures) for o in found] == [[16, 24], [16], [16]]
    for item, one in zip(objects, found):
        picture, labels = scenes[item.image]
        image = F.pad(run.normalization(picture), (0, right, 0, bottom))
        mask = mask_of(labels, item)
        padded = F.pad(mask, (0, right, 0, bottom))
        classes = predict(run.model, image[None])[0, :64, :64]
        assert one.right == (classes[item.pixel] == item.kind)
        inner = mask & ~boundary_mask(labels, 7)
        share = (classes == item.kind)[inner].double().mean().item()
        assert one.inside == pytest.approx(100 * share, nan_ok=True)
        for side, by_quantity in one.measures.items():
            for quantity, measured in by_quantity.items():
                field = valid_field(
                    run.model,
                    image,
                    item.pixel,
                    item.kind,
                    window=side,
                    stride=side // 2,
                    quantity=quantity,
                    method="plain",
                )
                expected = {
                    "radius": field.radius(),
                    "area_mass": 100 * field.area(0.8, "mass"),
                    "coverage_mass": 100 * field.coverage(padded, 0.8, "mass"),
                    "area_maximum": 100 * field.area(0.2, "maximum"),
                    "coverage_maximum": 100 * field.coverage(padded, 0.2, "maximum"),
                }
                assert {n: v[0] for n, v in measured.items()} == pytest.approx(expected, rel=1e-2)


@pytest.mark.slow
def test_the_command_writes_a_result_with_provenance_once(run, folder, tmp_path, monkeypatch):
    argv = ["fields", str(folder), "--out", str(tmp_path / "out"), "--settings.objects", "3"]
    more = ["--settings.least-depth", "8", "--settings.windows", "16", "24"]
    monkeypatch.setattr("sys.argv", [*argv, *more, "--settings.repeated", "1"])
    fields.main()
    path = tmp_path / "out" / "tiny.json"
    read, record = read_fields(path).objects, json.loads(path.read_text())
    scenes = Shapes("val", None, 64)
    expected = measure({"tiny": run}, scenes, choose_objects(scenes, 8, 3, 0), QUICK)["tiny"]
    for one, other in zip(read, expected, strict=True):
        assert one.item.pixel == other.item.pixel
        for side, quantity, name in [(16, "margin", "radius"), (16, "logit", "area_mass")]:
            pair = other.measures[side][quantity][name]
            assert one.measures[side][quantity][name] == pytest.approx(pair, rel=1e-3)
    assert record["provenance"]["commit"]
    assert (record["head"], record["seed"]) == ("conv1x1", 0)
    written = path.stat().st_mtime_ns
    fields.main()
    assert path.stat().st_mtime_ns == written


def test_a_damaged_result_is_named(tmp_path):
    path = tmp_path / "a.json"
    for text in ("{", '{"objects": [{}]}', "[]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"a\.json: damaged"):
            read_fields(path)


@pytest.mark.slow
def test_networks_on_one_frozen_backbone_are_measured_together():
    data = DataConfig(image_size=64, train_images=4, crop=(96, 96), pad=True)
    training, runs = TrainingConfig(epochs=1, batch_size=4), {}
    for head in ("conv1x1", "gcn"):
        model = ModelConfig(
            head=head, kernel_size=3, refine=False, frozen_backbone=True, weights="mini-seed0"
        )
        runs[head] = train(RunConfig(model, data, training), progress=False)
    scenes = Shapes("val", 8, 64)
    objects = choose_objects(scenes, 8, 3, 0)
    together = measure(runs, scenes, objects, QUICK)
    for name, run in runs.items():
        alone = measure({name: run}, scenes, objects, QUICK)[name]
        for one, other in zip(alone, together[name], strict=True):
            assert (one.item, one.right, one.inside, one.iou) == (
                other.item,
                other.right,
                other.inside,
                other.iou,
            )
            for side, by_quantity in one.measures.items():
                for quantity, read in by_quantity.items():
                    radius = other.measures[side][quantity]["radius"]
                    assert radius == pytest.approx(read["radius"], rel=1e-3, nan_ok=True)
    runs["trained"] = train(
        RunConfig(ModelConfig(head="conv1x1", refine=False), data, training), progress=False
    )
    with pytest.raises(ValueError, match="share one frozen backbone"):
        measure(runs, scenes, objects, QUICK)
