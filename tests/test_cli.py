"""The command line, in this process: its files and its errors."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import gcnlab.datasets.shapes
from gcnlab.cli import main
from gcnlab.datasets import SHAPES, read_image
from gcnlab.receptive import valid_field
from gcnlab.training import RunConfig, load_checkpoint, load_run
from gcnlab.training.checkpoint import LOCK
from gcnlab.training.optimization import compute_dtype

pytestmark = pytest.mark.slow

TINY = [
    *("--data.image-size", "64", "--data.train-images", "4"),
    *("--training.epochs", "1", "--training.batch-size", "2"),
    *("--model.kernel-size", "3"),
]
HEIGHT, WIDTH = 40, 56


def gcnlab_command(*arguments: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gcnlab", *map(str, arguments)])
        for split in ("val", "test"):  # of 300 images
            patch.setitem(gcnlab.datasets.shapes.SPLITS, split, 4)
        patch.setenv("COLUMNS", "200")  # nothing is wrapped
        main()


def status_of(*arguments: str | Path) -> int:
    try:
        gcnlab_command(*arguments)
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Folder of a network that was trained for two steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    gcnlab_command("train", "--out", folder, "--device", "cpu", "shapes", *TINY)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    """Run in a temporary folder, so that default outputs are not written into the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = tmp_path / "pictures" / "street.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def complaint(capsys):
    """Run a command that has to fail with status 1; return its one-line error."""

    def fail(*arguments: str | Path) -> str:
        capsys.readouterr()
        assert status_of(*arguments) == 1
        line = capsys.readouterr().err.strip()
        assert line.startswith("gcnlab: ")
        assert "\n" not in line
        return line

    return fail


def result_of(path: Path) -> dict:
    return json.loads(path.read_text())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


# --- Help


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["train", "evaluate", "predict", "vrf"]),
        (["train"], ["--out", "--no-resume", "shapes", "camvid", "paper", "result.json"]),
        (["train", "shapes"], ["--model.head", "--model.kernel-size", "--training.epochs"]),
        (["evaluate"], ["--split", "--rule.distance", "--rule.norm", "boundary"]),
        (["predict"], ["--out", "--overlay", "palette"]),
        (
            ["vrf"],
            ["--pixel", "--target", "--method", "--agreement", "--rule", "--window", "folder"],
        ),
    ],
)
def test_help_says_what_there_is(capsys, command, words):
    assert status_of(*command, "--help") == 0
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []


# --- train


def test_training_writes_its_files(run):
    files = {path.name for path in run.iterdir()} - {LOCK}
    assert files == {"checkpoint.pt", "result.json", "log.csv", "loss.png"}


def test_the_result_has_scores_settings_and_provenance(run):
    result = result_of(run / "result.json")
    assert result["steps"] == 2
    assert result["scores"]["images"] == 4
    assert 0 <= result["scores"]["accuracy"] <= 100
    assert list(result["scores"]["iou"]) == list(SHAPES.names)
    config = RunConfig.from_dict(result["settings"])
    assert (config.model.kernel_size, config.data.image_size, config.training.epochs) == (3, 64, 1)


def test_the_provenance_says_where_the_numbers_come_from(run):
    provenance = result_of(run / "result.json")["provenance"]
    assert provenance["precision"] in str(compute_dtype("auto", torch.device("cpu")))
    assert set(provenance) >= {"command", "commit", "seeds", "dataset", "split", "device"}
    assert set(provenance) >= {"wall_seconds", "finished", "versions"}
    assert provenance["command"].startswith(f"gcnlab train --out {run} ")
    assert (provenance["seeds"], provenance["split"]) == ([0], "val")
    assert "shapes" in provenance["dataset"]
    assert provenance["versions"]["torch"] == torch.__version__.split("+")[0]


def test_a_result_is_json_that_any_program_reads(run):
    """NaN (a class that is in no image) is valid in Python and not in JSON."""

    def refuse(word):
        pytest.fail(f"{word} is not JSON")

    json.loads((run / "result.json").read_text(), parse_constant=refuse)


def test_the_log_has_the_mean_loss_of_each_epoch(run):
    rows = list(csv.DictReader((run / "log.csv").read_text().splitlines()))
    losses = load_checkpoint(run / "checkpoint.pt")["losses"]
    assert [(row["epoch"], row["steps"]) for row in rows] == [("1", "2")]
    assert float(rows[0]["mean_loss"]) == pytest.approx(losses.mean().item(), abs=1e-4)


def test_the_loss_is_drawn(run):
    with Image.open(run / "loss.png") as figure:
        assert min(figure.size) > 100


