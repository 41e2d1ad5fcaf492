"""The committed notebooks: alternative texts of pictures, compared outputs, imports, running times."""

import ast
import json
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import get_sanitize_patterns

from gcnlab.experiments.report import aligned, finished_runs, sentence, table_cells, verdicts
from gcnlab.experiments.tables import paper_table

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
ALL = sorted(NOTEBOOKS.rglob("*.ipynb"))
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
MARKDOWN_IMAGE = re.compile(r"!\[\s*\]")


class Pictures(HTMLParser):
    """The alternative texts of the pictures in a piece of HTML; None for a picture without one."""

    def __init__(self, html):
        super().__init__()
        self.texts = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.texts.append(dict(attributes).get("alt"))


def without_text(notebook):
    """Numbers of the cells with a picture that has no alternative text."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            texts = Pictures(cell.source).texts
            bare = MARKDOWN_IMAGE.search(cell.source) is not None
        else:
            bundles = [output.get("data", {}) for output in cell.get("outputs", [])]
            texts = [t for data in bundles for t in Pictures(data.get("text/html", "")).texts]
            # Jupyter does not give plain pictures an alternative text.
            bare = any(kind.startswith("image/") for data in bundles for kind in data)
        if bare or not all(text and text.strip() for text in texts):
            found.append(number)
    return found


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_picture_has_an_alternative_text(path):
    assert without_text(nbformat.read(path, as_version=4)) == []


def test_a_picture_without_an_alternative_text_is_found():
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


def deep_imports(notebook):
    """Modules of gcnlab below its subpackages that a notebook imports from, also in shown examples."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            code += PYTHON_BLOCK.findall(cell.source)
    nodes = [node for source in code for node in ast.walk(ast.parse(source))]
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    ]
    return [name for name in modules if name.startswith("gcnlab.") and name.count(".") > 1]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_notebooks_import_from_the_package_or_a_subpackage(path):
    notebook = nbformat.read(path, as_version=4)
    assert deep_imports(notebook) == []
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert not [source for source in code if "data/" in source], (
        "use a function that finds the data"
    )


def test_a_deep_import_is_found():
    v4 = nbformat.v4
    cells = [
        v4.new_code_cell("import gcnlab\nfrom gcnlab.models import make_head"),
        v4.new_code_cell("def f():\n    from gcnlab.models.heads import make_head"),
        v4.new_code_cell("import torch.nn.functional, gcnlab.models.heads"),
        v4.new_markdown_cell("```python\nfrom gcnlab.datasets.shapes import Shapes\n```"),
    ]
    found = deep_imports(v4.new_notebook(cells=cells))
    assert sorted(found) == ["gcnlab.datasets.shapes", "gcnlab.models.heads", "gcnlab.models.heads"]


def not_compared(notebook):
    """Numbers of the cells with output that is neither compared nor excluded with a reason."""
    found = []
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        compared = "nbval-check-output" in tags
        reason = cell.metadata.get("not_compared", "").strip()
        excluded = "nbval-ignore-output" in tags and reason
        if cell.get("outputs") and (not compared or "nbval-ignore-output" in tags) and not excluded:
            found.append(number)
    return found


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_output_is_compared_or_says_why_not(path):
    assert not_compared(nbformat.read(path, as_version=4)) == []


def test_an_output_that_is_not_compared_is_found():
    v4 = nbformat.v4

    def cell(*tags, **metadata):
        return v4.new_code_cell(
            outputs=[v4.new_output("stream", text="1")], metadata={"tags": list(tags)} | metadata
        )

    check, ignore = "nbval-check-output", "nbval-ignore-output"
    cells = [
        cell(check),
        cell(ignore, not_compared="times depend on the machine"),
        v4.new_code_cell(),
        cell(),
        cell(ignore),
        cell(ignore, not_compared=" "),
        cell(check, ignore),
    ]
    assert not_compared(v4.new_notebook(cells=cells)) == [3, 4, 5, 6]


def test_comparisons_ignore_the_pixels_of_a_picture_and_nothing_else():
    def sanitized(text):
        for pattern, replacement in get_sanitize_patterns((NOTEBOOKS / "nbval.cfg").read_text()):
            text = re.sub(pattern, replacement, text)
        return text

    picture = '<img alt="a line" src="data:image/png;base64,{}">'
    assert sanitized(picture.format("AAA=")) == sanitized(picture.format("iVBO/w+="))
    assert "a line" in sanitized(picture.format("AAA="))
    assert sanitized("train:   0%|  | 0/120 [00:00<?, ?step/s]") == "train:   progress bar"
    table = "gcn7 | 70.2 ± 3.0 | 40 % of 12\nmIoU 59.6 %, boundary 67.3 %"
    assert sanitized(table) == table


def test_timings_summarises_reports_by_notebook(tmp_path, capsys):
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
        *(("09_photographs", number, "photos") for number in (1, 5)),
    ],
)
def test_the_committed_tables_are_those_of_the_committed_results(notebook, number, scale):
    """Without executing the notebook, so that a changed result is found at once."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    shown = "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    table, runs = paper_table(number, scale), finished_runs()
    assert aligned(table_cells(table, runs)) in shown
    for verdict in verdicts(table, runs):
        assert sentence(verdict) in shown
