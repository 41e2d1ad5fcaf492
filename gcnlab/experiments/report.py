"""Compare the paper's tables with ours: means over seeds, and a verdict on every claim.

A finished run is found by its settings, not by the name of its folder. All result.json files under
data/results are read; a run belongs to a cell if its settings differ from the cell's in the seed
alone. One run therefore serves every table that contains its network, and nothing is trained
twice.

**Verdicts.** A claim is tested on pairs of runs with the same seed, which see the images in the
same order. A two-sided paired t-test at 5 % decides between "held" and "not held". Everything else
is "inconclusive", and so is a claim with fewer seeds than the table asks for.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcnlab.experiments.paper import results_folder
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import SCORES, Cell, Claim, PaperTable, paper_table
from gcnlab.training import PretrainConfig, RunConfig

LEVEL = 0.05
"""Significance level of the t-test."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of the test of a claim.

    Attributes:
        claim: the claim that was tested.
        difference: mean of better − worse over the seeds, in points; NaN without seeds.
        spread: standard deviation of the difference; NaN with fewer than two seeds.
        seeds: the seeds that both networks have.
        p: of the paired t-test; NaN with fewer than two seeds.
        outcome: "held", "not held" or "inconclusive".
    """

    claim: Claim
    difference: float
    spread: float
    seeds: tuple[int, ...]
    p: float
    outcome: str


Runs = list[tuple[RunConfig | PretrainConfig, dict[str, float]]]
"""Settings and scores of finished runs. The scores include "final_loss", the training loss at the
end, where it is known."""


def finished_runs(results: Path | None = None) -> Runs:
    """All runs that have a result.json under `results` (default: `results_folder()`). A run whose
    settings this version does not know is left out.

    Raises:
        ValueError: a file is damaged or has no scores; the message names it.
        FileNotFoundError: `results` is not given and gcnlab does not run from a checkout.
    """
    runs = []
    for path in sorted((results_folder() if results is None else results).rglob("result.json")):
        record = _read(path)
        try:
            kind = RunConfig if "model" in record["settings"] else PretrainConfig
            config = kind.from_dict(record["settings"])
        except (KeyError, TypeError, ValueError):
            continue  # a stage of a schedule whose data set is not available here
        scores = dict(record["scores"])
        if record.get("final_loss") is not None:  # None for an exported network
            scores["final_loss"] = record["final_loss"]
        runs.append((config, scores))
    return runs


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except ValueError as error:  # not JSON, or not even text
        raise ValueError(f"{path}: damaged, not JSON ({error})") from error
    if not isinstance(record, dict) or "scores" not in record:
        raise ValueError(f"{path}: damaged or not a result file: it has no scores")
    return record


def by_seed(network: Cell | RunConfig | PretrainConfig, runs: Runs) -> dict[int, dict[str, float]]:
    """Scores by seed of the runs that differ from `network` in the seed alone."""
    cell = network if isinstance(network, Cell) else Cell("", network, {})
    wanted: dict[int, RunConfig | PretrainConfig] = {}  # by seed
    found = {}
    for config, scores in runs:
        seed = config.training.seed
        if seed not in wanted:
            wanted[seed] = _without_location(cell.settings(seed))
        if _without_location(config) == wanted[seed]:
            found[seed] = scores
    return found


def _without_location(config: RunConfig | PretrainConfig) -> RunConfig | PretrainConfig:
    """`config` with its weights file reduced to FOLDER/RUN/FILE, as results may have been moved."""
    if isinstance(config, PretrainConfig) or config.model.weights is None:
        return config
    weights = "/".join(Path(config.model.weights).parts[-3:])
    return replace(config, model=replace(config.model, weights=weights))


def judge(claim: Claim, better: dict[int, float], worse: dict[int, float], needed: int) -> Verdict:
    """Test a claim on the scores of its two networks.

    Args:
        claim: the claim to test.
        better, worse: scores of the two networks by seed.
        needed: least number of common seeds for a verdict, at least 2.
    """
    seeds = tuple(sorted(better.keys() & worse.keys()))
    differences = [better[s] - worse[s] for s in seeds]
    mean = statistics.fmean(differences) if seeds else math.nan
    if len(seeds) < 2:
        return Verdict(claim, mean, math.nan, seeds, math.nan, "inconclusive")
    p, spread = _p_value(differences), statistics.stdev(differences)
    outcome = "inconclusive"
    if len(seeds) >= needed and p < LEVEL:
        outcome = "held" if mean > 0 else "not held"
    return Verdict(claim, mean, spread, seeds, p, outcome)


def verdicts(table: PaperTable, runs: Runs) -> list[Verdict]:
    """A verdict on each claim of a table."""
    found = {cell.name: by_seed(cell, runs) for cell in table.cells}

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
    runs: Runs,
    scales: Sequence[Scale] = ("mini", "quick", "large", "camvid", "photos", "photos-tuned"),
) -> list[list[str]]:
    """All orderings of Tables 1 to 6 that were tested at one of the scales.

    Returns:
        A header and one row per ordering, with the paper's lead and our verdict and lead at each
        scale; "–" where the networks were not trained.
    """
    rows: dict[tuple[int, str, str], list[str]] = {}
    for column, scale in enumerate(scales):
        for number in (n for n in SCALES[scale].tables if n != "levels"):
            table = paper_table(number, scale)
            for verdict in filter(lambda v: v.seeds, verdicts(table, runs)):
                claim = verdict.claim
                key = number, str(claim), SCORES[claim.score]
                lead = f"{table.published_lead(claim):+.1f}"
                row = rows.setdefault(key, [*map(str, key), lead, *["–"] * len(scales)])
                row[4 + column] = f"{verdict.outcome} {format_lead(verdict)}"
    header = ["table", "ordering", "score", "paper", *(SCALES[scale].images for scale in scales)]
    return [header, *(rows[key] for key in sorted(rows, key=lambda key: key[0]))]


def paper_and_ours(
    table: PaperTable, runs: Runs, score: str
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """One score of all networks that have it: the paper's, and ours of every seed; by network."""
    cells = [cell for cell in table.cells if score in cell.paper]
    ours = {cell.name: by_seed(cell, runs).values() for cell in cells}
    return (
        {cell.name: cell.paper[score] for cell in cells},
        {name: [scores[score] for scores in found] for name, found in ours.items()},
    )


