"""The public names: few, imported when used, and each one there."""

import ast
import importlib
import json
from pathlib import Path

import pytest

import gcnlab
from tests.python import run_python

PACKAGE = Path(gcnlab.__file__).parent
LAZY = ["gcnlab", *(f"gcnlab.{p.parent.name}" for p in sorted(PACKAGE.glob("*/__init__.pyi")))]


def test_the_face_is_small():
    assert len(gcnlab.__all__) <= 25


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


@pytest.mark.parametrize("package", LAZY)
def test_the_stub_lists_what_it_imports(package):
    """Editors read `__all__` of the stub; the package makes its own from the imports."""
    module = importlib.import_module(package)
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    (names,) = [
        ast.literal_eval(node.value)
        for node in stub.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    assert sorted(names) == module.__all__


@pytest.mark.parametrize("package", LAZY)
def test_no_name_hides_a_module(package):
    module = importlib.import_module(package)
    modules = {path.stem for path in Path(module.__file__).parent.iterdir()}
    assert not modules & set(module.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'gcnlab' has no attribute 'laod'"):
        getattr(gcnlab, "laod")  # noqa: B009


def test_importing_the_packages_imports_no_library():
    code = f"""
import importlib, json, sys
for name in {LAZY}:
    importlib.import_module(name)
print(json.dumps(sorted({{"torch", "torchvision", "matplotlib", "scipy", "PIL"}} & sys.modules.keys())))
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
