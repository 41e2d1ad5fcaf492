"""What several commands write: a network's name, its result with provenance, its scores as a table, paths."""

import csv
import math
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gcnlab.evaluation import Scores
from gcnlab.provenance import provenance, write_result
from gcnlab.training import PretrainConfig, TopK, TrainedRun
from gcnlab.training.optimization import compute_dtype
from gcnlab.training.runs import mean_of_last
from gcnlab.training.task import Task


def describe(config: Task) -> str:
    """A run in a few words: "mini gcn k=7 + BR", "classifier mini_gcn"."""
    if isinstance(config, PretrainConfig):
        return f"classifier {config.backbone}"
    m = config.model
    k = "" if m.head == "conv1x1" else f" k={m.kernel_size}"
    return f"{m.backbone} {m.head}{k}{' + BR' if m.refine else ''}"


def result(run: TrainedRun, scores: Scores | TopK, split: str) -> dict:
    """What is written about a trained network: scores, settings, provenance. A shipped one has no losses: its final loss
    and steps are None."""
    return {
        "what": f"{describe(run.config)} on {run.config.data.dataset}",
        "scores": asdict(scores),
        "final_loss": mean_of_last(run.losses) if run.losses else None,
        "steps": len(run.losses) or None,
        "settings": run.config.to_dict(),
        "provenance": provenance(
            seeds=[run.config.training.seed],
            dataset=run.config.data.dataset,
            split=split,
            device=next(run.model.parameters()).device,
            seconds=run.seconds,
        ),
    }


def write_run(run: TrainedRun, values: dict, title: str, out: Path) -> None:
    """Write what the folder of a finished run holds beside its checkpoint: log.csv, result.json (`values`) and
    loss.png with that title. The same result again leaves result.json as it is. What the automatic precision came to
    on this device is part of the provenance."""
    from gcnlab.plots import plot_losses

    device = next(run.model.parameters()).device
    precision = str(compute_dtype(run.config.training.precision, device)).removeprefix("torch.")
    values["provenance"]["precision"] = precision
    write_log(run, out / "log.csv")
    write_result(values, out / "result.json")
    plot_losses({title: run.losses}).savefig(out / "loss.png", dpi=100)


def write_log(run: TrainedRun, path: Path) -> None:
    """The mean loss of each epoch, as CSV."""
    per_epoch = max(1, len(run.losses) // run.config.training.epochs)
    rows = ["epoch,steps,mean_loss"]
    for epoch in range(run.config.training.epochs):
        losses = run.losses[epoch * per_epoch : (epoch + 1) * per_epoch]
        rows.append(f"{epoch + 1},{(epoch + 1) * per_epoch},{sum(losses) / len(losses):.5f}")
    path.write_text("\n".join(rows) + "\n")


def print_scores(table: dict[str, Scores]) -> None:
    """A table of scores in percent: a row per score, a column per network."""
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


def write_class_table(scores: Scores, path: Path) -> None:
    """A row per class as CSV, scores in percent; empty where there is nothing to score."""
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
    """Where each picture's result goes: `out`/NAME.png.

    Raises:
        ValueError: a result would overwrite a picture, or another result.
    """
    targets = {path: out / f"{path.stem}.png" for path in images}
    pictures = {path.resolve() for path in images}
    for path, target in targets.items():
        if target.resolve() in pictures:
            raise ValueError(f"--out {out}: the result of {path} would overwrite a picture")
    if len(set(targets.values())) < len(targets):
        raise ValueError(f"two of the pictures would have one result in {out}: rename one")
    return targets