def table_cells(table: PaperTable, runs: Runs) -> list[list[str]]:
    """Format a table with paper and ours in adjacent columns: a header and one row per network."""
    counted = any(cell.weights is not None for cell in table.cells)
    header = ["network", *(["weights"] if counted else [])]
    for score in table.scores:
        header += [f"paper {SCORES[score]}", f"our {SCORES[score]}"]
    shown = [[*header, "seeds"]]
    for cell in table.cells:
        found = by_seed(cell, runs)
        row = [cell.name]
        if counted:
            row.append("–" if cell.weights is None else f"{cell.weights:,}")
        for score in table.scores:
            row.append(_published(cell.paper.get(score)))
            ours = mean_and_spread([values[score] for values in found.values() if score in values])
            row.append(ours if score in cell.paper else "")
        shown.append([*row, str(len(found))])
    return shown


def _published(value: float | None) -> str:
    """A published score as text: "–" if the paper does not give it, "" for a score that the
    network does not have."""
    if value is None:
        return ""
    return "–" if math.isnan(value) else f"{value:.1f}"


def aligned(cells: list[list[str]]) -> str:
    """Rows of text as aligned columns, the first one flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in cells
    ]
    return "\n".join(lines)


def sentence(verdict: Verdict) -> str:
    """A claim and its verdict in one line."""
    claim = verdict.claim
    words = f"{SCORES[claim.score]}: {claim}"
    if not verdict.seeds:
        return f"{words:48} inconclusive, not run"
    numbers = format_lead(verdict)
    if len(verdict.seeds) > 1:
        numbers += f", p {p_value(verdict.p)}"
    return f"{words:48} {verdict.outcome:12} {numbers} ({_seeds(len(verdict.seeds))})"


def format_lead(verdict: Verdict) -> str:
    """The lead as text: "+11.5 ± 3.7" (the spread from two seeds on), "–" without seeds."""
    if not verdict.seeds:
        return "–"
    spread = f" ± {verdict.spread:.1f}" if len(verdict.seeds) > 1 else ""
    return f"{verdict.difference:+.1f}{spread}"


def p_value(p: float) -> str:
    """A p-value as text to follow "p": "= 0.012" or "< 0.001"."""
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def prediction_interval(values: list[float], level: float = 0.99) -> tuple[float, float]:
    """Interval that contains the score of one more run with probability `level`, if scores are
    normally distributed: mean ± t·s·√(1 + 1/n), with Student's t of n − 1 degrees of freedom.

    Raises:
        ValueError: there are fewer than three values, too few to estimate the spread.
    """
    from scipy.stats import t

    n = len(values)
    if n < 3:
        raise ValueError(f"{n} finished seeds: the spread needs at least 3")
    reach = t.ppf((1 + level) / 2, n - 1) * statistics.stdev(values) * math.sqrt(1 + 1 / n)
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach


def mean_and_spread(values: list[float]) -> str:
    """Mean and standard deviation as text: "70.4 ± 3.2"; "70.4" for one value, "–" for none."""
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def _p_value(differences: list[float]) -> float:
    """Two-sided p-value of a mean difference of 0; if all are equal: 0, or 1 if all are 0."""
    from scipy.stats import ttest_1samp

    if statistics.pstdev(differences) == 0:
        return 0.0 if differences[0] else 1.0
    return float(ttest_1samp(differences, 0).pvalue)
