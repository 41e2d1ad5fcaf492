"""Fields of all pixels of objects: against single fields, and statistics against hand computations."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gcnlab.datasets import Shapes
from gcnlab.datasets.cutout import depths
from gcnlab.evaluation import predict
from gcnlab.experiments import atlas_results
from gcnlab.experiments.atlas_measurement import Measurement, Settings, images_with_objects
from gcnlab.experiments.atlas_results import (
    MEASURES,
    PARTS,
    AtlasResult,
    ImageRanks,
    ObjectParts,
    read_atlases,
)
from gcnlab.experiments.atlases import Command
from gcnlab.experiments.depth_profiles import change, gain, interval, profile, within_images
from gcnlab.experiments.objects import LabelledObject, mask_of
from gcnlab.receptive import valid_field
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig, train

SETTINGS = Settings(images=3, least_depth=8, window=16, every=8)


# --- The statistics


def item(image=0, size=50.0):
    return LabelledObject(image, 1, (3, 4), size, 9.0)


def parts(coverage, right=(100.0,) * PARTS, image=0, size=50.0):
    values = dict.fromkeys(MEASURES, (1.0,) * PARTS)
    return ObjectParts(
        item(image, size), (4,) * PARTS, values | {"coverage": tuple(coverage), "right": right}
    )


def result(objects, images=(), network="a-seed0"):
    return AtlasResult(network, int(network[-1]), tuple(objects), tuple(images))


def test_profiles_are_means_over_objects_of_means_over_networks():
    nan = math.nan
    one = result(
        [parts([90, 80, 70, 60, 50]), parts([40, nan, 40, 40, 40]), parts([0] * 5, size=9.0)]
    )
    two = result(
        [parts([70, 60, 50, 40, 30]), parts([60, 60, nan, 60, 60]), parts([9] * 5, size=9.0)],
        network="a-seed1",
    )
    found = profile([one, two], "coverage", 9, 50)
    assert [p.mean for p in found] == pytest.approx([65, 65, 50, 50, 45])
    assert [p.count for p in found] == [2] * 5
    assert change([one, two], "coverage", 9).mean == pytest.approx((-40 + 0) / 2)
    assert [p.mean for p in gain([one], [two], "coverage", 9)] == pytest.approx([0, -20, -20, 0, 0])
    assert all(math.isnan(p.mean) and p.count == 0 for p in profile([one], "coverage", 100))


def test_an_interval_contains_the_mean_as_often_as_it_says():
    """Of 300 samples of 60 normal values, 95 %; the bootstrap's intervals are a little short."""
    rng = np.random.default_rng(1)
    samples = [interval(rng.normal(1, 2, 60)) for _ in range(300)]
    held = np.mean([s.low <= 1 <= s.high for s in samples])
    assert 0.90 <= held <= 0.98
    widths = [s.high - s.low for s in samples]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / math.sqrt(60), rel=0.06)


@pytest.mark.parametrize(("values", "sign"), [([1.0, 2, 3], 1), ([-1.0, -2], -1), ([-9.0, 9], 0)])
def test_the_sign_of_an_interval(values, sign):
    assert interval(np.array([*values, math.nan])).sign == sign


def test_the_partial_correlation_is_that_of_the_residuals_of_ranks():
    from scipy.stats import rankdata, spearmanr

    rng = np.random.default_rng(0)
    depth = rng.random(200)
    coverage, right = depth + rng.random(200), depth + 0.5 * rng.random(200)
    ranks = ImageRanks(
        0,
        200,
        spearmanr(coverage, right).statistic,
        spearmanr(coverage, depth).statistic,
        spearmanr(right, depth).statistic,
    )
    on_depth = np.stack([np.ones(200), rankdata(depth)], 1)
    residuals = [
        rankdata(values) - on_depth @ np.linalg.lstsq(on_depth, rankdata(values), rcond=None)[0]
        for values in (coverage, right)
    ]
    assert ranks.at_equal_depth == pytest.approx(np.corrcoef(*residuals)[0, 1])
    assert math.isnan(replace(ranks, coverage_depth=1.0).at_equal_depth)
    assert math.isnan(replace(ranks, right_depth=math.nan).at_equal_depth)


def test_correlations_are_averaged_over_networks_and_then_images():
    nan, one = math.nan, [parts([1] * 5)]
    results = [
        result(one, [ImageRanks(0, 9, 0.2, 0.0, 0.0), ImageRanks(1, 9, nan, 0.0, 0.0)]),
        result(one, [ImageRanks(0, 9, 0.4, 0.0, 0.0), ImageRanks(1, 9, nan, 0.0, 0.0)], "a-seed1"),
    ]
    found = within_images(results, "coverage_right")
    assert (found.mean, found.count) == (pytest.approx(0.3), 1)
    assert within_images(results, "at_equal_depth").mean == pytest.approx(0.3)


def test_what_does_not_fit_is_named():
    one, other = result([parts([1] * 5)]), result([parts([1] * 5, image=2)])
    with pytest.raises(ValueError, match="different objects"):
        profile([one, other], "coverage")
    with pytest.raises(ValueError, match="different objects"):
        gain([one], [other], "coverage")
    with pytest.raises(ValueError, match="unknown measure 'size'; choose one of right"):
        profile([one], "size")


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"images": 0}, "images must be"), ({"least_depth": 0}, "least_depth must be"),
     ({"seed": -1}, "seed must be"), ({"window": 1}, "window must be")],
)  # fmt: skip
def test_settings_out_of_range(setting, words):
    with pytest.raises(ValueError, match=words):
        Settings(**setting)


def test_images_are_the_same_whatever_their_number():
    scenes = Shapes("val", 12, 64)
    few, more = (
        [o[0].image for *_, o in images_with_objects(scenes, replace(SETTINGS, images=n))]
        for n in (3, 6)
    )
    assert more[:3] == few
    assert len(set(more)) == 6


# --- The measurement


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two networks on one frozen backbone, as folders."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    data = DataConfig(image_size=64, train_images=4, crop=(80, 72), pad=True)
    training = TrainingConfig(epochs=1, batch_size=4)
    for head, k in (("conv1x1", 1), ("gcn", 3)):
        name = f"{head}-seed0"
        config = RunConfig(
            ModelConfig(
                head=head, kernel_size=k, refine=False, frozen_backbone=True, weights="mini-seed0"
            ),
            data,
            training,
        )
        found[name] = train(config, folder / name, progress=False)
    return folder, found


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.weekly)])
def test_measures_are_those_of_single_fields(runs, compiled):
    _, found = runs
    measurement = Measurement([*found.values()], replace(SETTINGS, compile=compiled))
    scenes = Shapes("val", 4, 64)
    picture, labels, objects = next(images_with_objects(scenes, SETTINGS))
    for run, (parts, ranks) in zip(found.values(), measurement(picture, labels, objects)):
        image = torch.nn.functional.pad(run.normalization(picture), (0, 8, 0, 16))
        classes = predict(run.model, image[None])[0]
        assert [one.item for one in parts] == objects
        for one in parts:
            mask = torch.zeros(80, 72, dtype=torch.bool)
            mask[:64, :64] = mask_of(labels, one.item)
            depth = depths(mask)
            units = [(r, c) for r in range(0, 80, 8) for c in range(0, 72, 8) if mask[r, c]]
            of_part = [[u for u in units if p < PARTS * depth[u] / depth.max() <= p + 1]
                       for p in range(PARTS)]  # fmt: skip
            assert one.units == tuple(map(len, of_part))
            for p, chosen in enumerate(of_part):
                fields = [
                    valid_field(run.model, image, u, one.item.kind, window=16, stride=8)
                    for u in chosen
                ]
                expected = {
                    "right": [classes[u] == one.item.kind for u in chosen],
                    "coverage": [f.coverage(mask) for f in fields],
                    "area": [f.region().double().mean() for f in fields],
                    "context": [
                        f.discrepancy[~mask].abs().sum() / f.discrepancy.abs().sum() for f in fields
                    ],
                }
                for name, values in expected.items():
                    mean = 100 * np.mean([float(v) for v in values]) if values else math.nan
                    found_mean = one.measures[name][p]
                    assert found_mean == pytest.approx(mean, abs=0.05, nan_ok=True), name
                radius = np.mean([f.radius() for f in fields]) if fields else math.nan
                assert one.measures["radius"][p] == pytest.approx(radius, rel=1e-3, nan_ok=True)
        assert ranks.units == sum(sum(one.units) for one in parts)
        assert ranks.image == objects[0].image


@pytest.mark.slow
def test_a_stopped_measurement_goes_on(runs, tmp_path, monkeypatch):
    folder, _ = runs
    paths = tuple(sorted(folder.iterdir()))
    Command(paths, tmp_path, settings=replace(SETTINGS, images=2))()
    first = {path.name: json.loads((tmp_path / f"{path.name}.json").read_text()) for path in paths}
    monkeypatch.setattr(
        Measurement, "__call__", counted := Counted(Measurement.__call__), raising=True
    )
    Command(paths, tmp_path, settings=SETTINGS)()
    assert counted.calls == 1
    for path in paths:
        found = read_atlases(tmp_path / f"{path.name}.json")
        assert (found.network, found.seed, found.head) == (path.name, 0, path.name[:-6])
        assert len(found.images) == 3
        assert len({o.item.image for o in found.objects}) == 3
        values = json.loads((tmp_path / f"{path.name}.json").read_text())
        assert values["images"][:2] == first[path.name]["images"]
        assert values["provenance"]["dataset"] == "shapes"
    assert atlas_results.as_json(found)["objects"] == values["objects"] or math.isnan(
        found.objects[0].measures["right"][0]
    )
    with pytest.raises(ValueError, match="other settings"):
        Command(paths, tmp_path, settings=replace(SETTINGS, every=4))()


class Counted:
    """A method that counts its calls."""

    def __init__(self, method):
        self.method, self.calls = method, 0

    def __get__(self, owner, kind):
        def call(*args):
            self.calls += 1
            return self.method(owner, *args)

        return call


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{"objects": []}')
    with pytest.raises(ValueError, match=r"one\.json: damaged or not a result of atlases"):
        read_atlases(path)
