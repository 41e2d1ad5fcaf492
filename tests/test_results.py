"""Committed results have provenance, hold what the README says of them, and show what it claims."""

import json
import re
import statistics
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from gcnlab.experiments import coverage
from gcnlab.experiments.network_cost import table_networks
from gcnlab.experiments.object_size import Settings, read_result
from gcnlab.experiments.report import (
    by_seed,
    finished_runs,
    format_lead,
    judge,
    mean_and_spread,
    orderings,
)
from gcnlab.experiments.tables import Claim, paper_table

ROOT = Path(__file__).parent.parent
RESULTS = sorted((ROOT / "data" / "results").rglob("result.json"))
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "results.md").read_text()
WORDS = " ".join(PAGE.split())


def read(pattern):
    return [
        json.loads(path.read_text())
        for path in sorted((ROOT / "data" / "results").glob(f"{pattern}/result.json"))
    ]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_a_result_has_provenance_log_and_figure(path):
    record = json.loads(path.read_text())["provenance"]
    assert re.match(r"gcnlab (train (\w+ )?--out data/results/|table )", record["command"])
    assert record["commit"]
    assert not record["commit"].endswith("+"), "made from uncommitted code"
    assert {"seeds", "dataset", "split", "device", "wall_seconds", "versions"} <= record.keys()
    assert (path.parent / "log.csv").is_file()
    assert (path.parent / "loss.png").is_file()


@pytest.mark.parametrize("head", ["conv1x1", "gcn7", "gcn7-br"])
@pytest.mark.parametrize("score", ["miou", "boundary_accuracy", "internal_accuracy"])
def test_the_page_shows_the_mean_and_spread_of_the_seeds(head, score):
    values = [result["scores"][score] for result in read(f"shapes/{head}-seed*")]
    assert len(values) >= 3
    shown = f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
    row = next(line for line in PAGE.splitlines() if f"shapes/{head}-seed{{" in line)
    assert shown in row
    seeds = ",".join(map(str, range(len(values))))
    assert f"shapes/{head}-seed{{{seeds}}}" in row


def test_gcn_beats_the_baseline_in_every_seed_and_by_ten_points_on_average():
    gcn, baseline = (
        {r["provenance"]["seeds"][0]: r["scores"]["miou"] for r in read(f"shapes/{head}-seed*")}
        for head in ("gcn7", "conv1x1")
    )
    shared = gcn.keys() & baseline.keys()
    assert len(shared) >= 5
    gains = [gcn[seed] - baseline[seed] for seed in shared]
    assert min(gains) > 0
    assert statistics.mean(gains) >= 10


def test_camvid_from_scratch_within_forty_cpu_minutes():
    for result in read("camvid/*"):
        assert result["scores"]["miou"] >= 45
        assert result["scores"]["images"] == 101
        assert result["settings"]["model"]["weights"] is None
        assert result["provenance"]["process_cpu_seconds"] <= 40 * 60


@pytest.mark.parametrize(("number", "scale"), [(5, "camvid"), (1, "large")])
def test_the_page_shows_the_scores_of_the_larger_scales(number, scale):
    table, runs = paper_table(number, scale), finished_runs()
    for cell in table.cells:
        found = by_seed(cell, runs).values()
        shown = [mean_and_spread([scores[score] for scores in found]) for score in table.scores]
        assert f"| {cell.name} | {' | '.join(shown)} | {len(found)} |" in PAGE


ORDERINGS = orderings(finished_runs())


@pytest.mark.parametrize("row", ORDERINGS, ids=lambda row: row[1])
def test_the_readme_says_what_became_of_every_ordering(row):
    assert f"| {' | '.join(row)} |" in README


def test_the_readme_lists_nothing_but_orderings_of_the_tables():
    listed = [line for line in README.splitlines() if re.match(r"\| \d \|", line)]
    assert len(listed) == len(ORDERINGS) - 1


@pytest.mark.parametrize(
    ("number", "scale", "seeds"),
    [
        *((n, "mini", 5) for n in (1, 5)),
        *((n, "mini", 3) for n in (2, 3, 4, 6)),
        (1, "quick", 5),
        (1, "large", 3),
    ],
)
def test_every_network_of_a_table_has_its_seeds(number, scale, seeds):
    runs = finished_runs()
    for cell in paper_table(number, scale).cells:
        assert len(by_seed(cell, runs)) >= seeds


@pytest.mark.parametrize(
    "name",
    ["conv1x1", "gcn3", "conv3", "gcn7", "conv7", "stack7", "stack7-half", "stack7-tenth"],
)
def test_the_page_says_what_the_heads_score_at_other_rates(name):
    config, runs = table_networks()[name], finished_runs()
    scores = []
    for rate in (0.001, 0.0025, 0.005, 0.01):
        training = replace(config.training, learning_rate=rate)
        found = by_seed(replace(config, training=training), runs)
        assert {0, 1, 2} <= found.keys()
        scores.append(mean_and_spread([score["miou"] for score in found.values()]))
    assert f"| {name} | {' | '.join(scores)} |" in PAGE


@pytest.mark.parametrize("name", ["gcn7", "stack7"])
def test_the_page_says_what_the_heads_score_in_bf16(name):
    config = table_networks()[name]
    config = replace(config, training=replace(config.training, precision="bf16"))
    scores = [score["miou"] for score in by_seed(config, finished_runs()).values()]
    assert len(scores) == 3
    assert f"{name}: {mean_and_spread(scores)}" in WORDS


def test_the_page_says_what_the_quick_recipe_gives():
    result = json.loads((ROOT / "data/results/quick/gcn7-seed0/result.json").read_text())
    seconds = round(result["provenance"]["wall_seconds"])
    assert f"{result['scores']['miou']:.1f} % after {result['steps']} steps, {seconds} s" in WORDS


