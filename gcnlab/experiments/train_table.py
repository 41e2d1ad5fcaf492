"""Train the networks of a table that have no scores yet, or one more to verify the others."""

import os
import random
from pathlib import Path

from gcnlab.experiments.report import by_seed, finished_runs, prediction_interval
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import CLASSIFIERS, SCORES, Cell, PaperTable, with_seed
from gcnlab.training import FolderTaken, PretrainConfig, RunConfig, finish, train
from gcnlab.training.checkpoint import CHECKPOINT, only_writer


def train_missing(
    table: PaperTable,
    scale: Scale,
    results: Path,
    seeds: int | None = None,
    device: str | None = None,
    workers: int = 0,
) -> None:
    """Train and score all networks of a table that have no scores under `results`, one after the
    other, seed by seed, so that an interrupted command leaves complete rows. An interrupted
    training is resumed. A network that another process trains is skipped.

    Args:
        table: the table, as defined at `scale`.
        scale: names the folder of the runs.
        results: folder of all results.
        seeds: runs per network; None for as many as the table's claims need.
        device: "cpu", "cuda", …; None for the GPU if there is one.
        workers: data-loading workers; 0 loads in the main process.

    Raises:
        FileNotFoundError: a network starts from one of another scale, which has no checkpoint. The
            error names the command that trains it.
    """
    missing = missing_networks(table, results, seeds)
    for number, (cell, seed) in enumerate(missing, 1):
        folder = run_folder(cell, seed, scale, results)
        print(f"{number} of {len(missing)}: {cell.name}, seed {seed} → {folder}", flush=True)
        backbone = cell.backbone_file(seed, results)
        if backbone is not None and not backbone.exists():
            print(f"skipped: its backbone {backbone} is not trained yet", flush=True)
            continue
        try:
            with only_writer(folder):  # until the scores are written
                if not _missing(cell, seed, results):
                    continue  # another process has trained it meanwhile
                config = cell.settings(seed, Path(os.path.relpath(results)))
                initial = _initial(cell, seed, scale, Path(os.path.relpath(results)))
                run = train(config, folder, device=device, num_workers=workers, initial=initial)
                finish(run, folder, workers)
        except FolderTaken:
            print(f"skipped: another process trains in {folder}", flush=True)


def missing_networks(
    table: PaperTable, results: Path, seeds: int | None = None
) -> list[tuple[Cell, int]]:
    """Cells and seeds without scores under `results`, and the classifiers whose weights they need:
    the repository has the scores of the classifiers, but not their weights."""
    runs = finished_runs(results)
    networks = [
        (cell, seed)
        for seed in range(table.seeds if seeds is None else seeds)
        for cell in table.cells
    ]
    scored = {cell.name: by_seed(cell, runs) for cell in table.cells}
    without = [(cell, seed) for cell, seed in networks if seed not in scored[cell.name]]
    needed = {
        (cell.pretrained, seed)
        for cell, seed in without
        if cell.pretrained and not cell.backbone_file(seed, results).exists()
    }
    return [
        (cell, seed)
        for cell, seed in networks
        if (cell, seed) in without or (cell.name, seed) in needed
    ]


def _missing(cell: Cell, seed: int, results: Path) -> bool:
    """Whether a network has no scores under `results`, or a classifier no weights."""
    weights = run_folder(cell, seed, "mini", results) / "weights.safetensors"
    without_weights = isinstance(cell.config, PretrainConfig) and not weights.exists()
    return without_weights or seed not in by_seed(cell, finished_runs(results))


def _initial(cell: Cell, seed: int, scale: Scale, results: Path) -> Path | None:
    """The folder of the run that a run starts from; None if the scale starts from no other."""
    start = SCALES[scale].starts_from
    if start is None or not isinstance(cell.config, RunConfig):
        return None
    folder = run_folder(cell, seed, start, results)
    if not (folder / CHECKPOINT).is_file():
        model = cell.config.model
        kernel = "" if model.head == "conv1x1" else f" --model.kernel-size {model.kernel_size}"
        refine = "refine" if model.refine else "no-refine"
        raise FileNotFoundError(
            f"no {folder / CHECKPOINT}, which {cell.name}, seed {seed}, starts from: gcnlab train "
            f"{start} --out {folder} --model.head {model.head}{kernel} --model.{refine} "
            f"--training.seed {seed}"
        )
    return folder


def run_folder(cell: Cell, seed: int, scale: Scale, results: Path) -> Path:
    """The folder of a run, under `results`."""
    kind = SCALES[scale].folder if isinstance(cell.config, RunConfig) else CLASSIFIERS
    return results / kind / f"{cell.name}-seed{seed}"


def train_one_more(
    table: PaperTable, results: Path, device: str | None = None, workers: int = 0
) -> None:
    """Train a random network of a table with a new seed and compare its scores with the 99 %
    prediction interval of the finished seeds. Only networks with three or more finished seeds are
    chosen. Nothing is written.

    Raises:
        ValueError: a score is outside its interval, or no network has three finished seeds.
    """
    runs = finished_runs(results)
    finished = {cell.name: by_seed(cell, runs) for cell in table.cells}
    cells = [
        cell
        for cell in table.cells
        if isinstance(cell.config, RunConfig)
        and cell.pretrained is None  # there is no backbone for a new seed
        and len(finished[cell.name]) >= 3
    ]
    if not cells:
        raise ValueError(
            f"Table {table.number}: no network has three finished seeds to compare with "
            "(networks that start from the table's own backbones do not count)"
        )
    cell = random.SystemRandom().choice(cells)
    scores = finished[cell.name]
    seed = max(scores) + 1
    print(f"Table {table.number}: training {cell.name} with the new seed {seed}", flush=True)
    run = train(with_seed(cell.config, seed), device=device, num_workers=workers)
    found = run.task.score(run.model, workers)
    outside = []
    for score in cell.paper:
        low, high = prediction_interval([values[score] for values in scores.values()])
        value = getattr(found, score)
        print(f"{SCORES[score]}: {value:.1f}, expected in {low:.1f} … {high:.1f}")
        if not low <= value <= high:
            outside.append(SCORES[score])
    if outside:
        raise ValueError(
            f"{cell.name}, seed {seed}: {', '.join(outside)} outside the interval that the "
            f"{len(scores)} finished seeds under {results} predict"
        )