def test_settings_may_follow_the_preset(tmp_path):
    """The order in which the help gives its examples."""
    out = tmp_path / "run"
    gcnlab_command("train", "shapes", "--out", out, "--device", "cpu", *TINY)
    assert (out / "result.json").exists()


def test_the_same_command_again_trains_no_more(run, tmp_path):
    again = shutil.copytree(run, tmp_path / "again")
    gcnlab_command("train", "--out", again, "--device", "cpu", "shapes", *TINY)
    first, second = (result_of(folder / "result.json") for folder in (run, again))
    assert first["steps"] == second["steps"]
    assert first["final_loss"] == second["final_loss"]
    assert str(first["scores"]) == str(second["scores"])  # NaN is not equal to NaN, "nan" is
    assert first["provenance"] == second["provenance"]  # of the training, not of the look at it


def test_another_setting_does_not_go_on_from_a_checkpoint(run, complaint):
    line = complaint("train", "--out", run, "shapes", *TINY, "--training.learning-rate", "0.5")
    assert "training.learning_rate" in line
    assert str(run) in line


# --- evaluate


def test_evaluating_gives_the_scores_of_the_training(run, tmp_path):
    gcnlab_command("evaluate", run, "--out", tmp_path / "scores.json", "--device", "cpu")
    trained, evaluated = (result_of(p) for p in (run / "result.json", tmp_path / "scores.json"))
    assert evaluated["scores"]["iou"] == pytest.approx(trained["scores"]["iou"], nan_ok=True)
    assert evaluated["scores"]["boundary_accuracy"] == pytest.approx(
        trained["scores"]["boundary_accuracy"]
    )


def test_evaluating_prints_a_table(run, capsys):
    gcnlab_command("evaluate", run / "checkpoint.pt", "--device", "cpu")
    table = capsys.readouterr().out
    for word in ("4 images", "miou", "boundary accuracy", "internal accuracy", *SHAPES.names):
        assert word in table


def test_split_and_boundary_rule_are_settings(run, tmp_path):
    out = tmp_path / "scores.json"
    rule = ("--rule.distance", "3", "--rule.norm", "cityblock")
    gcnlab_command("evaluate", run, "--split", "test", *rule, "--out", out)
    result = result_of(out)
    assert result["provenance"]["split"] == "test"
    assert result["scores"]["accuracy"] != result_of(run / "result.json")["scores"]["accuracy"]
    assert result["scores"]["rule"] == {"distance": 3, "norm": "cityblock", "void": "edge"}


@pytest.mark.parametrize("ending", ["", "checkpoint.pt"])
def test_two_runs_are_two_columns_even_with_one_name(run, tmp_path, capsys, ending):
    other = shutil.copytree(run, tmp_path / "other" / run.name)
    gcnlab_command("evaluate", run / ending, other / ending, "--device", "cpu")
    row = next(line for line in capsys.readouterr().out.splitlines() if "miou" in line)
    assert len(re.findall(r"\d+\.\d", row)) == 2


def test_the_scores_of_two_runs_do_not_go_into_one_file(run, complaint, tmp_path):
    assert "--out" in complaint("evaluate", run, run, "--out", tmp_path / "scores.json")


# --- predict


def test_predicting_writes_a_palette_png_of_ids(run, picture, tmp_path):
    gcnlab_command("predict", run, picture, "--out", tmp_path / "out", "--device", "cpu")
    trained = load_run(run, "cpu")
    image = trained.normalization(read_image(picture))
    with torch.inference_mode():
        expected = trained.model(image[None]).argmax(1)[0]
    with Image.open(tmp_path / "out" / "street.png") as prediction:
        assert (prediction.mode, prediction.size) == ("P", (WIDTH, HEIGHT))
        assert prediction.getpalette()[:21] == [v for color in SHAPES.colors for v in color]
        assert np.array_equal(prediction, expected)


def test_an_overlay_is_half_picture_and_half_colours(run, picture, tmp_path):
    for folder, flags in (("ids", []), ("overlay", ["--overlay"])):
        gcnlab_command("predict", run, picture, "--out", tmp_path / folder, *flags)
    ids, overlay = (pixels(tmp_path / f / "street.png") for f in ("ids", "overlay"))
    both = pixels(picture).astype(int) + np.array(SHAPES.colors)[ids]
    assert overlay.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(overlay - both / 2).max() <= 0.5