def test_the_page_says_how_cost_grows():
    page = " ".join((ROOT / "docs" / "performance.md").read_text().split())
    result = json.loads((ROOT / "data/results/bench/cost.json").read_text())
    rows = {(row["kind"], row["k"]): row for row in result["rows"]}
    for kind in ("gcn", "conv"):
        small, large = rows[kind, 3], rows[kind, 25]
        for what in ("seconds", "operations"):
            assert f"{large[what] / small[what]:.0f} times" in page
    explained = result["variance_explained"]
    assert f"{100 * explained['gcn']['k^1']:.1f} % of GCN's" in page
    assert f"{100 * explained['conv']['k^2']:.1f} % of the" in page
    assert not result["provenance"]["commit"].endswith("+")


def test_the_page_says_what_kept_memory_is_worth():
    result = json.loads((ROOT / "data/results/bench/allocator.json").read_text())
    page = (ROOT / "docs" / "performance.md").read_text()
    for row in result["rows"]:
        peaks = row["kept"]["peak_mb"] / row["given_back"]["peak_mb"]
        (line,) = (x for x in page.splitlines() if x.startswith(f"| {row['image_size']}×"))
        assert line.endswith(f"| × {row['times_as_fast']:.2f} | × {peaks:.2f} |")
    assert not result["provenance"]["commit"].endswith("+")


def test_the_guide_says_how_long_the_notebooks_take():
    """Ten runs in a row, none failed, each within twelve minutes on two cores."""
    found = json.loads((ROOT / "data" / "results" / "notebooks.json").read_text())
    guide = (ROOT / "docs" / "instructor.md").read_text()
    assert len(found["wall"]) >= 10
    assert not any(found["failed"])
    assert max(found["wall"]) < 12 * 60
    for name, seconds in found["notebooks"].items():
        row = next(line for line in guide.splitlines() if f"| [{name}](../notebooks/" in line)
        assert f"| {statistics.median(seconds):.0f} s |" in row
    low, high = min(found["wall"]) / 60, max(found["wall"]) / 60
    assert f"{low:.1f} to {high:.1f} minutes" in guide


# --- Scores against object size

OBJECT_SIZES = sorted((ROOT / "data" / "results" / "object_size").glob("*.json"))
QUICK_OBJECT_SIZES = sorted((ROOT / "data" / "results" / "object_size" / "quick").glob("*.json"))
HEADS = ("conv1x1", "gcn3", "gcn5", "gcn7", "gcn15")


@pytest.mark.parametrize("path", [*OBJECT_SIZES, *QUICK_OBJECT_SIZES], ids=lambda path: path.stem)
def test_object_sizes_were_measured_as_the_command_does(path):
    result, record = read_result(path), json.loads(path.read_text())["provenance"]
    assert result.settings == Settings()
    assert [score.size for score in result.scores] == list(Settings().sizes)
    assert record["command"].startswith("python -m gcnlab.experiments.object_size ")
    assert not record["commit"].endswith("+"), "made from uncommitted code"


def test_large_objects_keep_their_inside_with_a_large_kernel():
    """What the notebook says: in every seed, from 120 to 192 pixels."""
    results = {(r.title, r.seed): r for r in map(read_result, OBJECT_SIZES)}
    pairs = [(r, results["1×1", s]) for (t, s), r in results.items() if t == "GCN, k = 7"]
    assert pairs
    for gcn, baseline in pairs:
        large = [
            (ours, theirs)
            for ours, theirs in zip(gcn.scores, baseline.scores, strict=True)
            if 120 <= ours.size <= 192
        ]
        for ours, theirs in large:
            assert ours.internal_accuracy > theirs.internal_accuracy
            assert ours.iou > theirs.iou
        # Of twelve fields a size, only the mean over the sizes is steady enough.
        assert sum(o.coverage for o, _ in large) > sum(t.coverage for _, t in large)


def at_192_px(head, score):
    """A score of the quick networks on the largest objects that were trained on, by seed."""
    found = [read_result(path) for path in QUICK_OBJECT_SIZES if path.stem.startswith(f"{head}-")]
    values = {r.seed: getattr(s, score) for r in found for s in r.scores if s.size == 192}
    assert values.keys() == {1, 2, 3, 4}
    return values


@pytest.mark.parametrize("score", ["internal_accuracy", "coverage"])
def test_the_page_says_how_large_objects_fare_under_each_head(score):
    spreads = [mean_and_spread(list(at_192_px(head, score).values())) for head in HEADS]
    assert f"{', '.join(spreads)} %" in WORDS


@pytest.mark.parametrize(("worse", "better"), list(pairwise(HEADS)))
def test_the_page_says_which_larger_kernel_keeps_more_of_large_objects(worse, better):
    inside = (at_192_px(head, "internal_accuracy") for head in (better, worse))
    verdict = judge(Claim(better, worse, "internal_accuracy"), *inside, needed=3)
    assert f"| {verdict.claim} | {verdict.outcome} {format_lead(verdict)} |" in PAGE


# --- Coverage against accuracy


@pytest.mark.parametrize(("head", "title"), [("conv1x1", "1×1"), ("gcn7", "GCN, k = 7")])
def test_the_page_says_how_coverage_and_accuracy_correlate(head, title):
    paths = sorted((ROOT / "data" / "results" / "coverage" / "quick").glob(f"{head}-*.json"))
    assert len(paths) == 4
    found = [coverage.correlations(coverage.read_result(path)).values() for path in paths]
    by_group = zip(*([c.rho for c in groups] for groups in found))
    shown = [f"{statistics.mean(rho):.2f} ± {statistics.stdev(rho):.2f}" for rho in by_group]
    assert f"| {title} | {' | '.join(shown)} |" in PAGE
