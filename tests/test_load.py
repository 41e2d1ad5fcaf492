"""`gcnlab.load` gives a trained network ready to use, by name or folder, from any directory."""

import re
import shutil
from pathlib import Path

import pytest
import torch

import gcnlab
import gcnlab.datasets
from gcnlab.pretrained import resolve
from tests.python import run_python

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", gcnlab.pretrained_networks())
def test_every_network_of_the_package_predicts(name):
    run = gcnlab.load(name, device="cpu")
    image, _ = gcnlab.Shapes("test", 1, 64)[0]
    with torch.no_grad():
        logits = run.model(run.normalization(image)[None])
    assert not run.model.training
    assert logits.shape[1] == len(run.labels.names)
    assert logits.isfinite().all()


def test_a_folder_loads_like_the_name(tmp_path):
    shutil.copytree(resolve("gcn3-seed0"), tmp_path / "mine" / "net")
    by_folder, by_name = gcnlab.load("mine/net", "cpu"), gcnlab.load("gcn3-seed0", "cpu")
    assert by_folder.config == by_name.config
    for one, other in zip(by_folder.model.parameters(), by_name.model.parameters()):
        assert torch.equal(one, other)


def test_an_unknown_name_lists_the_networks():
    with pytest.raises(FileNotFoundError, match=r"gcn8-seed0.*the pretrained networks are"):
        gcnlab.load("gcn8-seed0")


def test_a_run_of_an_unknown_task_is_refused(tmp_path):
    folder = shutil.copytree(resolve("gcn3-seed0"), tmp_path / "net")
    card = folder / "card.json"
    card.write_text(card.read_text().replace('"what"', '"task": "depth", "what"', 1))
    with pytest.raises(
        ValueError, match=r"weights.safetensors: a run of depth; this version knows"
    ):
        gcnlab.load(folder)


def test_a_prediction_and_a_field_do_not_wait_for_torchvision():
    """Importing torchvision takes longer than importing PyTorch."""
    code = """
import sys, torch, gcnlab
run = gcnlab.load("gcn3-seed0", "cpu")
image = torch.rand(3, 64, 64)
gcnlab.predict(run.model, image[None])
slow = {"torchvision", "scipy", "matplotlib", "IPython", "ipywidgets"}
print(sorted(slow & sys.modules.keys()))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_cat_is_segmented_as_the_readme_says():
    """No network was trained on the photograph."""
    image, cat = gcnlab.datasets.cat_photograph()
    run = gcnlab.load("photos-gcn11-br", "cpu")
    classes = run.predictor().class_ids(run.normalization(image))
    found = classes == run.labels.names.index("cat")
    iou = (found & cat).sum() / (found | cat).sum()
    shown = re.search(r"placed by eye is (\d\.\d+)", (ROOT / "README.md").read_text())
    assert round(iou.item(), 2) == float(shown[1])
