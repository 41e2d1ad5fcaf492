"""The networks that come with the package are found by name, from any working directory."""

from pathlib import Path

import pytest

from gcnlab.pretrained import data_folder, pretrained_networks, resolve


def test_every_network_of_the_checkout_has_a_name():
    folders = Path(__file__).parent.parent / "data" / "checkpoints"
    assert pretrained_networks() == sorted(folder.name for folder in folders.iterdir())


@pytest.mark.parametrize("name", pretrained_networks())
def test_a_name_is_found_from_any_directory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"card.json", "weights.safetensors"} <= {p.name for p in resolve(name).iterdir()}


def test_a_path_has_precedence_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gcn7-seed0").mkdir()
    assert resolve("gcn7-seed0") == Path("gcn7-seed0")
    assert resolve("runs/gcn7-seed0") == Path("runs/gcn7-seed0")


def test_an_unknown_name_lists_the_networks():
    with pytest.raises(FileNotFoundError, match=r"did you mean gcn7-seed0.*conv1x1-seed0"):
        resolve("gcn7-sed0")


def test_missing_data_files_are_named():
    with pytest.raises(FileNotFoundError, match="no data/weights in the gcnlab package"):
        data_folder("weights")
