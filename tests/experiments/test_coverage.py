"""Coverage and accuracy of single objects, against a computation by hand with the library's parts."""

import json
import math

import numpy as np
import pytest
from scipy.stats import rankdata

from gcnlab.datasets import Shapes
from gcnlab.evaluation import boundary_mask, predict
from gcnlab.experiments import coverage
from gcnlab.experiments.coverage import (
    GROUPS,
    ObjectCoverage,
    Settings,
    correlation,
    correlations,
    measure,
    read_result,
)
from gcnlab.receptive import valid_field
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig, train

pytestmark = pytest.mark.slow

QUICK = Settings(images=3, window=32, stride=32)


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


@pytest.fixture(scope="module")
def objects(run):
    return measure(run, QUICK)


def test_every_object_with_an_inside_is_measured_once(objects):
    scenes = Shapes("val", 3, 64)
    expected = []
    for index in range(3):
        inside = ~boundary_mask(scenes[index][1], 7)
        instances = scenes.instances(index)
        for number, item in enumerate(scenes.scene(index).objects):
            if ((instances == number + 1) & inside).any():
                expected.append((index, number, item.kind, item.size))
    assert [(o.image, o.number, o.kind, o.size) for o in objects] == expected
    assert expected


def test_accuracy_and_coverage_are_those_of_the_parts(run, objects):
    scenes = Shapes("val", 3, 64)
    for found in objects:
        picture, labels = scenes[found.image]
        image = run.normalization(picture)
        mask = scenes.instances(found.image) == found.number + 1
        inner = mask & ~boundary_mask(labels, 7)
        right = (predict(run.model, image[None])[0] == found.kind)[inner]
        assert found.internal_accuracy == pytest.approx(100 * right.double().mean().item())
        # Which inner pixel was drawn is not told; its coverage is one of theirs.
        shares = [
            valid_field(
                run.model, image, pixel, found.kind, window=32, stride=32, method="plain"
            ).coverage(mask, 0.2)
            for pixel in map(tuple, inner.nonzero().tolist())
        ]
        assert min(abs(found.coverage - 100 * share) for share in shares) < 1e-3


def thing(coverage, accuracy, size=100.0):
    return ObjectCoverage(0, 0, 1, size, float(coverage), float(accuracy))


def test_the_correlation_is_that_of_the_ranks():
    pairs = [(10, 3), (20, 1), (30, 4), (40, 1.5), (50, 9), (60, 2.6)]
    ranks = [rankdata(column) for column in zip(*pairs)]
    found = correlation([thing(*pair) for pair in pairs])
    assert found.rho == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert found.objects == 6
    assert math.isnan(correlation([thing(50, 1), thing(50, 2)]).rho)


def test_groups_of_size_have_every_object_once():
    sizes = [1.0, 80.0, 80.5, 130.0, 130.1, 192.0]
    found = correlations([thing(i, i, size) for i, size in enumerate(sizes)])
    assert [found[f"{low}–{high} px"].objects for low, high in GROUPS] == [2, 2, 2]
    assert found["all"].objects == 6


def test_the_command_writes_a_result_with_provenance_once(run, folder, tmp_path, monkeypatch):
    argv = ["coverage", str(folder), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*argv, "--settings.images", "1", "--settings.stride", "32"])
    coverage.main()
    path = tmp_path / "out" / "tiny.json"
    assert read_result(path) == measure(run, Settings(images=1, stride=32))
    assert json.loads(path.read_text())["provenance"]["commit"]
    written = path.stat().st_mtime_ns
    coverage.main()
    assert path.stat().st_mtime_ns == written


def test_two_runs_of_one_name_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["coverage", "a/x", "b/x", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        coverage.main()
    assert end.value.code == 1
    assert "two of the runs have the same name" in capsys.readouterr().err


@pytest.mark.parametrize("setting", [{"images": 0}, {"seed": -1}])
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        Settings(**setting)
