"""Build the site: python docs/build.py build/site

Copies the README, notebooks and pages into one folder, adds a page with the paper's tables beside
ours, and calls Sphinx. Every warning, such as a broken link between pages, is an error.
"""

import math
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx
from tables import markdown  # docs/tables.py

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
"""Titles of the tables that need the data sets and a GPU."""
INTRODUCTION = """The tables as `gcnlab table N` prints them, made from `data/paper` and `data/results` when this page was built. The
paper's networks are a ResNet-152 on PASCAL VOC, ours small networks on Shapes and CamVid: compare the rankings, not the absolute
scores. Ours are means ± standard deviations over seeds. A claim *held* or did *not hold* if a paired *t*-test over the seeds says
so at 5 %, with the number of seeds that the table asks for; otherwise it is *inconclusive*."""


def main(site: Path) -> int:
    """Build the site and return Sphinx's exit status."""
    sources = site.with_name(f"{site.name}-sources")
    shutil.rmtree(sources, ignore_errors=True)
    lay_out(sources)
    (sources / "docs/paper_tables.md").write_text(paper_tables(finished_runs()))
    options = ["-b", "html", "-q", "-W", "--keep-going", "-c", ROOT / "docs"]
    return sphinx(list(map(str, [*options, sources, site])))


def lay_out(sources: Path) -> None:
    """Copy everything that the site shows, with the paths of the repository."""
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


def paper_tables(runs: Runs) -> str:
    """The page of the paper's tables, in Markdown."""
    parts = ["# The paper's tables beside ours", INTRODUCTION]
    parts += [f"## Every ordering\n\n{markdown(orderings(runs))}"]
    for number in SCALES["mini"].tables:
        parts.append(f"## Table {number}: {paper_table(number).title}")
        scales = [scale for scale in SCALES if number in SCALES[scale].tables]
        parts += [words for scale in scales if (words := measured(number, scale, runs))]
    for number, title in ONLY_PUBLISHED.items():
        lines = published_table(number)
        cells = [list(lines[0]), *(list(line.values()) for line in lines)]
        parts.append(
            f"## Table {number}: {title}\n\nThe paper's figures; not run here.\n\n{markdown(cells)}"
        )
    return "\n\n".join(parts) + "\n"


def measured(number: int | str, scale: Scale, runs: Runs) -> str:
    """A table at one scale, in Markdown; "" if none of its orderings was tested."""
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


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    if status := main(target):
        sys.exit(status)
    print(f"See {target / 'index.html'}")
