"""gcnlab table: its output, its files, its training runs, and several processes at once."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gcnlab.cli import main
from gcnlab.experiments import tables, train_table
from gcnlab.experiments.tables import SCORES, Claim, PaperTable, paper_table, with_seed
from gcnlab.experiments.train_table import missing_networks, train_missing, train_one_more
from gcnlab.training import DataConfig, RunConfig, TrainingConfig
from gcnlab.training.checkpoint import LOCK

pytestmark = pytest.mark.slow


def tiny_table(number, scale="mini"):
    """Two networks on four images of 64 px."""
    table = paper_table(1)

    def tiny(cell):
        config = RunConfig(
            cell.config.model,
            DataConfig(image_size=64, train_images=4),
            TrainingConfig(epochs=1, batch_size=2),
        )
        return dataclasses.replace(cell, config=config)

    base, gcn = (tiny(cell) for cell in table.cells[:2])
    return PaperTable(1, "kernel size", (base, gcn), ("miou",), (Claim(gcn.name, base.name),), 2)


def command(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gcnlab", "table", *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        main()


def test_what_is_missing_is_trained_once(tmp_path, monkeypatch, capsys):
    import gcnlab.datasets.shapes

    monkeypatch.setitem(gcnlab.datasets.shapes.SPLITS, "val", 2)
    monkeypatch.setattr(tables, "paper_table", tiny_table)
    command(1, "--run", "--results", tmp_path, "--out", tmp_path / "claims.json")
    first = capsys.readouterr().out
    assert "4 of 4: gcn3, seed 1" in first
    assert sorted(p.name for p in (tmp_path / "shapes").iterdir()) == [
        *("conv1x1-seed0", "conv1x1-seed1", "gcn3-seed0", "gcn3-seed1")
    ]
    (claim,) = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert claim["seeds"] == [0, 1]
    command(1, "--run", "--results", tmp_path)
    again = capsys.readouterr().out
    assert " of " not in again.split("Table 1")[0]
    assert "(2 seeds)" in again


def write_run(folder, config, **scores):
    folder.mkdir(parents=True)
    values = {"settings": config.to_dict(), "scores": dict.fromkeys(SCORES, 50.0) | scores}
    (folder / "result.json").write_text(json.dumps(values))


def test_one_more_training_has_to_fit_the_finished_ones(tmp_path, monkeypatch, capsys):
    import gcnlab.datasets.shapes

    monkeypatch.setitem(gcnlab.datasets.shapes.SPLITS, "val", 2)
    monkeypatch.setattr(tables, "paper_table", tiny_table)
    cell = tiny_table(1).cells[1]
    with pytest.raises(SystemExit):
        command(1, "--check", "--results", tmp_path)
    assert "no network has three finished seeds to compare with" in capsys.readouterr().err
    for seed, miou in enumerate((0.0, 50.0, 100.0)):
        write_run(tmp_path / str(seed), with_seed(cell.config, seed), miou=miou)
    command(1, "--check", "--results", tmp_path)
    assert f"training {cell.name} with the new seed 3" in capsys.readouterr().out
    for seed in range(3):
        write_run(tmp_path / f"better{seed}", with_seed(cell.config, seed), miou=99.0 + seed / 10)
    with pytest.raises(SystemExit):
        command(1, "--check", "--results", tmp_path)
    assert "mIoU outside the interval that the 3 finished seeds" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 6, "nothing is written"


def test_the_command_shows_the_papers_figures_and_ours(capsys):
    command(5)
    out = capsys.readouterr().out
    assert "Table 5: boundary and interior" in out
    assert "internal: gcn7 > conv1x1" in out
    assert all(figure in out for figure in ("93.9", "95.0", "71.5"))


def test_bad_arguments(capsys):
    for arguments, words in ((("9",), "no definition of Table 9"), (("1", "--seeds", "0"), "--seeds")):  # fmt: skip
        with pytest.raises(SystemExit):
            command(*arguments)
        assert words in capsys.readouterr().err


HOLDS = """
import sys, time
from pathlib import Path
from gcnlab.training.checkpoint import only_writer
with only_writer(Path(sys.argv[1])):
    print("taken", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def another_process_in(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, folder], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_network_that_another_process_trains_is_skipped(tmp_path, monkeypatch, capsys):
    import gcnlab.datasets.shapes

    monkeypatch.setitem(gcnlab.datasets.shapes.SPLITS, "val", 2)
    monkeypatch.setattr(tables, "paper_table", tiny_table)
    taken = tmp_path / "shapes/conv1x1-seed0"
    with another_process_in(taken):
        command(1, "--run", "--seeds", 1, "--results", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 of 2: conv1x1, seed 0")
    assert lines[1] == f"skipped: another process trains in {taken}"
    assert lines[2].startswith("2 of 2: gcn3, seed 0")
    assert [path.name for path in taken.iterdir()] == [LOCK]
    assert (tmp_path / "shapes/gcn3-seed0/result.json").exists()


def test_a_network_without_its_backbone_is_skipped(tmp_path, monkeypatch, capsys):
    trained = []

    def train(config, out, **_):
        trained.append(out.name)

    monkeypatch.setattr(train_table, "train", train)
    weights = tmp_path / "single_shapes/mini_gcn-seed0/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    monkeypatch.setattr(train_table, "finish", lambda *_: None)
    train_missing(paper_table(6), "mini", tmp_path, seeds=1)
    assert trained == [
        f"{name}-seed0" for name in ("mini", "mini_gcn", "mini_gcn+conv1x1", "mini_gcn+gcn7-br")
    ]
    skipped = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    missing = tmp_path / "single_shapes/mini-seed0/weights.safetensors"
    assert skipped == [f"skipped: its backbone {missing} is not trained yet"] * 2


def test_a_network_starts_from_that_of_another_scale(tmp_path, monkeypatch):
    starts = []

    def train(config, out, initial, **_):
        starts.append((out.name, Path(initial).resolve(), config.training.seed))

    monkeypatch.setattr(train_table, "train", train)
    monkeypatch.setattr(train_table, "finish", lambda *_: None)
    table = paper_table(5, "photos-tuned")
    folders = [tmp_path / f"photos/{name}-seed0" for name in ("conv1x1", "gcn11", "gcn11-br")]
    for folder in folders[:2]:
        folder.mkdir(parents=True)
        (folder / "checkpoint.pt").touch()
    with pytest.raises(FileNotFoundError) as error:
        train_missing(table, "photos-tuned", tmp_path, seeds=1)
    assert starts == [(folder.name, folder.resolve(), 0) for folder in folders[:2]]
    assert "gcnlab train photos --out" in str(error.value)
    assert str(error.value).endswith(
        "photos/gcn11-br-seed0 --model.head gcn --model.kernel-size 11 --model.refine "
        "--training.seed 0"
    )


def test_a_new_seed_has_no_network_to_start_from(capsys):
    with pytest.raises(SystemExit):
        command(5, "--scale", "photos-tuned", "--check")
    assert "check that scale" in capsys.readouterr().err


def test_a_classifier_is_trained_again_only_for_a_network_that_needs_its_weights(
    tmp_path, monkeypatch
):
    table = paper_table(6)
    upon_gcn = {"mini_gcn+conv1x1", "mini_gcn+gcn7-br"}
    runs = [
        (cell.settings(seed), {"top1": 90.0, "miou": 50.0})
        for cell in table.cells
        for seed in (0, 1)
        if seed == 0 or cell.name not in upon_gcn
    ]
    monkeypatch.setattr(train_table, "finished_runs", lambda results: runs)

    def missing():
        return {(cell.name, seed) for cell, seed in missing_networks(table, tmp_path, 2)}

    rest = {(name, 1) for name in upon_gcn}
    assert missing() == {("mini_gcn", 1), *rest}
    weights = tmp_path / "single_shapes/mini_gcn-seed1/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert missing() == rest
    monkeypatch.setattr(train_table, "finished_runs", lambda results: [])
    assert len(missing()) == 12  # the classifiers are scored, too


def test_a_network_on_the_tables_own_backbone_is_not_trained_with_a_new_seed(tmp_path):
    for cell in (cell for cell in paper_table(6).cells if cell.pretrained):
        for seed in range(3):
            write_run(tmp_path / f"{cell.name}{seed}", cell.settings(seed), miou=50.0 + seed)
    with pytest.raises(ValueError, match="the table's own backbones do not count"):
        train_one_more(paper_table(6), tmp_path)


def test_the_command_shows_all_orderings_and_writes_what_it_shows(tmp_path, capsys):
    command("--out", tmp_path / "all.json")
    shown = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "all.json").read_text())["orderings"]
    assert len(rows) == len(shown) - 1
    assert {row["table"] for row in rows} == set("123456")
    assert all(row["ordering"] in line for row, line in zip(rows, shown[1:]))
    for wrong in ("--run", "--check"):
        with pytest.raises(SystemExit):
            command(wrong)
        assert "number of a table" in capsys.readouterr().err


def test_a_written_table_has_every_seeds_scores(tmp_path):
    command(5, "--out", tmp_path / "table.json")
    written = json.loads((tmp_path / "table.json").read_text())
    networks = {network["name"]: network for network in written["networks"]}
    assert networks["gcn7"]["paper"]["internal_accuracy"] == 95.0
    for seed, miou in zip(networks["gcn7"]["seeds"], networks["gcn7"]["ours"]["miou"], strict=True):
        path = f"data/results/shapes/gcn7-seed{seed}/result.json"
        result = json.loads((Path(__file__).parents[1] / path).read_text())
        assert result["scores"]["miou"] == miou
    assert written["provenance"]["command"].startswith("gcnlab table 5")
    assert written["provenance"]["seeds"] == [0, 1, 2, 3, 4]
