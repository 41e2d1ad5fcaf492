"""The benchmarks as commands: their list, `gcnlab bench`, and what an installed package says."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import RESULTS, ROOT, main, summary
from benchmarks.vrf import CASES, GROWTH, VrfBenchmark
from gcnlab.cli import bench
from gcnlab.cli.bench import Bench

pytestmark = pytest.mark.slow


def test_every_benchmark_has_a_summary_and_a_result(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    for name, result in RESULTS.items():
        importlib.import_module(f"benchmarks.{name}")
        assert summary(name) in listed
        assert result.endswith(".json")


def test_an_unknown_benchmark_is_named(capsys):
    assert main(["vfr"]) == 2
    assert (
        "unknown benchmark 'vfr'; choose all, or some of train, infer, vrf"
        in capsys.readouterr().err
    )


def test_each_benchmark_runs_in_a_process_and_writes_its_result(monkeypatch):
    commands = []

    def run(command, cwd):
        assert cwd == ROOT
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode=len(commands) - 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["all"]) == 1  # the second one fails, and nothing runs after it
    assert commands == [
        [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            "--out",
            str(Path("data/results", RESULTS[name])),
        ]
        for name in ("train", "infer")
    ]


def test_gcnlab_bench_lists_the_benchmarks_in_a_checkout(capfd):
    with pytest.raises(SystemExit) as end:
        Bench()()
    assert end.value.code == 0
    assert "inference_memory" in capfd.readouterr().out


def test_gcnlab_bench_needs_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    with pytest.raises(ValueError, match="part of the repository, not of the installed package"):
        Bench(("vrf",))()


def test_the_cases_of_the_vrf_benchmark():
    assert VrfBenchmark().cases() == CASES
    assert VrfBenchmark(growth=True, only=2).cases() == (GROWTH[1],)
    with pytest.raises(ValueError, match="--only must be a case, 1 … 3, not 4"):
        VrfBenchmark(only=4).cases()
    with pytest.raises(ValueError, match="--pairs must be at least 1"):
        VrfBenchmark(pairs=0)
