"""Summarise how long the notebooks take as tests, from the reports of several pytest runs.

`make timings` runs all notebooks ten times and then calls

    python notebooks/timings.py build/timings data/results/notebooks.json
"""

import statistics
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from gcnlab.provenance import provenance, write_json


def main(reports: Path, out: Path) -> None:
    suites = [ElementTree.parse(path).find("testsuite") for path in sorted(reports.glob("*.xml"))]
    if not suites:
        raise SystemExit(f"{reports}: no reports (*.xml) of pytest; run make timings")
    walls = [float(suite.get("time")) for suite in suites]
    runs = [seconds_by_notebook(suite) for suite in suites]
    record = {
        "what": "all notebooks as tests (nbval), two at a time with one thread each; seconds of each run",
        "cells": [int(suite.get("tests")) for suite in suites],
        "failed": [int(suite.get("failures")) + int(suite.get("errors")) for suite in suites],
        "wall": walls,
        "notebooks": {name: [run[name] for run in runs] for name in sorted(runs[0])},
        "provenance": provenance(
            seeds=[], dataset="Shapes", split="none", device="cpu", seconds=sum(walls)
        ),
    }
    write_json(record, out)
    print(
        f"{len(walls)} runs of {min(walls):.0f} to {max(walls):.0f} s, {sum(record['failed'])} failures"
    )
    for name, seconds in record["notebooks"].items():
        print(f"{name:40} {statistics.median(seconds):4.0f} s")


def seconds_by_notebook(suite: ElementTree.Element) -> dict[str, float]:
    """Seconds of each notebook, with the start of its kernel; names without ".ipynb"."""
    seconds = Counter()
    for case in suite.iter("testcase"):
        name = case.get("classname").removeprefix("notebooks.").removesuffix(".ipynb")
        seconds[name.replace(".", "/")] += float(case.get("time"))
    return {name: round(total, 1) for name, total in seconds.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
