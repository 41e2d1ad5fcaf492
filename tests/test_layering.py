"""Dependencies run one way, and `import gcnlab` stays light."""

import ast
from pathlib import Path

import pytest

from tests.python import run_python

PACKAGE = Path(__file__).parent.parent / "gcnlab"

# What each part may import. A file not named stands for its folder.
MAY_IMPORT = {
    "allocator": set(),
    "lazy": set(),
    "pretrained": {"arguments"},
    "annotations": set(),
    "arguments": {"annotations"},
    "loading": {"annotations", "arguments"},
    "provenance": set(),
    "settings": {"arguments"},
    "devices": {"arguments"},
    "distributed": {"annotations"},
    "exercises": set(),
    "images": {"annotations"},
    "models": {"pretrained", "lazy", "annotations", "arguments", "images"},
    "datasets": {"pretrained", "lazy", "annotations", "arguments"},
    "evaluation": {"lazy", "distributed", "images", "allocator", "annotations", "arguments", "loading", "settings", "datasets", "models"},
    "geometry": set(),
    "receptive": {"lazy", "devices", "images", "annotations", "arguments", "geometry", "models"},
    "training": {"pretrained", "lazy", "devices", "distributed", "plots.training", "images", "allocator", "annotations", "arguments", "loading", "provenance", "settings", "datasets", "models", "evaluation"},
    "experiments": {"lazy", "pretrained", "devices", "allocator", "annotations", "arguments", "provenance", "geometry", "models", "datasets", "evaluation", "receptive", "training"},
    "plots": {"lazy", "annotations", "datasets.labels", "receptive.atlas_maps", "receptive.regions", "experiments", "plots"},
    "widgets": {"lazy", "annotations", "arguments", "datasets", "models", "receptive", "training", "plots"},
    "cli": {"pretrained", "distributed", "annotations", "arguments", "provenance", "models", "datasets", "evaluation", "receptive", "training", "experiments", "plots"},
}  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gcnlab."):
            yield node.module.removeprefix("gcnlab.")
        elif isinstance(node, ast.Import):
            for name in node.names:
                assert not name.name.startswith("gcnlab"), f"{path}: from gcnlab… import …, please"


@pytest.mark.parametrize("folder", ["gcnlab", "notebooks", "docs"])
def test_only_tests_and_benchmarks_import_benchmarks(folder):
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "benchmarks" for name in names), path


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_run_one_way(path):
    part = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if part == "__init__":
        assert list(imports(path)) == ["lazy"]
        return
    allowed = MAY_IMPORT[part] | {part}
    for module in imports(path):
        assert any(module == a or module.startswith(f"{a}.") for a in allowed), f"imports {module}"


@pytest.mark.slow
def test_training_runs_on_a_bare_gpu_image():
    """Without any of the packages that such an image lacks."""
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"jaxtyping", "safetensors", "scipy", "tyro", "rich", "matplotlib",
                                  "seaborn", "captum", "IPython", "ipywidgets", "jupyterlab"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from gcnlab.training import *
from gcnlab.receptive import *
from gcnlab.evaluation import *
config = RunConfig(ModelConfig(kernel_size=3), DataConfig(image_size=32, train_images=2),
                   TrainingConfig(epochs=1, batch_size=2))
train(config, device="cpu")
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_import_gcnlab_imports_no_library():
    heavy = "{'torch', 'matplotlib', 'captum', 'scipy'}"
    done = run_python(f"import sys, gcnlab; print(sorted({heavy} & sys.modules.keys()))")
    assert done.stdout.strip() == "[]", done.stderr
