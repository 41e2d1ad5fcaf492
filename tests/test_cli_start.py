"""The command line starts at once: `--help` does not import PyTorch."""

import importlib

import pytest

from gcnlab import __version__
from gcnlab.cli import COMMANDS, parse
from tests.python import run_python

pytestmark = pytest.mark.slow

SLOW = {"torch", "torchvision", "matplotlib", "scipy"}


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_no_slow_library(arguments):
    code = f"""
import sys
from gcnlab.cli import parse
try:
    parse({arguments})
except SystemExit as end:
    assert end.code == 0
print("slow:", sorted({SLOW} & sys.modules.keys()))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert "usage: gcnlab" in done.stdout
    assert done.stdout.splitlines()[-1] == "slow: []"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_names_its_class(name):
    kind, summary = COMMANDS[name]
    assert getattr(importlib.import_module(f"gcnlab.cli.{name}"), kind).__doc__
    assert summary.endswith(".")


def test_without_a_command_help_is_shown(capsys):
    with pytest.raises(SystemExit) as end:
        parse([])
    assert end.value.code == 2
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"gcnlab {__version__}\n"


def test_an_unknown_command_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"unknown command 'trian'; did you mean train\?"):
        parse(["trian"])
    with pytest.raises(ValueError, match=r"the commands are train, schedule"):
        parse(["frobnicate"])
