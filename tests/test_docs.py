"""The README's example runs as pasted; all commands in README, docs, notebooks and --help parse."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest

from gcnlab.cli import COMMANDS, parse

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))


def markdown_of(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    return "\n".join("".join(cell["source"]) + "\n" for cell in cells)


def commands(text):
    """Each `gcnlab COMMAND …` in blocks (complete) and in code spans (perhaps not) of a page."""
    text = text.replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if match := re.match(r"(?:    |!)\s*(?:torchrun .*?)?gcnlab (?=\w)(.+)", line):
            found.append((match[1], True))
    found += [(span, False) for span in re.findall(r"`gcnlab (?=\w)([^`]+)`", text)]
    return [
        (shlex.split(part), complete)
        for command, complete in found
        for part in re.sub(r"\s+#.*", "", command).split("; gcnlab ")
    ]


def docstrings():
    """The examples in the help texts of all commands."""
    for module in COMMANDS:
        path = ROOT / "gcnlab/cli" / f"{module}.py"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and ast.get_docstring(node):
                yield pytest.param(ast.get_docstring(node), id=f"{module}.{node.name}")


TEXTS = [
    *(pytest.param(page.read_text(), id=page.name) for page in PAGES),
    *(pytest.param(markdown_of(path), id=path.stem) for path in NOTEBOOKS),
    *docstrings(),
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_command_parses(text, capsys):
    for arguments, complete in commands(text):
        arguments = [{"N": "1", "NAME": "voc", "COMMAND": "train"}.get(a, a) for a in arguments]
        if complete or "--help" not in arguments:
            try:
                parse(arguments)
            except SystemExit:
                printed = "".join(capsys.readouterr())
                # A code span may leave out what a command needs, but may not name what it does not have.
                assert not complete, f"gcnlab {shlex.join(arguments)}\n{printed}"
                wrong = re.search("Unrecognized|[Ii]nvalid", printed)
                assert not wrong, f"gcnlab {shlex.join(arguments)}\n{printed}"


def test_commands_are_found():
    text = "Use `gcnlab table 1`.\n\n    torchrun --x \\\n        gcnlab train quick --out a  # b\n"
    assert commands(text) == [(["train", "quick", "--out", "a"], True), (["table", "1"], False)]
    assert len([c for page in PAGES for c in commands(page.read_text())]) > 30


def test_the_readmes_example_runs_as_pasted(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    shown = re.findall(r"^    (\S+): (\d+)% of the pixels right, .* (\d+)%", text, re.M)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    printed = re.findall(r"(\S+): (\d+)% of the pixels right, .* (\d+)%", capsys.readouterr().out)
    assert len(shown) == 2
    for (name, *numbers), (found_name, *found) in zip(shown, printed, strict=True):
        assert found_name == name
        assert [int(n) for n in found] == pytest.approx([int(n) for n in numbers], abs=1)


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    prose = [line for line in lines if not line.startswith(("|", "    "))]
    assert max(map(len, prose)) <= 100
