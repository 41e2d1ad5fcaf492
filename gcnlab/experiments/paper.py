"""The paper's published figures, from `data/paper/tableN.csv`."""

import csv
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The checkout: published figures and results lie beside the package, not in it."""


def published(number: int) -> list[dict[str, str]]:
    """The rows of Table `number`, as they are printed in the paper.

    Raises:
        FileNotFoundError: there is no such file; the package is not run from a checkout.
    """
    path = ROOT / "data" / "paper" / f"table{number}.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: the published figures lie in the repository's data/paper"
        )
    with open(path) as file:
        return list(csv.DictReader(file))
