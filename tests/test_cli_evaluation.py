"""The commands that score and predict: inference modes, CRF, curves and tables, submissions."""

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gcnlab.datasets.shapes
from gcnlab.cli import main
from gcnlab.datasets import SHAPES, read_image
from gcnlab.datasets.miniature import make_cityscapes, make_voc
from gcnlab.evaluation import CRF, Inference, predict
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig, load_run, train

pytestmark = pytest.mark.slow

needs_crf = pytest.mark.skipif(
    importlib.util.find_spec("pydensecrf") is None, reason="the extra crf is not installed"
)
MODES = (
    *("--inference.flip", "--inference.scales", "0.75", "1", "1.25"),
    *("--inference.tile", "40", "48", "--inference.overlap", "0.6"),
)
INFERENCE = Inference(flip=True, scales=(0.75, 1.0, 1.25), tile=(40, 48), overlap=0.6)


def gcnlab_command(*arguments: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gcnlab", *map(str, arguments)])
        for split in ("val", "test"):
            patch.setitem(gcnlab.datasets.shapes.SPLITS, split, 3)
        patch.setenv("COLUMNS", "200")
        main()


@pytest.fixture
def complaint(capsys):
    """Run a command that has to fail with status 1; return its one-line error."""

    def fail(*arguments: str | Path) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            gcnlab_command(*arguments)
        assert end.value.code == 1
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("gcnlab: ")
        return line

    return fail


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def short_run(out: Path, data: DataConfig) -> Path:
    config = RunConfig(ModelConfig(kernel_size=3), data, TrainingConfig(epochs=1, batch_size=2))
    train(config, out, device="cpu", progress=False)
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    data = DataConfig(image_size=48, train_images=2)
    return short_run(tmp_path_factory.mktemp("runs") / "shapes", data)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_voc(root)
    make_cityscapes(root)
    return root


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    path = tmp_path / "street.png"
    Image.fromarray(pixels).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


# --- evaluate


def test_modes_curve_and_bands_reach_the_result(run, tmp_path, capsys):
    out, table = tmp_path / "scores.json", tmp_path / "new" / "classes.csv"
    flags = ("--curve", "9", "--boundary-iou", "--table", table, "--out", out)
    gcnlab_command("evaluate", run, *MODES, *flags, "--device", "cpu")
    result = json.loads(out.read_text())
    assert result["inference"]["scales"] == [0.75, 1.0, 1.25]
    assert (result["inference"]["flip"], result["inference"]["tile"]) == (True, [40, 48])
    assert result["crf"] is None
    scores = result["scores"]
    assert scores["curve"]["distance"] == list(range(1, 10))
    assert scores["curve"]["within"][6] == pytest.approx(scores["boundary_accuracy"])
    assert set(scores["boundary_iou"]) == set(SHAPES.names)
    assert sum(scores["pixels"].values()) == 3 * 48 * 48
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["class"] for row in rows] == list(SHAPES.names)
    for row in rows:
        value = scores["iou"][row["class"]]
        assert row["iou"] == ("" if value is None else f"{value:.4f}")
        assert int(row["pixels"]) == scores["pixels"][row["class"]]
    assert re.search(r"mean boundary IoU.*\d", capsys.readouterr().out)


def test_without_flags_neither_curve_nor_bands_are_computed(run, tmp_path):
    gcnlab_command("evaluate", run, "--out", tmp_path / "scores.json", "--device", "cpu")
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert scores["curve"] is None
    assert scores["boundary_iou"] is None


def test_a_shipped_network_is_scored_without_the_losses_of_its_training(tmp_path):
    shipped = Path(__file__).parents[1] / "data" / "checkpoints" / "gcn7-seed0"
    gcnlab_command("evaluate", shipped, "--out", tmp_path / "scores.json", "--device", "cpu")
    result = json.loads((tmp_path / "scores.json").read_text())
    assert (result["final_loss"], result["steps"]) == (None, None)
    assert result["scores"]["images"] == 3


@needs_crf
def test_a_crf_is_evaluated_with_its_parameters(run, tmp_path):
    out = tmp_path / "scores.json"
    gcnlab_command("evaluate", run, "--out", out, "crf:crf", "--crf.iterations", "2")
    assert json.loads(out.read_text())["crf"]["iterations"] == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--inference.scales", "0"), "inference.scales"),
        (("--inference.tile", "40", "0"), "inference.tile"),
        (("--inference.overlap", "1"), "inference.overlap"),
        (("--curve", "0"), "farthest distance"),
        (("--rule.distance", "0"), "distance"),
        (("--band.share", "2"), "band.share"),
        (("crf:crf", "--crf.color-std", "0"), "crf.color_std"),
    ],
)
def test_bad_settings_are_named(run, capsys, flags, words):
    with pytest.raises(SystemExit) as end:
        gcnlab_command("evaluate", run, *flags)
    assert end.value.code in (1, 2)
    assert words in capsys.readouterr().err


