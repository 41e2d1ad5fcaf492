"""The paper's tables beside ours: means over seeds, and for every claim whether it held.

A finished run is found by its settings, whatever its folder is called: all result.json under data/results are read,
and a run counts for a cell if its settings are the cell's but for the seed. So a run serves every table that has it,
and nothing is trained twice.

**A claim** is tested seed by seed: the same seed is the same order of images for both networks. "held" and "not held" take a two-sided
paired t-test at 5 %; everything else, and everything with fewer seeds than the table asks for, is "undecided".
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcnlab.experiments.paper import ROOT
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import SCORES, Claim, PaperTable, paper_table, with_seed
from gcnlab.training import PretrainConfig, RunConfig

RESULTS = ROOT / "data" / "results"
LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        claim: it.
        difference: mean of better − worse over the seeds, in points; NaN without any.
        spread: standard deviation of the difference; NaN with fewer than two.
        seeds: that both networks have.
        p: of the paired t-test; NaN with fewer than two seeds.
        outcome: "held", "not held" or "undecided".
    """

    claim: Claim
    difference: float
    spread: float
    seeds: tuple[int, ...]
    p: float
    outcome: str


Runs = list[tuple[RunConfig | PretrainConfig, dict[str, float]]]
"""Settings of finished runs, and their scores, "final_loss" (of training, at its end) among them where it is known."""


def finished_runs(results: Path = RESULTS) -> Runs:
    """All runs with a result.json under `results`, of segmentation and of classifiers; those of settings that are not
    known any more are left out.

    Raises:
        ValueError: naming the file, if it is damaged or holds no scores.
    """
    runs = []
    for path in sorted(results.rglob("result.json")):
        record = _read(path)
        try:
            kind = RunConfig if "model" in record["settings"] else PretrainConfig
            config = kind.from_dict(record["settings"])
        except (KeyError, TypeError, ValueError):
            continue  # of a schedule, whose data are not here
        scores = dict(record["scores"])
        if record.get("final_loss") is not None:  # as of a shipped network
            scores["final_loss"] = record["final_loss"]
        runs.append((config, scores))
    return runs


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except ValueError as error:  # not JSON, or not even text
        raise ValueError(f"{path}: damaged, not JSON ({error})") from error
    if not isinstance(record, dict) or "scores" not in record:
        raise ValueError(f"{path}: damaged or not a result, without scores")
    return record


def by_seed(config: RunConfig | PretrainConfig, runs: Runs) -> dict[int, dict[str, float]]:
    """The scores of the runs that differ from `config` in the seed alone."""
    wanted = _comparable(config)
    return {found.training.seed: scores for found, scores in runs if _comparable(found) == wanted}


def _comparable(config: RunConfig | PretrainConfig) -> RunConfig | PretrainConfig:
    """`config` with seed 0, and its backbone's file by the last two folders' names alone."""
    config = with_seed(config, 0)
    if isinstance(config, RunConfig) and config.model.weights is not None:
        file = "/".join(Path(config.model.weights).parts[-3:])
        config = replace(config, model=replace(config.model, weights=file))
    return config


def judge(claim: Claim, better: dict[int, float], worse: dict[int, float], needed: int) -> Verdict:
    """Compare two networks' scores, by seed.

    Args:
        needed: seeds that a decision takes, at least 2.
    """
    seeds = tuple(sorted(better.keys() & worse.keys()))
    differences = [better[s] - worse[s] for s in seeds]
    mean = statistics.fmean(differences) if seeds else math.nan
    if len(seeds) < 2:
        return Verdict(claim, mean, math.nan, seeds, math.nan, "undecided")
    p, spread = _p_value(differences), statistics.stdev(differences)
    outcome = "undecided"
    if len(seeds) >= needed and p < LEVEL:
        outcome = "held" if mean > 0 else "not held"
    return Verdict(claim, mean, spread, seeds, p, outcome)


def verdicts(table: PaperTable, runs: Runs) -> list[Verdict]:
    """Each claim of a table."""
    found = {cell.name: by_seed(cell.config, runs) for cell in table.cells}

    def scores(side: str | Claim, score: str) -> dict[int, float]:
        if isinstance(side, str):
            return {seed: values[score] for seed, values in found[side].items()}
        better, worse = scores(side.better, score), scores(side.worse, score)
        return {seed: better[seed] - worse[seed] for seed in better.keys() & worse.keys()}

    return [
        judge(c, scores(c.better, c.score), scores(c.worse, c.score), table.seeds)
        for c in table.claims
    ]