def test_many_pictures_of_many_sizes(run, tmp_path):
    pictures = []
    for number, size in enumerate([(33, 47), (1, 1), (64, 32)]):
        pictures.append(tmp_path / f"{number}.jpg")
        Image.new("RGB", size, (200, 100, 50)).save(pictures[-1])
    gcnlab_command("predict", run, *pictures, "--out", tmp_path / "out")
    shapes = [pixels(tmp_path / "out" / f"{number}.png").shape for number in range(3)]
    assert shapes == [(47, 33), (1, 1), (32, 64)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_segmented_as_viewers_show_it(run, picture, tmp_path, orientation):
    exif, phone, shown = Image.Exif(), tmp_path / "phone.png", tmp_path / "shown.png"
    exif[0x0112] = orientation
    with Image.open(picture) as stored:
        stored.save(phone, exif=exif)
    with Image.open(phone) as stored:
        ImageOps.exif_transpose(stored).save(shown)
    gcnlab_command("predict", run, phone, shown, "--out", tmp_path / "ids")
    assert pixels(tmp_path / "ids" / "phone.png").shape == pixels(shown).shape[:2]
    assert np.array_equal(pixels(tmp_path / "ids/phone.png"), pixels(tmp_path / "ids/shown.png"))


def test_transparent_parts_are_segmented_as_white(run, picture, tmp_path):
    colours = pixels(picture)
    alpha = np.full(colours.shape[:2], 255, np.uint8)
    alpha[:20] = 0
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "clear.png")
    colours[:20] = 255
    Image.fromarray(colours).save(tmp_path / "white.png")
    out = tmp_path / "ids"
    gcnlab_command(
        "predict", run, tmp_path / "clear.png", tmp_path / "white.png", "--out", out, "--overlay"
    )
    assert np.array_equal(pixels(out / "clear.png"), pixels(out / "white.png"))


def test_no_picture_is_overwritten_by_its_prediction(run, picture):
    before = picture.read_bytes()
    status_of("predict", run, picture, "--out", picture.parent)
    assert picture.read_bytes() == before


def test_no_prediction_is_overwritten_by_another_of_the_same_name(run, picture, tmp_path):
    other = tmp_path / "others" / picture.name
    other.parent.mkdir()
    shutil.copy(picture, other)
    refused = status_of("predict", run, picture, other, "--out", tmp_path / "out") == 1
    assert refused or len(list((tmp_path / "out").iterdir())) == 2


# --- vrf

OCCLUDER = ("--window", "16", "--stride", "8", "--device", "cpu")


@pytest.mark.parametrize(
    ("given", "target", "fill"), [("disc", 1, 0.5), ("cross", 5, "blur"), ("2", 2, "noise")]
)
def test_the_receptive_field_is_written_as_picture_and_map(
    run, picture, tmp_path, given, target, fill
):
    out = tmp_path / "field"
    more = ("--target", given, "--fill", str(fill), "--threshold", "0.4")
    gcnlab_command("vrf", run, picture, "--pixel", "10", "20", "--out", out, *OCCLUDER, *more)
    trained = load_run(run, "cpu")
    image = trained.normalization(read_image(picture))
    expected = valid_field(trained.model, image, (10, 20), target, 16, 8, fill)
    with np.load(f"{out}.npz") as written:
        assert written["fill"] == fill
        assert np.allclose(written["discrepancy"], expected.discrepancy, atol=1e-6)
        size = np.abs(written["discrepancy"])
        assert np.array_equal(written["region"], size >= 0.4 * size.max())
        assert written["pixel"].tolist() == [10, 20]
        assert (written["target"], written["threshold"]) == (target, 0.4)
        assert (written["window"].tolist(), written["stride"].tolist()) == ([16, 16], [8, 8])
        assert written["score"] == pytest.approx(expected.score)
        assert written["radius"] == pytest.approx(expected.radius(), rel=1e-5)
    with Image.open(f"{out}.png") as figure:
        assert min(figure.size) > 100


def test_without_a_target_the_predicted_class_is_looked_at(run, picture, tmp_path, capsys):
    gcnlab_command("predict", run, picture, "--out", tmp_path, "--device", "cpu")
    predicted = pixels(tmp_path / "street.png")[10, 20]
    out = tmp_path / "new folder" / "field"
    gcnlab_command("vrf", run, picture, "--pixel", "10", "20", "--out", out, *OCCLUDER)
    with np.load(f"{out}.npz") as written:
        assert written["target"] == predicted
    said = capsys.readouterr().out
    assert SHAPES.names[predicted] in said
    assert "80 % of the mass in " in said