def test_one_table_takes_one_run(run, complaint):
    assert "--table" in complaint("evaluate", run, run, "--table", "classes.csv")


def test_processes_of_torchrun_share_the_images(run, tmp_path):
    alone, shared = tmp_path / "1.json", tmp_path / "2.json"
    code = "from gcnlab.cli import main; import gcnlab.datasets.shapes as s; s.SPLITS['val'] = 5; main()"
    program = [sys.executable, "-c", code]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for before, out in (([], alone), ([*torchrun, "--no-python"], shared)):
        done = subprocess.run(
            [*before, *program, "evaluate", run, "--device", "cpu", "--curve", "5", "--out", out],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("boundary accuracy") == 1
    first, second = (json.loads(path.read_text())["scores"] for path in (alone, shared))
    assert first == second
    assert first["images"] == 5


# --- predict


def test_pictures_are_predicted_with_the_modes(run, picture, tmp_path):
    gcnlab_command("predict", run, picture, "--out", tmp_path / "out", *MODES, "--device", "cpu")
    trained = load_run(run, "cpu")
    image = trained.normalization(read_image(picture))[None]
    expected = predict(trained.model, image, inference=INFERENCE)[0]
    assert np.array_equal(pixels(tmp_path / "out" / "street.png"), expected)


@needs_crf
def test_pictures_are_predicted_with_a_crf(run, picture, tmp_path):
    flags = ("crf:crf", "--crf.iterations", "3")
    gcnlab_command("predict", run, picture, "--out", tmp_path / "out", "--device", "cpu", *flags)
    trained = load_run(run, "cpu")
    normalize = trained.normalization
    image = normalize(read_image(picture))[None]
    expected = predict(trained.model, image, crf=CRF(iterations=3), normalization=normalize)[0]
    assert np.array_equal(pixels(tmp_path / "out" / "street.png"), expected)


# --- crf


@needs_crf
def test_the_search_writes_all_its_scores(run, tmp_path, capsys):
    out = tmp_path / "crf.json"
    grid = ("--grid.appearance-std", "20", "--grid.color-std", "5", "--grid.iterations", "2")
    gcnlab_command("crf", run, "--images", "2", *grid, "--out", out, "--device", "cpu")
    result = json.loads(out.read_text())
    assert [s["images"] for s in result["searched"]] == [2, 2, 2]
    assert result["searched"][0]["crf"] is None
    assert (result["before"]["images"], result["after"]["images"]) == (1, 1)
    assert result["after"]["crf"] == result["best"]
    assert {"command", "commit", "versions"} <= result["provenance"].keys()
    assert "mIoU" in capsys.readouterr().out


def test_without_the_extra_one_line_says_what_to_install(run, complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    assert "gcnlab[crf]" in complaint("crf", run, "--images", "1")
    assert "gcnlab[crf]" in complaint("evaluate", run, "crf:crf")


def test_a_search_without_images_is_refused(run, complaint):
    assert "at least 1 image" in complaint("crf", run, "--images", "0")


# --- submit


@pytest.mark.parametrize(
    ("dataset", "ending", "count"), [("voc", "tgz", 2), ("cityscapes", "zip", 1)]
)
def test_a_split_is_packed_for_its_server(data, tmp_path, capsys, dataset, ending, count):
    run = short_run(tmp_path / "run", DataConfig(dataset, root=data, crop=(32, 32)))
    gcnlab_command("submit", run, "--out", tmp_path / "out", "--device", "cpu")
    (archive,) = (tmp_path / "out").glob(f"*.{ending}")
    assert f"{archive}: {count} predictions" in capsys.readouterr().out.replace("\n", "")
    if dataset == "voc":
        with tarfile.open(archive) as packed:
            assert len(packed.getnames()) == count


def test_shapes_have_no_server(run, complaint, tmp_path):
    assert "voc and cityscapes" in complaint("submit", run, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_predictions_are_not_mixed_with_old_ones(data, tmp_path, complaint):
    run = short_run(tmp_path / "run", DataConfig("voc", root=data, crop=(32, 32)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.png").touch()
    assert "not empty" in complaint("submit", run, "--out", tmp_path / "out")
    assert torch.is_grad_enabled()
