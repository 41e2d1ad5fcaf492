"""The measured effect of the dense CRF, on images that its parameters were not searched on."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "data" / "results" / "crf"
RESULTS = sorted(FOLDER.glob("*.json"))


def gain(name: str, score: str) -> float:
    result = json.loads((FOLDER / f"{name}.json").read_text())
    return result["after"][score] - result["before"][score]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_search_has_provenance_and_images_kept_back(path):
    result = json.loads(path.read_text())
    assert result["provenance"]["command"].startswith("gcnlab crf data/")
    assert not result["provenance"]["commit"].endswith("+"), "made from uncommitted code"
    assert result["after"]["crf"] == result["best"]
    assert result["before"]["images"] == result["after"]["images"] >= 20
    searched = result["searched"]
    assert searched[0]["crf"] is None
    assert max(searched[1:], key=lambda s: s["miou"])["crf"] == result["best"]


@pytest.mark.parametrize("network", ["gcn7-seed0", "gcn7-br-seed0"])
def test_on_shapes_it_sharpens_outlines(network):
    assert gain(f"shapes-{network}", "boundary_accuracy") > 5
    assert gain(f"shapes-{network}", "miou") > 5


def test_on_camvid_it_trades_small_classes_for_pixels():
    """The measured result: more correct pixels, and a lower mean over the classes."""
    assert gain("camvid-mini-gcn7-br", "accuracy") > 0
    assert gain("camvid-mini-gcn7-br", "boundary_accuracy") > 0
    assert gain("camvid-mini-gcn7-br", "miou") < 0


def test_on_camvid_without_smoothing_it_gains_a_little():
    """From a second, weaker grid: small classes are not smoothed away."""
    best = json.loads((FOLDER / "camvid-mini-gcn7-br-weak.json").read_text())["best"]
    assert best["smooth_weight"] == 0
    for score in ("miou", "accuracy", "boundary_accuracy"):
        assert 0 < gain("camvid-mini-gcn7-br-weak", score) < 1