def test_methods_and_rules_are_written_with_the_map(run, picture, tmp_path):
    maps = {}
    for method in ("plain", "exact", "drilldown"):
        out = tmp_path / method
        more = ("--method", method, "--agreement", "1", "--rule", "mass", "--threshold", "0.5")
        gcnlab_command("vrf", run, picture, "--pixel", "10", "20", "--out", out, *OCCLUDER, *more)
        with np.load(f"{out}.npz") as written:
            maps[method] = written["discrepancy"]
            assert (written["method"], written["rule"], written["evaluated"]) == (method, "mass", 1)
            size = np.abs(written["discrepancy"])
            assert size[written["region"]].sum() >= 0.5 * size.sum() * (1 - 1e-6)
    for method in ("exact", "drilldown"):
        assert np.allclose(maps[method], maps["plain"], atol=1e-5)


def test_the_margin_can_be_measured(run, picture, tmp_path, capsys):
    out = tmp_path / "field"
    more = ("--pixel", "10", "20", "--target", "1", "--quantity", "margin")
    gcnlab_command("vrf", run, picture, *more, "--out", out, *OCCLUDER)
    trained = load_run(run, "cpu")
    image = trained.normalization(read_image(picture))
    expected = valid_field(
        trained.model, image, (10, 20), 1, window=16, stride=8, quantity="margin"
    )
    with np.load(f"{out}.npz") as written:
        assert np.allclose(written["discrepancy"], expected.discrepancy, atol=1e-5)
        assert written["quantity"] == "margin"
    said = capsys.readouterr().out
    assert f"margin {expected.score:.3f}" in said
    assert f"radius {expected.radius():.0f} px" in said