def orderings(
    runs: Runs, scales: Sequence[Scale] = ("mini", "quick", "large", "camvid")
) -> list[list[str]]:
    """All orderings of Tables 1 to 6 that were put to the test at one of the scales: the header, and a row for each with
    the paper's lead and what became of ours, a dash where it was not run."""
    rows: dict[tuple[int, str, str], list[str]] = {}
    for column, scale in enumerate(scales):
        for number in range(1, 7):
            table = paper_table(number, scale)
            for verdict in filter(lambda v: v.seeds, verdicts(table, runs)):
                claim = verdict.claim
                key = number, str(claim), SCORES[claim.score]
                lead = f"{table.published_lead(claim):+.1f}"
                row = rows.setdefault(key, [*map(str, key), lead, *["–"] * len(scales)])
                row[4 + column] = f"{verdict.outcome} {lead_in_words(verdict)}"
    header = ["table", "ordering", "score", "paper", *(SCALES[scale].images for scale in scales)]
    return [header, *(rows[key] for key in sorted(rows, key=lambda key: key[0]))]


def paper_and_ours(
    table: PaperTable, runs: Runs, score: str
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """One score of the networks that have it: network → the paper's figure, and → ours, of every seed."""
    cells = [cell for cell in table.cells if score in cell.paper]
    ours = {cell.name: by_seed(cell.config, runs).values() for cell in cells}
    return (
        {cell.name: cell.paper[score] for cell in cells},
        {name: [scores[score] for scores in found] for name, found in ours.items()},
    )


def table_cells(table: PaperTable, runs: Runs) -> list[list[str]]:
    """A table as it is shown, paper and ours in adjacent columns: the header, and a row per network."""
    counted = any(cell.weights is not None for cell in table.cells)
    header = ["network", *(["weights"] if counted else [])]
    for score in table.scores:
        header += [f"paper {SCORES[score]}", f"our {SCORES[score]}"]
    shown = [[*header, "seeds"]]
    for cell in table.cells:
        found = by_seed(cell.config, runs)
        row = [cell.name]
        if counted:
            row.append("–" if cell.weights is None else f"{cell.weights:,}")
        for score in table.scores:
            row.append(f"{cell.paper[score]:.1f}" if score in cell.paper else "")
            ours = mean_and_spread([values[score] for values in found.values() if score in values])
            row.append(ours if score in cell.paper else "")
        shown.append([*row, str(len(found))])
    return shown


def aligned(cells: list[list[str]]) -> str:
    """Rows of text in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in cells
    ]
    return "\n".join(lines)


def sentence(verdict: Verdict) -> str:
    """A claim and what became of it, in a line."""
    claim = verdict.claim
    words = f"{SCORES[claim.score]}: {claim}"
    if not verdict.seeds:
        return f"{words:48} undecided, not run"
    numbers = lead_in_words(verdict)
    if len(verdict.seeds) > 1:
        numbers += f", p {p_value(verdict.p)}"
    return f"{words:48} {verdict.outcome:10} {numbers} ({_seeds(len(verdict.seeds))})"


def lead_in_words(verdict: Verdict) -> str:
    """ "+11.5 ± 3.7", the spread from two seeds on; a dash without any."""
    if not verdict.seeds:
        return "–"
    spread = f" ± {verdict.spread:.1f}" if len(verdict.seeds) > 1 else ""
    return f"{verdict.difference:+.1f}{spread}"


def p_value(p: float) -> str:
    """In words that follow "p": "= 0.012" or "< 0.001"."""
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def prediction_interval(values: list[float], level: float = 0.99) -> tuple[float, float]:
    """Where the score of one more training has to lie with that probability, if scores are normally distributed.

    mean ± t·s·√(1 + 1/n), with Student's t of n − 1 degrees of freedom.

    Raises:
        ValueError: fewer than three values say too little about their spread.
    """
    from scipy.stats import t

    n = len(values)
    if n < 3:
        raise ValueError(f"{n} finished seeds: a spread takes at least 3")
    reach = t.ppf((1 + level) / 2, n - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach


def mean_and_spread(values: list[float]) -> str:
    """ "70.4 ± 3.2", with a standard deviation from two values on; a dash without any."""
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def _p_value(differences: list[float]) -> float:
    """Two-sided p of the differences' mean being 0; differences that are all the same are certain."""
    from scipy.stats import ttest_1samp

    if statistics.pstdev(differences) == 0:
        return 0.0 if differences[0] else 1.0
    return float(ttest_1samp(differences, 0).pvalue)
