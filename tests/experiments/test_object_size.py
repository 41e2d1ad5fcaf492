"""The measurement on networks whose answers are known, and its command in a tiny variant."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gcnlab.datasets import SHAPES, render
from gcnlab.evaluation import boundary_mask
from gcnlab.experiments.object_size import (
    Settings,
    inner_pixel,
    main,
    measure,
    read_result,
    single_object,
)
from gcnlab.models import SegmentationNet
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainedRun, TrainingConfig, train

pytestmark = pytest.mark.slow

TINY = Settings(sizes=(16, 48), scenes=2, fields=1, image_size=64, window=16, stride=8)


@pytest.mark.parametrize("size", [16, 100, 220, 256])
@pytest.mark.parametrize("kind", [1, 4, 6])
def test_a_scene_has_one_object_of_its_size_inside_the_image(size, kind):
    scene = single_object(Settings(), size, kind, 0)
    (item,) = scene.objects
    assert (item.size, item.kind) == (size, kind)
    assert all(size / 2 <= c <= 256 - size / 2 for c in item.center)
    _, labels, _ = render(scene)
    rows, columns = (labels == kind).nonzero().T
    extent = max(np.ptp(rows.numpy()), np.ptp(columns.numpy())) + 1
    assert 0.6 * size <= extent <= size + 2
    assert set(labels.unique().tolist()) <= {0, kind}


def test_scenes_are_repeatable_and_differ():
    first = single_object(Settings(), 64, 2, 0)
    assert first == single_object(Settings(), 64, 2, 0)
    others = [
        single_object(Settings(), 64, 2, 1),
        single_object(Settings(), 64, 3, 0),
        single_object(Settings(seed=1), 64, 2, 0),
    ]
    places = {scene.objects[0].center for scene in (first, *others)}
    assert len(places) == 4


def test_the_inner_pixel_is_inside_and_of_a_small_object_in_its_middle():
    rng = np.random.default_rng(0)
    for size in (16, 64):
        _, labels, _ = render(single_object(TINY, size, 1, 0))
        mask = labels == 1
        inside = mask & ~boundary_mask(labels, 7)
        for _ in range(20):
            pixel = inner_pixel(inside, mask, rng)
            assert mask[pixel]
            assert inside[pixel] or not inside.any()
    nothing = torch.zeros(9, 9, dtype=torch.bool)
    square = nothing.clone()
    square[2:7, 3:8] = True
    assert inner_pixel(nothing, square, rng) == (4, 5)


def trained(model, **settings) -> TrainedRun:
    config = RunConfig(ModelConfig(**settings), DataConfig(image_size=64))
    return TrainedRun(model, config, [0.0], 0.0)


class Constant(SegmentationNet):
    """A network that predicts class 3 everywhere."""

    def __init__(self):
        super().__init__("mini", SHAPES.num_classes, head="conv1x1", refine=False)

    def forward(self, image):
        return 0 * super().forward(image) + nn.functional.one_hot(torch.tensor(3), 7)[:, None, None]


def test_a_constant_network_by_hand():
    result = measure(trained(Constant(), head="conv1x1", refine=False), "constant", TINY)
    assert (result.title, result.kernel_size, result.theoretical) == ("1×1", 1, 71)
    small, large = result.scores
    for score in (small, large):
        area = [
            (render(single_object(TINY, score.size, 3, n))[1] == 3).float().mean().item()
            for n in range(2)
        ]
        expected = dict.fromkeys(SHAPES.names[1:], 0.0)
        expected["triangle"] = 100 * sum(area) / 2  # the union is the whole image
        assert score.class_iou == pytest.approx(expected)
        assert score.iou == pytest.approx(expected["triangle"] / 6)
        assert (score.coverage, score.region) == (0, 0)  # nothing drives it
    assert small.internal_accuracy is None or 0 <= small.internal_accuracy <= 100
    inside = []
    for kind in range(1, 7):
        labels = torch.stack([render(single_object(TINY, 48, kind, n))[1] for n in range(2)])
        inside.append(int(((labels == kind) & ~boundary_mask(labels, 7)).sum()))
    assert large.internal_accuracy == pytest.approx(100 * inside[2] / sum(inside))


def test_the_theoretical_size_is_that_of_the_head_on_res5():
    net = SegmentationNet("mini", 7, kernel_size=5, refine=False)
    run = trained(net, kernel_size=5, refine=False)
    result = measure(run, "gcn5", replace(TINY, sizes=(32,), scenes=1))
    assert (result.title, result.theoretical) == ("GCN, k = 5", 71 + 4 * 32)
    (score,) = result.scores
    assert 0 <= score.coverage <= 100
    assert 0 < score.region <= 100


def test_results_of_before_keep_their_titles_and_new_ones_tell_networks_apart():
    folder = Path(__file__).parents[2] / "data" / "results" / "object_size"
    found = {path.stem: read_result(path) for path in folder.glob("*.json")}
    titles = {name.partition("-")[0]: result.title for name, result in found.items()}
    heads = {"conv1x1": "1×1"} | {f"gcn{k}": f"GCN, k = {k}" for k in (3, 5, 7, 15)}
    assert titles == heads
    gcn7 = found["gcn7-seed0"]
    assert replace(gcn7, refine=True).title == "GCN, k = 7 + BR"
    assert replace(gcn7, backbone="resnet50", refine=True).title == "resnet50 GCN, k = 7 + BR"
    assert replace(found["conv1x1-seed0"], backbone="resnet50").title == "resnet50 1×1"


def command(*arguments) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["object_size", *map(str, arguments)])
        main()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny-seed1"
    config = RunConfig(
        ModelConfig(kernel_size=3),
        DataConfig(image_size=64, train_images=2),
        TrainingConfig(epochs=1, batch_size=2, seed=1),
    )
    train(config, folder, device="cpu")
    return folder


def test_the_command_writes_a_result_with_provenance_once(run, tmp_path, capsys):
    tiny = ("--settings.sizes", "32", "--settings.image-size", "64", "--settings.scenes", "1")
    tiny += ("--settings.fields", "1", "--settings.window", "16", "--settings.stride", "16")
    command(run, "--out", tmp_path, "--device", "cpu", *tiny)
    announced = capsys.readouterr().out
    assert announced.startswith("1 networks to measure, 0 have a result; each takes 6 scenes")
    path = tmp_path / "tiny-seed1.json"
    record = json.loads(path.read_text())["provenance"]
    assert record["seeds"] == [1, 0]
    assert record["command"].startswith("object_size ")
    result = read_result(path)
    assert (result.network, result.seed, result.kernel_size) == ("tiny-seed1", 1, 3)
    assert (result.backbone, result.refine, result.title) == ("mini", True, "GCN, k = 3 + BR")
    assert result.settings.sizes == (32,)
    written = path.stat().st_mtime_ns
    command(run, "--out", tmp_path, *tiny)
    assert capsys.readouterr().out.startswith("0 networks to measure, 1 have a result")
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("none",), "none"),
        (("a/x", "b/x"), "two of the runs have the same name"),
    ],
)
def test_what_is_wrong_with_the_runs_is_said(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as end:
        command(*flags, "--out", tmp_path)
    assert end.value.code == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": (300,)}, "sizes must be"),
        ({"sizes": ()}, "sizes must be"),
        ({"fields": 9}, "fields must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_settings_are_checked_when_made(change, words):
    with pytest.raises(ValueError, match=words):
        Settings(**change)


def test_a_network_of_another_data_set_is_refused():
    config = RunConfig(ModelConfig(kernel_size=3), DataConfig("camvid"))
    run = TrainedRun(SegmentationNet("mini", 12, kernel_size=3), config, [0.0], 0.0)
    with pytest.raises(ValueError, match="streets was trained on camvid"):
        measure(run, "streets", TINY)
