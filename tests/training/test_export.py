import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gcnlab.training import (
    ClassificationData,
    DataConfig,
    ModelConfig,
    PretrainConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    export_run,
    load_classifier,
    load_run,
    train,
)
from gcnlab.training.checkpoint import fingerprint
from gcnlab.training.state import load_initial
from gcnlab.training.tasks import build_network

PRETRAINED = Path(__file__).parents[2] / "data" / "checkpoints"
CONFIG = RunConfig(
    ModelConfig(kernel_size=3),
    DataConfig(image_size=32, train_images=2),
    TrainingConfig(epochs=1, batch_size=2),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(CONFIG, folder, progress=False, device="cpu")
    write_result(folder)
    return folder


def write_result(folder, **changed):
    result = {"what": "a test", "scores": {"miou": 1.0}, "provenance": {}}
    result["settings"] = CONFIG.to_dict()
    (folder / "result.json").write_text(json.dumps(result | changed))


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(run, tmp_path / "copied")


def change_checkpoint(folder, **changed):
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    torch.save(state | changed, folder / "checkpoint.pt")


def test_an_exported_network_is_rounded_to_half_precision(run, tmp_path):
    exported = load_run(export_run(run, tmp_path / "net"), "cpu")
    whole = load_run(run, "cpu")
    assert exported.config == whole.config
    assert not exported.model.training
    for name, value in whole.model.state_dict().items():
        expected = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(exported.model.state_dict()[name], expected), name
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["what"] == "a test"
    assert card["scores"] == {"miou": 1.0}


def test_damage_is_named(run, tmp_path):
    folder = export_run(run, tmp_path / "net")
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


def test_an_unfinished_run_is_not_exported(run, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes())
    with pytest.raises(FileNotFoundError, match="result"):
        export_run(tmp_path, tmp_path / "net")


def test_a_run_that_was_started_again_is_not_exported_with_earlier_scores(copied, tmp_path):
    change_checkpoint(copied, step=3, steps=8)
    with pytest.raises(ValueError, match=r"copied: not finished; .* step 3 of 8"):
        export_run(copied, tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_result_of_other_settings_is_an_error(copied, tmp_path):
    other = replace(CONFIG, training=replace(CONFIG.training, seed=1))
    write_result(copied, settings=other.to_dict())
    with pytest.raises(ValueError, match=r"copied: result\.json is of a run with other settings"):
        export_run(copied, tmp_path / "net")
    write_result(copied, settings={"colour": "red"})
    with pytest.raises(ValueError, match="copied: unknown settings"):
        export_run(copied, tmp_path / "net")
    (copied / "result.json").write_text('{"scores": {}}')
    with pytest.raises(ValueError, match=r"result\.json: not a result, without provenance"):
        export_run(copied, tmp_path / "net")


def test_settings_that_came_after_a_run_have_their_defaults(copied, tmp_path):
    config = CONFIG.to_dict()
    del config["model"]["frozen_norm"]
    change_checkpoint(copied, config=config)
    assert load_run(export_run(copied, tmp_path / "net"), "cpu").config == CONFIG


def test_an_exported_classifier_is_a_backbone(tmp_path):
    data = ClassificationData(
        "shapes", train_images=2, image_size=32, crop=32, resize=32, area=(1.0, 1.0)
    )
    config = PretrainConfig("mini", 6, data=data, training=CONFIG.training)
    run = train(config, tmp_path / "run", progress=False, device="cpu")
    write_result(tmp_path / "run", settings=config.to_dict())
    folder = export_run(tmp_path / "run", tmp_path / "net")
    assert load_classifier(folder, "cpu").config == config
    with pytest.raises(ValueError, match=r"a run of classification.*model\.weights"):
        load_run(folder, "cpu")
    backbone = build_network(ModelConfig(weights=str(folder)), 7).backbone
    for name, value in backbone.state_dict().items():
        whole = run.model.state_dict()[name]
        expected = whole.half().to(value.dtype) if value.is_floating_point() else whole
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("folder", sorted(PRETRAINED.glob("*/")), ids=lambda path: path.name)
def test_the_pretrained_networks_work(folder):
    card = json.loads((folder / "card.json").read_text())
    load = load_classifier if card.get("task") == "classification" else load_run
    run = load(folder, "cpu")
    assert not card["provenance"]["commit"].endswith("+"), "made from uncommitted changes"
    with torch.no_grad():
        logits = run.model(torch.zeros(1, 3, 64, 64))
    assert torch.isfinite(logits).all()


def test_a_name_works_wherever_a_folder_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = load_run("gcn3-seed0", "cpu")
    model = Segmentation(run.config).build_model()
    assert load_initial(model, "gcn3-seed0")["sha256"] == fingerprint(run.model.state_dict())
    classifier = load_classifier("mini-seed0", "cpu").model.state_dict()
    backbone = build_network(ModelConfig(weights="mini-seed0"), 7).backbone.state_dict()
    assert all(torch.equal(value, classifier[name]) for name, value in backbone.items())


def test_the_pretrained_networks_stay_small():
    def total(pattern):
        return sum(path.stat().st_size for path in PRETRAINED.glob(f"{pattern}/*"))

    assert 0 < total("photos-*") < 30e6
    assert 0 < total("*") - total("photos-*") < 10e6
