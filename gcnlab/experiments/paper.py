"""The paper's published figures, and the folder of our own results."""

import csv
from pathlib import Path

from gcnlab.pretrained import data_folder


def published_table(number: int) -> list[dict[str, str]]:
    """The rows of Table `number` as printed in the paper: column name → text.

    Raises:
        FileNotFoundError: the figures of this table are not part of the package.
    """
    path = data_folder("paper") / f"table{number}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: Table {number} is not part of gcnlab")
    with open(path) as file:
        return list(csv.DictReader(file))


def results_folder() -> Path:
    """data/results of the checkout, where the committed results are.

    Raises:
        FileNotFoundError: gcnlab does not run from a checkout; the wheel has no results.
    """
    folder = Path(__file__).parent.parent.parent / "data" / "results"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: the results are in the repository, not in the installed "
            "package; run from a checkout (pip install -e .) or name a folder with --results"
        )
    return folder