def test_a_picture_can_be_checked_against_the_plain_way(run, picture, tmp_path, capsys):
    more = ("--pixel", "10", "20", "--out", tmp_path / "field", "--check", "7")
    gcnlab_command("vrf", run, picture, *more, *OCCLUDER)
    assert "checked with 7 windows: largest difference" in capsys.readouterr().out


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three pictures of two sizes, and files that are not pictures."""
    folder = tmp_path / "pictures of birds"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for name, size in [("a.png", (40, 56)), ("b.JPG", (40, 56)), ("c.jpeg", (48, 33))]:
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture, and not called one")
    (folder / ".hidden.png").write_text("nor this")
    (folder / "more.png").mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_of_pictures_gives_a_folder_of_fields(run, folder, tmp_path, capsys):
    out = tmp_path / "fields"
    gcnlab_command("vrf", run, folder, "--pixel", "10", "20", "--out", out, *OCCLUDER)
    assert names(out) == {f"{name}.{ending}" for name in "abc" for ending in ("png", "npz")}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["a.png", "b.JPG", "c.jpeg"]
    trained = load_run(run, "cpu")
    for name in ("a.png", "b.JPG", "c.jpeg"):
        image = trained.normalization(read_image(folder / name))
        expected = valid_field(trained.model, image, (10, 20), window=16, stride=8, method="plain")
        with np.load(out / f"{name[0]}.npz") as written:
            assert np.allclose(written["discrepancy"], expected.discrepancy, atol=1e-5)


def test_what_systems_leave_in_a_folder_is_passed_over(run, folder, tmp_path):
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "list.pdf"):
        (folder / name).write_bytes(b"\0\5\26\7")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(b"\0\5\26\7")
    out = tmp_path / "fields"
    gcnlab_command("vrf", run, folder, "--pixel", "10", "20", "--out", out, *OCCLUDER)
    assert names(out) == {f"{name}.{ending}" for name in "abc" for ending in ("png", "npz")}


def test_the_pixel_of_a_photograph_counts_as_it_is_shown(run, picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(picture) as stored:
        stored.save(tmp_path / "phone.png", exif=exif)
    row = WIDTH - 2  # there is none in the stored pixels
    gcnlab_command(
        "vrf", run, tmp_path / "phone.png", "--pixel", str(row), "5", "--out", "f", *OCCLUDER
    )
    with np.load("f.npz") as written:
        assert written["discrepancy"].shape == (WIDTH, HEIGHT)


def test_what_is_wrong_with_one_picture_leaves_the_others(run, folder, tmp_path, capsys):
    (folder / "b.JPG").write_bytes((folder / "b.JPG").read_bytes()[:200])
    out = tmp_path / "fields"
    capsys.readouterr()
    pixel = ("--pixel", "10", "40")  # c.jpeg is 33 wide
    assert status_of("vrf", run, folder, *pixel, "--out", out, *OCCLUDER) == 1
    assert names(out) == {"a.png", "a.npz"}
    said = capsys.readouterr()
    lines = [line for line in re.split(r"[\r\n]+", said.err) if line.startswith("gcnlab: ")]
    assert len(lines) == 3
    assert "b.JPG: damaged, or not an image" in lines[0]
    assert "c.jpeg: pixel" in lines[1]
    assert "(10, 40) is outside the 48×33" in lines[1]
    assert f"2 of 3 images in {folder} were skipped" in lines[2]
    assert said.out.startswith("a.png: ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--threshold", "0"), "threshold must be in (0, 1], not 0"),
        (("--agreement", "1.5"), "agreement must be in (0, 1], not 1.5"),
        (("--method", "quick"), "invalid choice 'quick'"),
    ],
)
def test_a_wrong_setting_of_the_field_is_named_before_anything_is_read(capsys, flags, words):
    assert status_of("vrf", "no-run", "no-folder", "--pixel", "1", "1", *flags) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_class_is_named_once_for_a_whole_folder(run, folder, complaint):
    line = complaint("vrf", run, folder, "--pixel", "1", "1", "--target", "99")
    assert "'99' is not one of the classes" in line


def test_a_folder_without_pictures_is_named(run, tmp_path, complaint):
    (tmp_path / "none").mkdir()
    line = complaint("vrf", run, tmp_path / "none", "--pixel", "1", "1")
    assert f"no images in {tmp_path / 'none'}" in line


def test_no_picture_is_overwritten_by_its_field(run, folder, complaint):
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    pixel = ("--pixel", "1", "1")
    assert "overwrite" in complaint("vrf", run, folder, *pixel, "--out", folder)
    assert "overwrite" in complaint("vrf", run, folder / "a.png", *pixel, "--out", folder / "a")
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


# --- What can be wrong


def test_an_even_kernel_is_named(tmp_path, capsys):
    """An error in the settings is found before a command runs."""
    flags = ("--model.kernel-size", "4")
    assert status_of("train", "--out", tmp_path / "run", "shapes", *flags) in (1, 2)
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "model.kernel_size: kernel_size must be odd and positive (1, 3, 5, …), not 4" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["evaluate", "predict", "vrf"])
def test_a_missing_run_is_named(complaint, picture, command):
    more = {"evaluate": [], "predict": [picture], "vrf": [picture, "--pixel", "0", "0"]}[command]
    assert "runs/none" in complaint(command, "runs/none", *more)


def test_a_damaged_checkpoint_is_named(complaint, run, tmp_path):
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes((run / "checkpoint.pt").read_bytes()[:-2000])
    assert str(damaged) in complaint("evaluate", damaged)


def test_a_folder_without_a_checkpoint_is_named(complaint, tmp_path):
    assert str(tmp_path / "checkpoint.pt") in complaint("evaluate", tmp_path)


@pytest.mark.parametrize("command", [["predict"], ["vrf", "--pixel", "0", "0"]])
def test_a_missing_picture_is_named(complaint, run, tmp_path, command):
    assert "none.jpg" in complaint(command[0], run, tmp_path / "none.jpg", *command[1:])


@pytest.mark.parametrize("command", [["predict"], ["vrf", "--pixel", "0", "0"]])
def test_a_damaged_picture_is_named(complaint, run, picture, command):
    picture.write_bytes(picture.read_bytes()[:500])
    assert "street.png: damaged" in complaint(command[0], run, picture, *command[1:])


@pytest.mark.parametrize("pixel", [(HEIGHT, 0), (0, WIDTH), (-1, 0)])
def test_a_pixel_outside_of_the_picture_is_named(complaint, run, picture, tmp_path, pixel):
    line = complaint("vrf", run, picture, "--pixel", *map(str, pixel), *OCCLUDER)
    assert str(pixel) in line
    assert f"{HEIGHT}×{WIDTH}" in line


@pytest.mark.parametrize("target", ["zebra", "7", "-1"])
def test_an_unknown_class_is_named(complaint, run, picture, target):
    line = complaint("vrf", run, picture, "--pixel", "0", "0", f"--target={target}", *OCCLUDER)
    assert target in line


def test_an_occluder_larger_than_the_picture_is_named(complaint, run, picture):
    line = complaint("vrf", run, picture, "--pixel", "0", "0", "--window", "64", "--stride", "8")
    assert "window" in line
    assert f"{HEIGHT}×{WIDTH}" in line


def test_a_missing_data_set_is_named(complaint, tmp_path):
    where = tmp_path / "nowhere"
    line = complaint("train", "--out", tmp_path / "run", "camvid", "--data.root", where)
    assert str(where) in line


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_there_is_not_is_named(complaint, run, device):
    assert device in complaint("evaluate", run, "--device", device)
