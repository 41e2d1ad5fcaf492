"""Build the site: python docs/build.py build/site

Lays README, notebooks and pages out in one folder as they lie in the repository, adds a page with the paper's tables beside ours
and the notebooks' times, and calls Sphinx; every warning, a broken link between pages too, is an error.
"""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from gcnlab.experiments.paper import published
from gcnlab.experiments.report import Runs, finished_runs, sentence, table_cells, verdicts
from gcnlab.experiments.tables import PaperTable, paper_table

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")
ONLY_PUBLISHED = {
    7: "PASCAL VOC, stage by stage (mean IoU %)",
    9: "Cityscapes, stage by stage (mean IoU %)",
}
"""Tables that take the data sets and a GPU: titles."""


def main(site: Path) -> None:
    sources = site.with_name(f"{site.name}-sources")
    shutil.rmtree(sources, ignore_errors=True)
    lay_out(sources)
    (sources / "docs/tables.md").write_text(tables(finished_runs()))
    with open(sources / "docs/instructor.md", "a") as guide:
        guide.write(timings(sources / "notebooks"))
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    done = subprocess.run([*command, "-c", ROOT / "docs", sources, site])
    if done.returncode:
        sys.exit(done.returncode)
    print(f"See {site / 'index.html'}")


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
    parts += [measured(paper_table(number), runs) for number in range(1, 7)]
    for number, title in ONLY_PUBLISHED.items():
        lines = published(number)
        cells = [list(lines[0]), *(list(line.values()) for line in lines)]
        parts.append(
            f"## Table {number}: {title}\n\nThe paper's; not run here.\n\n{markdown(cells)}"
        )
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """Made from `data/paper` and `data/results` when this page was built, as `gcnlab table N` prints them. The paper's networks are
ResNet-152 on PASCAL VOC, ours small ones on Shapes: compare orders, not heights. Ours are means ± standard deviations over seeds; a claim *held* or
*not held* if a paired t-test over the seeds says so at 5 %, with the number of seeds that the table asks for."""


def measured(table: PaperTable, runs: Runs) -> str:
    claims = "\n".join(sentence(verdict) for verdict in verdicts(table, runs))
    cells = markdown(table_cells(table, runs))
    return f"## Table {table.number}: {table.title}\n\n{cells}\n\n```text\n{claims}\n```"


def timings(notebooks: Path) -> str:
    """A section: how long each notebook took when its outputs were made, of those that say so."""
    cells = [["notebook", "cells took"]]
    for path in sorted(notebooks.rglob("*.ipynb")):
        seconds = sum(map(duration, json.loads(path.read_text())["cells"]))
        cells.append([f"`{path.relative_to(notebooks)}`", f"{seconds:.0f} s" if seconds else "–"])
    title = "## Appendix: time in the cells"
    return f"\n{title}\n\nRead off the committed notebooks when this page was built.\n\n{markdown(cells)}\n"


def duration(cell: dict) -> float:
    """Seconds that a cell took, 0 if it does not say."""
    times = cell["metadata"].get("execution", {})
    if "shell.execute_reply" not in times:
        return 0.0
    start, end = (
        datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply")
    )
    return (end - start).total_seconds()


def markdown(cells: list[list[str]]) -> str:
    """A table of rows; the first one is its head."""
    lines = ["| " + " | ".join(cell or "–" for cell in row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
