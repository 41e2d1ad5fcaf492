"""The tables' definitions against the paper's figures, and the report against scipy and a hand computation."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from gcnlab.experiments import paper, tables
from gcnlab.experiments.paper import published_table, results_folder
from gcnlab.experiments.report import (
    by_seed,
    finished_runs,
    judge,
    mean_and_spread,
    orderings,
    p_value,
    paper_and_ours,
    prediction_interval,
    verdicts,
)
from gcnlab.experiments.scales import SCALES
from gcnlab.experiments.tables import (
    CLASSIFIERS,
    SCORES,
    Claim,
    PaperTable,
    paper_table,
    with_seed,
)
from gcnlab.models import build_backbone, make_head
from gcnlab.pretrained import pretrained_networks
from gcnlab.training import RunConfig, TrainingConfig
from gcnlab.training.tasks import task_of

NUMBERS = (1, 2, 3, 4, 5)
"""Tables whose networks differ in the head alone."""


PAPER = [(n, scale) for scale in SCALES for n in SCALES[scale].tables if n != "levels"]
"""Number and scale of every table of the paper."""


@pytest.mark.parametrize(("number", "scale"), PAPER)
def test_every_claim_but_those_of_the_text_agrees_with_the_published_figures(number, scale):
    table = paper_table(number, scale)
    paper = {cell.name: cell.paper for cell in table.cells}
    assert table.claims
    for claim in table.claims:
        better, worse = (
            paper[side.better][claim.score] - paper[side.worse][claim.score]
            if isinstance(side, Claim)
            else paper[side][claim.score]
            for side in (claim.better, claim.worse)
        )
        assert better > worse


@pytest.mark.parametrize("scale", SCALES)
def test_networks_of_a_table_differ_in_the_head_alone(scale):
    for number in SCALES[scale].tables:
        if number == 6:
            continue
        configs = [cell.config for cell in paper_table(number, scale).cells]
        assert len({str(c) for c in configs}) == len(configs)
        assert len({(c.model.backbone, str(c.data), str(c.training)) for c in configs}) == 1


def test_the_large_networks_have_the_papers_map_and_k():
    table = paper_table(1, "large")
    assert [cell.name for cell in table.cells] == ["conv1x1", "gcn3", "gcn7", "gcn15"]
    for large, quick in zip(table.cells, (c for c in paper_table(1, "quick").cells if c.name != "gcn5")):  # fmt: skip
        assert large.config.model == quick.config.model
        assert large.config.training == quick.config.training
    data = table.cells[-1].config.data
    strides = build_backbone("mini").strides
    assert data.image_size // strides[-1] == 16
    assert [c.name for c in paper_table(5, "large").cells] == ["conv1x1", "gcn15", "gcn15-br"]


def test_the_global_kernel_of_the_photographs_covers_the_map():
    table = paper_table(1, "photos")
    assert [cell.name for cell in table.cells] == ["conv1x1", "gcn3", "gcn5", "gcn7", "gcn11"]
    assert table.cells[-1].config.data.crop == (12 * 32, 12 * 32)
    assert table.seeds == 5
    assert [c.name for c in paper_table(3, "photos").cells] == ["gcn5", "stack5", "gcn7", "stack7"]


@pytest.mark.parametrize(
    ("scale", "k", "each"), [("photos", 11, (95, 47, 23, 11)), ("large", 15, (127, 63, 31, 15))]
)
def test_three_readings_of_k_at_the_four_levels(scale, k, each):
    sizes = [cell.config.model.kernel_size for cell in paper_table("levels", scale).cells]
    assert sizes == [k, each, (1, 1, 1, k)]


def test_a_table_that_a_scale_does_not_have_is_refused():
    with pytest.raises(ValueError, match="Table 6 is not defined at the scale photos"):
        paper_table(6, "photos")


def test_scales_keep_their_runs_apart():
    assert len({scale.folder for scale in SCALES.values()}) == len(SCALES)
    assert len({str(scale.run) for scale in SCALES.values()}) == len(SCALES)


@pytest.mark.parametrize("number", NUMBERS)
def test_all_seeds_of_the_quick_networks_start_from_the_shipped_backbone(number):
    for quick, mini in zip(paper_table(number, "quick").cells, paper_table(number).cells):
        third = with_seed(quick.config, 3)
        assert third.training.seed == 3
        assert third.model == quick.config.model
        assert third.model.weights in pretrained_networks()
        assert dataclasses.replace(third.model, weights=None) == mini.config.model
        assert third.data == mini.config.data


def test_one_name_is_one_network_in_all_tables():
    named = {}
    for number in (*NUMBERS, 6):
        for cell in paper_table(number).cells:
            assert named.setdefault(cell.name, cell.config) == cell.config


def test_table_6_pretrains_both_backbones_and_gives_each_both_heads():
    classifiers, segmenters = {}, {}
    for cell in paper_table(6).cells:
        (segmenters if isinstance(cell.config, RunConfig) else classifiers)[cell.name] = cell
    assert list(classifiers) == ["mini", "mini_gcn"]
    assert [cell.paper["top1"] for cell in classifiers.values()] == [92.3, 92.1]
    for name, cell in segmenters.items():
        backbone = cell.config.model.backbone
        assert name.startswith(f"{backbone}+")
        assert classifiers[backbone].config.backbone == backbone
        assert cell.pretrained == backbone
        third = cell.settings(3)
        assert (
            third.model.weights
            == f"data/results/{CLASSIFIERS}/{backbone}-seed3/weights.safetensors"
        )
        assert third.training.seed == 3
    assert len(segmenters) == 4
    plain, gcn = (task_of(classifiers[name].config).build_model() for name in classifiers)
    weights = [sum(p.numel() for p in model.parameters()) for model in (plain, gcn)]
    assert 0.7 < weights[1] / weights[0] < 1.4, "about the same size"


def test_a_claim_on_differences_is_judged_by_differences():
    table = dataclasses.replace(
        paper_table(1), claims=(Claim(Claim("gcn7", "conv1x1"), Claim("gcn3", "gcn5")),), seeds=3
    )
    scores = {"gcn7": (9, 8, 9), "conv1x1": (1, 2, 2), "gcn3": (5, 6, 6), "gcn5": (4, 4, 4.5)}
    runs = [
        (with_seed(cell.config, seed), {"miou": float(value)})
        for cell in table.cells
        if cell.name in scores
        for seed, value in enumerate(scores[cell.name])
    ]
    (verdict,) = verdicts(table, runs)
    assert verdict.difference == pytest.approx((8 - 1 + 6 - 2 + 7 - 1.5) / 3)
    assert verdict.outcome == "held"
    assert str(verdict.claim) == "(gcn7 − conv1x1) > (gcn3 − gcn5)"


def test_weights_are_the_papers():
    thousands = {row["head"]: int(row["weights_in_thousands"]) for row in published_table(4)}
    ours = {cell.name: cell.weights for cell in paper_table(4).cells}
    for name, head in (("stack7", "stack m=2048"), ("stack7-half", "stack m=1024"), ("stack7-tenth", "stack m=210"), ("gcn7", "gcn")):  # fmt: skip
        assert ours[name] == pytest.approx(1000 * thousands[head], abs=1000)
    assert [cell.weights for cell in paper_table(2).cells] == [
        *(260_694, 387_072, 434_490, 1_075_200, 608_286, 2_107_392)
    ]


def test_the_published_figures_of_table_5():
    rows = published_table(5)
    assert [row["network"] for row in rows] == ["baseline", "gcn", "gcn+br"]
    assert [float(row["internal_accuracy"]) for row in rows] == [93.9, 95.0, 95.1]


def test_no_such_table(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no definition of Table 7"):
        paper_table(7)
    with pytest.raises(FileNotFoundError, match="Table 99 is not part of gcnlab"):
        published_table(99)
    monkeypatch.setattr(paper, "__file__", str(tmp_path / "gcnlab/experiments/paper.py"))
    with pytest.raises(FileNotFoundError, match="run from a checkout"):
        results_folder()


# --- Claims


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=3, max_size=8))
def test_a_verdict_is_the_paired_t_test(pairs):
    better, worse = ({i: p[side] for i, p in enumerate(pairs)} for side in (0, 1))
    verdict = judge(Claim("a", "b"), better, worse, needed=3)
    differences = [a - b for a, b in pairs]
    assert verdict.difference == pytest.approx(math.fsum(differences) / len(pairs), abs=1e-9)
    if max(differences) - min(differences) > 1e-3:
        p = ttest_rel(*zip(*pairs)).pvalue
        assert verdict.p == pytest.approx(p, rel=1e-6, abs=1e-12)
        decided = "held" if verdict.difference > 0 else "not held"
        assert verdict.outcome == (decided if p < 0.05 else "inconclusive")


def test_clear_differences_of_enough_seeds_decide():
    high, low = {s: 70.0 + s for s in range(5)}, {s: 60.0 + 1.1 * s for s in range(5)}
    claim = Claim("a", "b")
    assert judge(claim, high, low, 5).outcome == "held"
    assert judge(claim, low, high, 5).outcome == "not held"
    assert judge(claim, high, low, 6).outcome == "inconclusive"
    four = {s: v for s, v in high.items() if s}
    assert judge(claim, four, low, 5).outcome == "inconclusive"
    assert judge(claim, four, low, 5).seeds == (1, 2, 3, 4)


def test_a_score_of_the_networks_that_have_it():
    table, cell = paper_table(6), paper_table(6).cells[2]
    runs = [(cell.settings(seed), {"miou": miou}) for seed, miou in ((1, 50.0), (0, 60.0))]
    paper, ours = paper_and_ours(table, runs, "miou")
    assert paper["mini+conv1x1"] == 65.7
    assert list(paper) == list(ours)
    assert "mini" not in paper
    assert sorted(ours["mini+conv1x1"]) == [50.0, 60.0]
    assert ours["mini_gcn+conv1x1"] == []


def test_a_run_on_a_pretrained_backbone_is_found_wherever_its_results_lie():
    cells = {cell.name: cell for cell in paper_table(6).cells}
    cell, other = cells["mini_gcn+conv1x1"], cells["mini+conv1x1"]
    runs = [(cell.settings(2, Path("elsewhere")), {"miou": 50.0})]
    assert by_seed(cell, runs) == {2: {"miou": 50.0}}
    assert by_seed(other, runs) == {}
    on_another_seeds_backbone = dataclasses.replace(
        cell.settings(2).model, weights=cell.settings(1).model.weights
    )
    runs = [
        (dataclasses.replace(cell.settings(2), model=on_another_seeds_backbone), {"miou": 50.0})
    ]
    assert by_seed(cell, runs) == {}


def test_without_runs_nothing_is_claimed():
    verdict = judge(Claim("a", "b"), {}, {0: 50.0}, 3)
    assert verdict.outcome == "inconclusive"
    assert math.isnan(verdict.difference)
    assert judge(Claim("a", "b"), {0: 60.0}, {0: 50.0}, 3).outcome == "inconclusive"


def test_means_are_shown_with_their_spread():
    assert mean_and_spread([]) == "–"
    assert mean_and_spread([70.44]) == "70.4"
    assert mean_and_spread([1.0, 2.0, 3.0]) == "2.0 ± 1.0"


# --- Runs on disk


def write_run(folder, config, **scores):
    folder.mkdir(parents=True)
    values = {"settings": config.to_dict(), "scores": dict.fromkeys(SCORES, 50.0) | scores}
    values["final_loss"] = 0.25
    (folder / "result.json").write_text(json.dumps(values))


def test_runs_are_found_by_their_settings_whatever_the_folder(tmp_path):
    config = paper_table(1).cells[1].config
    write_run(tmp_path / "a", with_seed(config, 3), miou=61.0)
    write_run(tmp_path / "b" / "c", with_seed(config, 0), miou=60.0)
    other = dataclasses.replace(config, training=TrainingConfig(epochs=9))
    write_run(tmp_path / "d", other)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "result.json").write_text('{"settings": {"backbone": "mini"}, "scores": {}}')
    found = by_seed(config, finished_runs(tmp_path))
    assert {seed: scores["miou"] for seed, scores in found.items()} == {3: 61.0, 0: 60.0}
    assert found[3]["final_loss"] == 0.25


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"settings": {', "not JSON"),
        (b"\xff\x00", "not JSON"),
        (b'{"settings": {}}', "no scores"),
        (b"[]", "no scores"),
    ],
)
def test_a_damaged_result_is_named(tmp_path, content, words):
    path = tmp_path / "run" / "result.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: damaged.*{words}"):
        finished_runs(tmp_path)


def test_the_committed_runs_serve_the_tables():
    runs = finished_runs()
    table = paper_table(1)
    seeds = {cell.name: set(by_seed(cell, runs)) for cell in table.cells}
    assert {0, 1, 2} <= seeds["conv1x1"] & seeds["gcn7"]
    assert len(verdicts(table, runs)) == len(table.claims)


def test_the_prediction_interval_holds_one_more_value_so_often():
    rng = np.random.default_rng(0)
    draws = rng.normal(70, 3, (2000, 6))
    inside = 0
    for *values, one_more in draws.tolist():
        low, high = prediction_interval(values, 0.9)
        inside += low <= one_more <= high
    assert 0.88 <= inside / 2000 <= 0.92
    with pytest.raises(ValueError, match="at least 3"):
        prediction_interval([1.0, 2.0])


def test_tables_name_every_score():
    read = {score for number in (*NUMBERS, 6) for score in paper_table(number).scores}
    assert read == set(SCORES)
    with pytest.raises(ValueError, match="no cells"):
        PaperTable(1, "", (), ("miou",), (tables.Claim("a", "b"),))


def test_a_stack_that_reaches_three_pixels_is_the_convolution_of_table_2():
    stack, conv = (
        next(cell.config for cell in paper_table(number).cells if cell.name == name)
        for number, name in ((3, "stack3"), (2, "conv3"))
    )
    assert stack == conv
    torch.manual_seed(0)
    as_conv = make_head("conv", 8, 5, 3)
    torch.manual_seed(0)
    as_stack = make_head("stack", 8, 5, 3)
    x = torch.randn(1, 8, 7, 7)
    torch.testing.assert_close(as_stack(x), as_conv(x), rtol=0, atol=0)


def test_a_p_value_is_never_zero():
    assert [p_value(p) for p in (0.2, 0.0011, 0.0009, 0.0)] == [
        "= 0.200",
        "= 0.001",
        "< 0.001",
        "< 0.001",
    ]


def test_the_published_lead_is_a_difference_of_scores_or_of_differences():
    leads = {str(c): paper_table(6).published_lead(c) for c in paper_table(6).claims}
    assert leads["mini_gcn+conv1x1 > mini+conv1x1"] == pytest.approx(71.2 - 65.7)
    both = "(mini_gcn+conv1x1 − mini+conv1x1) > (mini_gcn+gcn7-br − mini+gcn7-br)"
    assert leads[both] == pytest.approx((71.2 - 65.7) - (72.5 - 72.3))


def test_all_orderings_at_all_scales_a_dash_where_nothing_was_run():
    runs = []
    for scale, name, scores in (
        ("mini", "conv1x1", (50.0, 51.0, 49.0, 50.0, 52.0)),
        ("mini", "gcn3", (60.0, 62.0, 58.0, 61.0, 63.0)),
        ("large", "conv1x1", (40.0,)),
        ("large", "gcn3", (55.0,)),
    ):
        (cell,) = (c for c in paper_table(1, scale).cells if c.name == name)
        runs += [(with_seed(cell.config, s), dict.fromkeys(SCORES, v)) for s, v in enumerate(scores)]  # fmt: skip
    header, row = orderings(runs, ("mini", "quick", "large"))
    assert header[:4] == ["table", "ordering", "score", "paper"]
    assert row == [
        *("1", "gcn3 > conv1x1", "mIoU", "+1.1"),
        *("held +10.4 ± 0.9", "–", "inconclusive +15.0"),
    ]
    assert len(orderings([])) == 1
