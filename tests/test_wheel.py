"""The wheel, unpacked elsewhere: its networks and tables travel in it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the content of the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_no_benchmarks_and_no_tests(site):
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"gcnlab"}


def test_the_networks_load_from_the_wheel(site, tmp_path):
    code = """
import gcnlab
from gcnlab.datasets import cat_photograph
from gcnlab.pretrained import data_folder
print(gcnlab.__file__)
print(data_folder("paper"), *gcnlab.pretrained_networks())
print(*sorted(path.name for path in data_folder("voc_animals").iterdir()))
print(int(cat_photograph()[1].sum()))
print(gcnlab.load("gcn7-seed0").labels.names[1])
"""
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    file, data, lists, cat, label = done.stdout.splitlines()
    assert Path(file) == site / "gcnlab" / "__init__.py"
    folder, *networks = data.split()
    assert Path(folder) == site / "gcnlab" / "_data" / "paper"
    expected = sorted(path.name for path in (ROOT / "data" / "checkpoints").iterdir())
    assert networks == expected
    assert lists == "train.txt val.txt"
    assert int(cat) > 80_000
    assert label == "disc"
