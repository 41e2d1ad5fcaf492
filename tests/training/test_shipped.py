import json
from pathlib import Path

import pytest
import torch

from gcnlab.training import (
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    load_run,
    ship,
    train,
)

SHIPPED = Path(__file__).parents[2] / "data" / "checkpoints"
CONFIG = RunConfig(
    ModelConfig(kernel_size=3),
    DataConfig(image_size=32, train_images=2),
    TrainingConfig(epochs=1, batch_size=2),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(CONFIG, folder, progress=False, device="cpu")
    (folder / "result.json").write_text(
        '{"what": "a test", "scores": {"miou": 1.0}, "provenance": {}}'
    )
    return folder


def test_a_shipped_network_comes_back_rounded_to_half_precision(run, tmp_path):
    shipped = load_run(ship(run, tmp_path / "net"), "cpu")
    whole = load_run(run, "cpu")
    assert shipped.config == whole.config
    assert not shipped.model.training
    for name, value in whole.model.state_dict().items():
        expected = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(shipped.model.state_dict()[name], expected), name
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["what"] == "a test"
    assert card["scores"] == {"miou": 1.0}


def test_damage_is_named(run, tmp_path):
    folder = ship(run, tmp_path / "net")
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"weights\.safetensors: damaged"):
        load_run(folder, "cpu")
    weights.write_bytes(whole)
    (folder / "card.json").write_text("{}")
    with pytest.raises(ValueError, match=r"card\.json: not a card"):
        load_run(folder, "cpu")
    (folder / "card.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"card\.json"):
        load_run(folder, "cpu")


def test_an_unfinished_run_is_not_shipped(run, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes())
    with pytest.raises(FileNotFoundError, match="result"):
        ship(tmp_path, tmp_path / "net")


@pytest.mark.parametrize("folder", sorted(SHIPPED.glob("*/")), ids=lambda path: path.name)
def test_the_shipped_networks_work(folder):
    run = load_run(folder, "cpu")
    card = json.loads((folder / "card.json").read_text())
    assert not card["provenance"]["commit"].endswith("+"), "made from uncommitted changes"
    with torch.no_grad():
        scores = run.model(torch.zeros(1, 3, 64, 64))
    assert torch.isfinite(scores).all()


def test_what_is_shipped_stays_small():
    total = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert 0 < total < 25e6
