"""Output that several commands share: tables of scores, and the paths of results."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcnlab.evaluation import Scores


def print_scores(table: dict[str, "Scores"]) -> None:
    """Print a table of scores in percent: a row per score, a column per network."""
    from rich.console import Console
    from rich.table import Table

    first = next(iter(table.values()))
    view = Table(
        title=f"{first.images} images, boundary = {first.rule.distance:g} px {first.rule.norm}"
    )
    view.add_column("%")
    for name in table:
        view.add_column(name, justify="right")
    for row in ("miou", "accuracy", "boundary_accuracy", "internal_accuracy"):
        view.add_row(row.replace("_", " "), *(f"{getattr(s, row):.1f}" for s in table.values()))
    view.add_section()
    for name in first.iou:
        view.add_row(
            f"IoU {name}", *(f"{s.iou.get(name, float('nan')):.1f}" for s in table.values())
        )
    if first.boundary_iou is not None:
        view.add_section()
        view.add_row("mean boundary IoU", *(f"{s.mean_boundary_iou:.1f}" for s in table.values()))
        for name in first.boundary_iou:
            cells = (
                f"{(s.boundary_iou or {}).get(name, float('nan')):.1f}" for s in table.values()
            )
            view.add_row(f"boundary IoU {name}", *cells)
    Console().print(view)


def write_class_table(scores: "Scores", path: Path) -> None:
    """Write a CSV file with a row per class, scores in percent; empty where nothing was scored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["class", "iou", "accuracy", "boundary_iou", "pixels"])
        for name in scores.iou:
            values = [scores.iou[name], scores.class_accuracy[name]]
            values.append(math.nan if scores.boundary_iou is None else scores.boundary_iou[name])
            cells = ["" if math.isnan(value) else f"{value:.4f}" for value in values]
            rows.writerow([name, *cells, scores.pixels[name]])


def result_paths(images: tuple[Path, ...], out: Path) -> dict[Path, Path]:
    """Return the file of each image's result: `out`/NAME.png.

    Raises:
        ValueError: a result would overwrite an image or another result.
    """
    targets = {path: out / f"{path.stem}.png" for path in images}
    sources = {path.resolve() for path in images}
    for path, target in targets.items():
        if target.resolve() in sources:
            raise ValueError(f"--out {out}: the result of {path} would overwrite an image")
    if len(set(targets.values())) < len(targets):
        raise ValueError(f"two images would have the same result file in {out}: rename one")
    return targets
