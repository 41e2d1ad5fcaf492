"""gcnlab table: what it shows and writes, what it trains, and how commands that run at once share that."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gcnlab.cli.missing
import gcnlab.cli.table
from gcnlab.cli import main
from gcnlab.cli.missing import (
    Missing,
    _in_a_process_of_its_own,
    _train_one,
    _with_classifiers_under,
)
from gcnlab.cli.table import ShowTable
from gcnlab.experiments.report import by_seed
from gcnlab.experiments.tables import SCORES, Claim, PaperTable, paper_table, with_seed
from gcnlab.training import DataConfig, RunConfig, RunStopped, TrainingConfig
from gcnlab.training.lock import LOCK


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
    monkeypatch.setattr(gcnlab.cli.table, "paper_table", tiny_table)
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
    monkeypatch.setattr(gcnlab.cli.table, "paper_table", tiny_table)
    cell = tiny_table(1).cells[1]
    with pytest.raises(SystemExit):
        command(1, "--check", "--results", tmp_path)
    assert (
        "no network but on the table's own backbones has three finished seeds"
        in capsys.readouterr().err
    )
    for seed, miou in enumerate((0.0, 50.0, 100.0)):
        write_run(tmp_path / str(seed), with_seed(cell.config, seed), miou=miou)
    command(1, "--check", "--results", tmp_path)
    assert f"training {cell.name} once more, with seed 3" in capsys.readouterr().out
    for seed in range(3):
        write_run(tmp_path / f"better{seed}", with_seed(cell.config, seed), miou=99.0 + seed / 10)
    with pytest.raises(SystemExit):
        command(1, "--check", "--results", tmp_path)
    assert "mIoU outside of what 3 finished seeds" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 6, "nothing is kept"


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


def test_a_table_that_is_stopped_leaves_no_training_behind(tmp_path):
    command = ["table", "5", "--run", "--seeds", "1", "--results", str(tmp_path), "--device", "cpu"]
    code = "from gcnlab.cli import main; main()"
    with open(tmp_path / "log.txt", "w") as log:
        program = subprocess.Popen(
            [sys.executable, "-c", code, *command], stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: (tmp_path / "shapes/conv1x1-seed0").is_dir())  # its training has begun
        program.terminate()
        assert program.wait(60) == 128 + signal.SIGTERM, (tmp_path / "log.txt").read_text()
        wait_for(lambda: not group_exists(program.pid))
    finally:
        if group_exists(program.pid):
            os.killpg(program.pid, signal.SIGKILL)


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def group_exists(number):
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def loads_in_processes_of_its_own(path):
    """As a training with --workers does: no child of a daemon may."""
    child = multiprocessing.get_context("spawn").Process(target=path.touch)
    child.start()
    child.join()


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_training_has_a_process_of_its_own_that_may_start_others(tmp_path):
    _in_a_process_of_its_own(loads_in_processes_of_its_own, tmp_path / "here")
    assert (tmp_path / "here").exists()


def test_a_training_that_is_killed_is_missed():
    with pytest.raises(RunStopped, match="status -9"):
        _in_a_process_of_its_own(is_killed)


HOLDS = """
import sys, time
from pathlib import Path
from gcnlab.training import only_writer
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


def test_what_another_process_trains_comes_last(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gcnlab.cli.table, "paper_table", tiny_table)
    with another_process_in(tmp_path / "shapes/conv1x1-seed0") as other:
        waits = []

        def stopped_at_last(seconds):
            waits.append(seconds)
            if len(waits) == 3:
                other.kill()
                other.wait()

        monkeypatch.setattr(gcnlab.cli.missing.time, "sleep", stopped_at_last)
        command(1, "--run", "--seeds", 1, "--results", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 of 2: gcn3, seed 0")
    assert lines[1] == "waiting for 1 that other processes train"
    assert lines[2].startswith("2 of 2: conv1x1, seed 0")


def test_a_network_that_was_taken_a_moment_ago_is_left_to_the_other(tmp_path):
    config = tiny_table(1).cells[0].config
    with another_process_in(tmp_path):
        _in_a_process_of_its_own(_train_one, config, tmp_path, "cpu", 0)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_network_waits_for_its_backbone(tmp_path):
    missing = Missing(paper_table(6), "mini", tmp_path)
    free = [cell.name for cell in missing.table.cells if missing.is_free(cell, 0)]
    assert free == ["mini", "mini_gcn"]
    weights = tmp_path / "single_shapes/mini_gcn-seed0/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    free = [cell.name for cell in missing.table.cells if missing.is_free(cell, 0)]
    assert free == ["mini", "mini_gcn", "mini_gcn+conv1x1", "mini_gcn+gcn7-br"]


def test_backbones_of_table_6_lie_under_the_results(tmp_path):
    table = paper_table(6)
    (cell,) = (cell for cell in table.cells if cell.name == "mini_gcn+conv1x1")
    placed = _with_classifiers_under(with_seed(cell.config, 2), tmp_path)
    weights = tmp_path / "single_shapes/mini_gcn-seed2/weights.safetensors"
    assert Path(placed.model.weights).resolve() == weights.resolve()
    runs = [(placed, {"miou": 50.0})]
    assert by_seed(cell.config, runs) == {2: {"miou": 50.0}}  # wherever they lay
    (other,) = (cell for cell in table.cells if cell.name == "mini+conv1x1")
    assert by_seed(other.config, runs) == {}


def test_a_classifier_is_trained_again_only_for_a_network_that_takes_its_weights(
    tmp_path, monkeypatch
):
    table = paper_table(6)
    networks = Missing(table, "mini", tmp_path, seeds=2).networks
    upon_gcn = {"mini_gcn+conv1x1", "mini_gcn+gcn7-br"}
    runs = [
        (with_seed(cell.config, seed), {"top1": 90.0, "miou": 50.0})
        for cell in table.cells
        for seed in (0, 1)
        if seed == 0 or cell.name not in upon_gcn
    ]
    monkeypatch.setattr(gcnlab.cli.missing, "finished_runs", lambda results: runs)

    def missing():
        return {(cell.name, seed) for cell, seed in networks()}

    rest = {(name, 1) for name in upon_gcn}
    assert missing() == {("mini_gcn", 1), *rest}
    weights = tmp_path / "single_shapes/mini_gcn-seed1/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert missing() == rest
    monkeypatch.setattr(gcnlab.cli.missing, "finished_runs", lambda results: [])
    assert len(missing()) == 12  # without their scores the classifiers are trained, too


def test_table_6_has_no_backbones_for_a_new_seed(tmp_path):
    with pytest.raises(ValueError, match="but on the table's own backbones"):
        ShowTable(6, check=True, results=tmp_path)()


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
