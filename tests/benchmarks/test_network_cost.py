"""Counted costs against formulas by hand; timed ones against what can be said without a
stopwatch."""

import itertools
import json
from dataclasses import replace

import pytest

from benchmarks import network_cost as benchmark
from benchmarks.network_cost import NetworkCostBenchmark, step_seconds
from gcnlab.experiments.command import run_command
from gcnlab.experiments.network_cost import network_cost, read_network_costs, table_networks
from gcnlab.experiments.paper import results_folder
from gcnlab.models import SegmentationNet
from gcnlab.models.segmenter import count_weights


def test_every_network_of_the_tables_is_there():
    names = set(table_networks())
    assert {"conv1x1", "gcn3", "gcn15", "gcn7-br", "conv7", "stack7", "stack7-tenth"} <= names
    assert "stack3" not in names  # it is conv3


def test_a_gcn_head_costs_what_its_formula_says():
    base, gcn = network_cost(table_networks()["conv1x1"]), network_cost(table_networks()["gcn7"])
    channels, sides, classes, k = (64, 128, 256, 512), (64, 32, 16, 8), 7, 7
    extra = [2 * k * (c + classes) * classes - c * classes for c in channels]
    assert gcn.weights - base.weights == sum(extra) - 0
    assert gcn.multiply_adds - base.multiply_adds == sum(
        e * side**2 for e, side in zip(extra, sides)
    )


def test_weights_are_those_of_the_network_itself():
    config = table_networks()["stack7-tenth"]
    model = SegmentationNet("mini", 7, "stack", 7, refine=False, mid_channels=(6, 13, 26, 52))
    assert network_cost(config).weights == count_weights(model)


def test_narrower_stacks_cost_less():
    costs = [
        network_cost(table_networks()[name]) for name in ("stack7", "stack7-half", "stack7-tenth")
    ]
    for wide, narrow in itertools.pairwise(costs):
        assert narrow.weights < wide.weights
        assert narrow.multiply_adds < wide.multiply_adds


def test_a_step_is_timed_for_every_network():
    config = table_networks()["conv1x1"]
    small = replace(config, data=replace(config.data, image_size=32))
    seconds = step_seconds({"a": small, "b": small}, rounds=2, batch_size=2)
    assert seconds.keys() == {"a", "b"}
    assert min(seconds.values()) > 0


def test_the_command_writes_costs_with_provenance(tmp_path, monkeypatch, capsys):
    few = {"conv1x1": table_networks()["conv1x1"]}
    monkeypatch.setattr(benchmark, "table_networks", lambda: few)
    out = tmp_path / "cost.json"
    monkeypatch.setattr(
        "sys.argv", ["cost", "--out", str(out), "--rounds", "1", "--batch-size", "1"]
    )
    run_command(NetworkCostBenchmark, "benchmarks.network_cost")
    record = json.loads(out.read_text())
    assert record["networks"]["conv1x1"]["weights"] == network_cost(few["conv1x1"]).weights
    assert record["provenance"]["commit"]
    read = read_network_costs(out)["conv1x1"]
    assert read.multiply_adds == network_cost(few["conv1x1"]).multiply_adds
    assert read.step_seconds > 0
    assert "conv1x1" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["cost", "--out", str(out), "--rounds", "0"])
    with pytest.raises(SystemExit):
        run_command(NetworkCostBenchmark, "benchmarks.network_cost")
    assert "rounds" in capsys.readouterr().err


def test_the_committed_costs_are_of_the_tables_networks():
    costs = read_network_costs(results_folder() / "cost.json")
    for name, config in table_networks().items():
        assert replace(costs[name], step_seconds=None) == network_cost(config)
