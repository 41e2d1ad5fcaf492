"""Build the site: python docs/build.py build/site

Lays README, notebooks and pages out in one folder as they lie in the repository, adds a page with the paper's tables beside ours,
and calls Sphinx; every warning, a broken link between pages too, is an error.
"""

import math
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from gcnlab.experiments.paper import published_table
from gcnlab.experiments.report import (
    Runs,
    Verdict,
    finished_runs,
    format_lead,
    orderings,
    p_value,
    table_cells,
    verdicts,
)
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import SCORES, paper_table

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")
ONLY_PUBLISHED = {
    7: "PASCAL VOC, stage by stage (mean IoU %)",
    9: "Cityscapes, stage by stage (mean IoU %)",
}
"""Tables that take the data sets and a GPU: titles."""
INTRODUCTION = """Made from `data/paper` and `data/results` when this page was built, as `gcnlab table N` prints them. The paper's networks are
ResNet-152 on PASCAL VOC, ours small ones on Shapes and CamVid: compare orders, not heights. Ours are means ± standard deviations over seeds; a claim *held* or
*not held* if a paired t-test over the seeds says so at 5 %, with the number of seeds that the table asks for."""


def main(site: Path) -> int:
    """Build it; the exit status."""
    sources = site.with_name(f"{site.name}-sources")
    shutil.rmtree(sources, ignore_errors=True)
    lay_out(sources)
    (sources / "docs/tables.md").write_text(tables(finished_runs()))
    options = ["-b", "html", "-q", "-W", "--keep-going", "-c", ROOT / "docs"]
    return sphinx(list(map(str, [*options, sources, site])))


def lay_out(sources: Path) -> None:
    for page in PAGES:
        (sources / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, sources / page)
    for notebook in (ROOT / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in notebook.parts:
            target = sources / notebook.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(notebook, target)
    shutil.copytree(ROOT / "docs", sources / "docs", ignore=shutil.ignore_patterns("*.py"))
    (sources / "docs/index.md").rename(sources / "index.md")


def tables(runs: Runs) -> str:
    """The page of tables, in Markdown."""
    parts = ["# The paper's tables beside ours", INTRODUCTION]
    parts += [f"## Every ordering\n\n{markdown(orderings(runs))}"]
    for number in range(1, 7):
        parts.append(f"## Table {number}: {paper_table(number).title}")
        parts += [words for scale in SCALES if (words := measured(number, scale, runs))]
    for number, title in ONLY_PUBLISHED.items():
        lines = published_table(number)
        cells = [list(lines[0]), *(list(line.values()) for line in lines)]
        parts.append(
            f"## Table {number}: {title}\n\nThe paper's; not run here.\n\n{markdown(cells)}"
        )
    return "\n\n".join(parts) + "\n"


def measured(number: int, scale: Scale, runs: Runs) -> str:
    """A table at one scale; nothing where none of its orderings was run."""
    table = paper_table(number, scale)
    found = verdicts(table, runs)
    if not any(verdict.seeds for verdict in found):
        return ""
    claims = [["claim", "score", "outcome", "difference", "p", "seeds"], *map(claim_cells, found)]
    cells = markdown(table_cells(table, runs))
    return f"### {SCALES[scale].images} (Table {number})\n\n{cells}\n\n{markdown(claims)}"


def claim_cells(verdict: Verdict) -> list[str]:
    return [
        str(verdict.claim),
        SCORES[verdict.claim.score],
        verdict.outcome if verdict.seeds else "not run",
        format_lead(verdict),
        "" if math.isnan(verdict.p) else p_value(verdict.p).removeprefix("= "),
        str(len(verdict.seeds)),
    ]


def markdown(cells: list[list[str]]) -> str:
    """A table of rows; the first one is its head. A number and its spread stay in one line."""
    lines = [
        "| " + " | ".join(cell.replace(" ± ", "\u00a0±\u00a0") or "–" for cell in row) + " |"
        for row in cells
    ]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    if status := main(target):
        sys.exit(status)
    print(f"See {target / 'index.html'}")
