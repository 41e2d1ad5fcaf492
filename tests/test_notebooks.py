"""The committed notebooks: every picture in them has a text for those who do not see it; how long they take."""

import json
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from gcnlab.experiments.report import aligned, finished_runs, sentence, table_cells, verdicts
from gcnlab.experiments.tables import paper_table

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
MARKDOWN_IMAGE = re.compile(r"!\[\s*\]")


class Pictures(HTMLParser):
    """The texts of the pictures in a piece of HTML; None where there is none."""

    def __init__(self, html):
        super().__init__()
        self.texts = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.texts.append(dict(attributes).get("alt"))


def without_text(notebook):
    """Numbers of the cells in which a picture has no text."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            texts = Pictures(cell.source).texts
            bare = MARKDOWN_IMAGE.search(cell.source) is not None
        else:
            bundles = [output.get("data", {}) for output in cell.get("outputs", [])]
            texts = [t for data in bundles for t in Pictures(data.get("text/html", "")).texts]
            # Jupyter gives a plain picture no text.
            bare = any(kind.startswith("image/") for data in bundles for kind in data)
        if bare or not all(text and text.strip() for text in texts):
            found.append(number)
    return found


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_picture_has_a_text(path):
    assert without_text(nbformat.read(path, as_version=4)) == []


def test_a_picture_without_a_text_is_found():
    v4 = nbformat.v4

    def shows(**data):
        return v4.new_code_cell(outputs=[v4.new_output("display_data", data)])

    good = [
        shows(**{"text/html": '<img alt="a line" src="x">'}),
        v4.new_markdown_cell("![a line](x.png)"),
        shows(**{"text/plain": "1"}),
    ]
    bad = [
        shows(**{"image/png": "x"}),
        shows(**{"text/html": '<img src="x">'}),
        shows(**{"text/html": '<p><img alt=" " src="x"></p>'}),
        v4.new_markdown_cell("![](x.png)"),
        v4.new_markdown_cell('<img src="x.png">'),
    ]
    assert without_text(v4.new_notebook(cells=good + bad)) == [3, 4, 5, 6, 7]


def test_reports_of_several_runs_become_seconds_by_notebook(tmp_path, capsys):
    cell = '<testcase classname="notebooks.{}.ipynb" name="Cell 0" time="{}"><failure/></testcase>'
    for run, (failures, seconds) in enumerate([(0, (1, 2, 4)), (1, (3, 2, 6))]):
        names = ("00_first", "00_first", "exercises.01_second")
        cases = "".join(map(cell.format, names, seconds))
        (tmp_path / f"{run}.xml").write_text(
            f'<testsuites><testsuite errors="0" failures="{failures}" tests="3" time="{5 + run}">'
            f"{cases}</testsuite></testsuites>"
        )
    main = runpy.run_path(str(NOTEBOOKS / "timings.py"))["main"]
    main(tmp_path, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["wall"] == [5.0, 6.0]
    assert found["cells"] == [3, 3]
    assert found["failed"] == [0, 1]
    assert found["notebooks"] == {"00_first": [3.0, 5.0], "exercises/01_second": [4.0, 6.0]}
    assert "2 runs of 5 to 6 s, 1 failures" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no reports"):
        main(tmp_path / "nowhere", tmp_path / "out.json")


@pytest.mark.parametrize(
    ("notebook", "number", "scale"),
    [
        ("05_boundary_and_interior", 5, "mini"),
        ("05_boundary_and_interior", 5, "camvid"),
        *(("06_large_kernels", number, "mini") for number in (1, 2, 3, 4, 6)),
        ("06_large_kernels", 1, "quick"),
        ("06_large_kernels", 1, "large"),
    ],
)
def test_the_committed_tables_are_those_of_the_committed_results(notebook, number, scale):
    """nbval compares no cell that draws."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    shown = "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    table, runs = paper_table(number, scale), finished_runs()
    assert aligned(table_cells(table, runs)) in shown
    for verdict in verdicts(table, runs):
        assert sentence(verdict) in shown
