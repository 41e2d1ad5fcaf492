"""environment.yml (conda) and pyproject.toml (pip) ask for the same packages."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def test_environment_yml_agrees_with_pyproject_toml():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += [item for item in extra if not item.startswith("gcnlab")]
    for pip, conda in CONDA_NAMES.items():
        wanted = [
            item.replace(pip, conda, 1) if item.split(">")[0] == pip else item for item in wanted
        ]
    wanted += [f"python{project['requires-python']}", "pip"]
    found = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert sorted(item for item in found if isinstance(item, str)) == sorted(wanted)
