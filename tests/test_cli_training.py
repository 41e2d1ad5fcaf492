"""gcnlab schedule and gcnlab pretrain in this process: their files and their errors."""

import json
import sys
from pathlib import Path

import pytest
import torch

import gcnlab.datasets.single_shapes
from gcnlab.cli import main
from gcnlab.datasets.miniature import make_miniatures
from gcnlab.training import SCHEDULES, load_checkpoint, load_classifier, load_run
from gcnlab.training.checkpoint import LOCK

pytestmark = pytest.mark.slow

# pycocotools decodes with a call that NumPy 2 has deprecated.

SMALL = ("--model.kernel-size", "3", "--precision", "fp32", "--device", "cpu")
FILES = {"checkpoint.pt", "result.json", "log.csv", "loss.png"}


def gcnlab_command(*arguments: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gcnlab", *map(str, arguments)])
        patch.setitem(gcnlab.datasets.single_shapes.SPLITS, "val", 4)
        patch.setenv("COLUMNS", "200")
        main()


def complaint(capsys, *arguments: str | Path) -> str:
    """Run a command that has to fail; return its one-line error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        gcnlab_command(*arguments)
    assert end.value.code == 1
    line = capsys.readouterr().err.strip()
    assert line.startswith("gcnlab: ")
    assert "\n" not in line
    return line


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def schedule(tmp_path_factory) -> Path:
    """Folder of a whole tiny schedule, on miniatures that it draws itself."""
    out = tmp_path_factory.mktemp("runs") / "voc"
    gcnlab_command("schedule", "voc", "--out", out, "--tiny", *SMALL)
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_miniatures(tmp_path_factory.mktemp("data"))


def test_a_tiny_schedule_writes_a_run_for_each_stage(schedule):
    assert {p.name for p in schedule.iterdir()} == {"stage1", "stage2", "stage3", "miniature"}
    sets = []
    for number in (1, 2, 3):
        folder = schedule / f"stage{number}"
        assert {p.name for p in folder.iterdir()} - {LOCK} == FILES
        result, run = read(folder / "result.json"), load_run(folder, "cpu")
        assert result["scores"]["images"] == 4  # VOC val, whatever is trained on
        assert result["steps"] == len(run.losses)
        assert result["inference"]["pad_to"] == [64, 64]
        assert result.get("started_from") == run.initial
        sets.append(result["settings"]["data"]["dataset"])
    assert sets == ["voc+sbd+coco", "voc+sbd", "voc"]
    assert read(schedule / "stage3" / "result.json")["started_from"]["path"].endswith(
        "stage2/checkpoint.pt"
    )


def test_the_same_command_again_trains_no_more(schedule, capsys):
    before = {p: p.read_bytes() for p in schedule.glob("stage*/*")}
    gcnlab_command("schedule", "voc", "--out", schedule, "--tiny", *SMALL)
    assert capsys.readouterr().out.count("finished") == 3
    assert {p: p.read_bytes() for p in schedule.glob("stage*/*")} == before


def test_a_score_that_is_missing_is_made_again(schedule):
    path = schedule / "stage2" / "result.json"
    scores = read(path)["scores"]
    path.unlink()
    gcnlab_command("schedule", "voc", "--out", schedule, "--tiny", *SMALL)
    assert read(path)["scores"] == scores


def test_a_stage_is_evaluated_like_any_run(schedule, capsys):
    gcnlab_command("evaluate", schedule / "stage3", "--device", "cpu")
    assert "aeroplane" in capsys.readouterr().out


def test_changed_settings_are_refused(schedule, capsys):
    flags = ("--stages.1.learning-rate", "0.5")
    line = complaint(capsys, "schedule", "voc", "--out", schedule, "--tiny", *SMALL, *flags)
    assert str(schedule / "stage2") in line
    assert "training.learning_rate" in line
    assert "0.5 now" in line


def test_missing_data_is_one_message_that_names_the_folder(capsys, tmp_path):
    where = tmp_path / "nowhere"
    line = complaint(capsys, "schedule", "cityscapes", "--out", tmp_path / "run", "--root", where)
    assert str(where / "cityscapes") in line
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_each_stage_costs(data, capsys, tmp_path):
    """At the full size, with the settings of the paper: only the data are miniature."""
    gcnlab_command("schedule", "cityscapes", "--out", tmp_path, "--root", data, "--dry-run")
    lines = capsys.readouterr().out.splitlines()
    epochs = [stage.epochs for stage in SCHEDULES["cityscapes"][1].stages]
    assert "cityscapes+coarse at 800×800, 5 images" in lines[0]
    assert f"{5 * epochs[0]} steps of 1" in lines[0]
    assert f"cityscapes at 800×800, 3 images, {epochs[1]} epochs" in lines[1]
    assert not list(tmp_path.iterdir())


def test_settings_of_a_schedule_and_of_a_stage_are_flags(data, tmp_path):
    flags = ("--stages.0.epochs", "2", "--stages.0.learning-rate", "1e-4", "--seed", "5")
    more = ("--model.head", "conv1x1", "--batch-size", "2", "--root", data)
    gcnlab_command("schedule", "ablation", "--out", tmp_path, "--tiny", *SMALL, *flags, *more)
    config = load_run(tmp_path / "stage1", "cpu").config
    assert (config.training.seed, config.training.batch_size) == (5, 2)
    assert (config.training.learning_rate, config.model.head) == (1e-4, "conv1x1")
    assert config.data.root == data
    assert config.training.epochs == 1  # --tiny


@pytest.mark.parametrize("dataset", ["imagenet", "shapes"])
def test_pretraining_writes_weights_that_training_takes(dataset, tmp_path):
    out = tmp_path / "classifier"
    flags = ("--data.dataset", dataset, "--device", "cpu")
    gcnlab_command("pretrain", "mini_gcn", "--out", out, "--tiny", *flags)
    assert {*FILES, "weights.safetensors"} <= {p.name for p in out.iterdir()}
    result = read(out / "result.json")
    assert result["scores"]["images"] == {"imagenet": 6, "shapes": 4}[dataset]
    assert 0 <= result["scores"]["top1"] <= result["scores"]["top5"] <= 100
    assert result["provenance"]["dataset"] == dataset
    run = tmp_path / "run"
    size = ("--data.image-size", "32", "--data.train-images", "2", "--training.batch-size", "2")
    weights = ("--model.backbone", "mini_gcn", "--model.weights", out / "weights.safetensors")
    patched = ("--training.epochs", "1", "--training.learning-rate", "1e-30", "--device", "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gcnlab.datasets.shapes.SPLITS, "val", 1)
        gcnlab_command("train", "shapes", "--out", run, *size, *weights, *patched)
    classifier = load_classifier(out, "cpu").model.conv1.weight
    segmenter = load_checkpoint(run / "checkpoint.pt")["model"]["backbone.conv1.weight"]
    assert torch.equal(classifier, segmenter)


def test_pretraining_without_data_names_the_folder(capsys, tmp_path):
    where = tmp_path / "nowhere"
    line = complaint(
        capsys, "pretrain", "resnet50_gcn", "--out", tmp_path / "run", "--data.root", where
    )
    assert str(where / "imagenet") in line


def test_a_classifier_is_not_evaluated_as_a_segmentation_network(capsys, tmp_path):
    out = tmp_path / "classifier"
    gcnlab_command("pretrain", "mini", "--out", out, "--tiny", "--device", "cpu")
    line = complaint(capsys, "evaluate", out)
    assert "classification" in line
    assert str(out / "weights.safetensors") in line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["schedule"], ["voc", "cityscapes", "ablation", "--tiny", "--dry-run"]),
        (["schedule", "voc"], ["--stages.0.learning-rate", "--stages.2.epochs", "--momentum"]),
        (["pretrain"], ["resnet50_gcn", "mini_gcn", "--tiny", "weights.safetensors"]),
        (["pretrain", "resnet50_gcn"], ["--data.area", "--label-smoothing", "--training.epochs"]),
    ],
)
def test_help_says_what_there_is(capsys, command, words):
    with pytest.raises(SystemExit) as end:
        gcnlab_command(*command, "--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []
