"""environment.yml (conda) and pyproject.toml (pip) ask for the same packages."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
PIP_ONLY = {"pydensecrf2", "cityscapesscripts"}
"""Left to pip in the conda environment too: not looked for on conda-forge."""


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
    by_pip = [item for item in wanted if item.split(">")[0] in PIP_ONLY]
    by_conda = [item for item in wanted if item not in by_pip]
    assert sorted(item for item in found if isinstance(item, str)) == sorted(by_conda)
    (rest,) = (item["pip"] for item in found if isinstance(item, dict))
    assert sorted(rest) == sorted(["--editable .", *by_pip])
