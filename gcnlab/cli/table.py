"""gcnlab table."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from gcnlab.cli.errors import errors_in_words
from gcnlab.cli.pretrain import finish_classifier
from gcnlab.cli.train import finish
from gcnlab.evaluation import evaluate
from gcnlab.experiments.report import (
    RESULTS,
    aligned,
    by_seed,
    finished_runs,
    orderings,
    prediction_interval,
    sentence,
    table_cells,
    verdicts,
)
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import (
    CLASSIFIERS,
    SCORES,
    Cell,
    PaperTable,
    paper_table,
    table_backbone,
    with_seed,
)
from gcnlab.provenance import provenance, write_json
from gcnlab.training import (
    FolderTaken,
    PretrainConfig,
    RunConfig,
    RunStopped,
    is_taken,
    only_writer,
    train,
)

WAIT = 30
"""Seconds until it is looked again whether other processes have finished."""
TAKEN = 75  # EX_TEMPFAIL of Unix
"""Status of a training that found its folder taken since."""


@dataclass(frozen=True)
class ShowTable:
    """A table of the paper beside ours: means over seeds, and whether each of its orderings held. Without a number, the
    orderings of all tables.

        gcnlab table
        gcnlab table 1
        gcnlab table 5 --run
        gcnlab table 1 --check

    Without --run nothing is trained: the table is made of the runs under data/results, found by their settings. With it, what
    is missing is trained, seed by seed; a run that was stopped goes on. Given twice at once, on two cores (or GPUs: --device),
    the two share what is missing.
    """

    number: Annotated[int | None, tyro.conf.Positional] = None
    """1 to 6; none for all orderings, at the scales that two cores can train."""
    run: bool = False
    """Train what is missing."""
    scale: Scale = "mini"
    """mini: 256 px, the mini backbone, about nine CPU-minutes a network; quick: the same from a pretrained start, under
    three; large: the same at 512 px, on the paper's map of 16×16, under fifteen; full: 512 px, ResNet-18, for a GPU; camvid:
    photographs, under 40."""
    seeds: int | None = None
    """Trainings of each network; the table's own number if not given."""
    results: Path = RESULTS
    """Folder of the results."""
    check: bool = False
    """Train one network of the table, chosen at random among those with three finished seeds or more, with a seed that
    is new: its scores have to lie where the finished ones say (99 % prediction interval). Nothing is kept."""
    out: Path | None = None
    """Write what is shown to this JSON file, with the score of every seed."""
    device: str | None = None
    """cpu, cuda, …; the GPU if there is one."""
    workers: int = 0
    """Processes that load images; 0 loads in the main process."""

    def __call__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, not {self.seeds}")
        if self.number is None:
            if self.run or self.check:
                raise ValueError("--run and --check take the number of a table")
            self._show_orderings()
            return
        table = paper_table(self.number, self.scale)
        if self.check:
            self._check(table)
            return
        if self.run:
            self._train(table)
        self._show(table)

    def _show_orderings(self) -> None:
        rows = orderings(finished_runs(self.results))
        print(aligned(rows))
        if self.out is not None:
            header, *rest = rows
            write_json({"orderings": [dict(zip(header, row)) for row in rest]}, self.out)

    def _show(self, table: PaperTable) -> None:
        began, runs = time.perf_counter(), finished_runs(self.results)
        images, found = SCALES[self.scale].images, verdicts(table, runs)
        print(f"Table {table.number}: {table.title} (paper: VOC; ours: {images}; %)\n")
        print(aligned(table_cells(table, runs)), end="\n\n")
        for verdict in found:
            print(sentence(verdict))
        if self.out is not None:
            networks = [_record(cell, by_seed(cell.config, runs)) for cell in table.cells]
            seeds = sorted({seed for network in networks for seed in network["seeds"]})
            record = provenance(
                seeds=seeds,
                dataset=images,
                split="val",
                device="cpu",
                seconds=time.perf_counter() - began,
            )
            claims = [asdict(verdict) for verdict in found]
            values = {"table": table.number, "networks": networks, "claims": claims}
            write_json(values | {"provenance": record}, self.out)

    def _check(self, table: PaperTable) -> None:
        runs = finished_runs(self.results)
        finished = {cell.name: by_seed(cell.config, runs) for cell in table.cells}
        cells = [
            cell
            for cell in table.cells
            if isinstance(cell.config, RunConfig)
            and table_backbone(cell.config) is None  # a new seed has none of its own
            and len(finished[cell.name]) >= 3
        ]
        if not cells:
            raise ValueError(
                f"Table {table.number}: no network but on the table's own backbones has three finished seeds to compare with"
            )
        cell = random.SystemRandom().choice(cells)
        scores = finished[cell.name]
        seed = max(scores) + 1
        print(f"Table {table.number}: training {cell.name} once more, with seed {seed}", flush=True)
        run = train(with_seed(cell.config, seed), device=self.device, num_workers=self.workers)
        found = evaluate(run.model, run.config.evaluation_set("val"), num_workers=self.workers)
        outside = []
        for score in cell.paper:
            low, high = prediction_interval([values[score] for values in scores.values()])
            value = getattr(found, score)
            print(f"{SCORES[score]}: {value:.1f}, expected in {low:.1f} … {high:.1f}")
            if not low <= value <= high:
                outside.append(SCORES[score])
        if outside:
            raise ValueError(
                f"{cell.name}, seed {seed}: {', '.join(outside)} outside of what {len(scores)} "
                f"finished seeds under {self.results} say"
            )

    def _config(self, cell: Cell, seed: int) -> RunConfig | PretrainConfig:
        return _with_classifiers_under(with_seed(cell.config, seed), self.results)

    def _folder(self, cell: Cell, seed: int) -> Path:
        kind = SCALES[self.scale].folder if isinstance(cell.config, RunConfig) else CLASSIFIERS
        return self.results / kind / f"{cell.name}-seed{seed}"

    def _train(self, table: PaperTable) -> None:
        """Seed by seed, so that a table that is stopped has whole rows. Commands that run at once share the networks."""
        began, first, waits = time.perf_counter(), None, False
        while missing := self._missing(table):
            first = first or len(missing)
            free = next((one for one in missing if self._is_free(*one)), None)
            if free is None:
                if not waits:
                    print(f"waiting for {len(missing)} that other processes train", flush=True)
                waits = True
                time.sleep(WAIT)
                continue
            waits = False
            cell, seed = free
            out, done = self._folder(cell, seed), first - len(missing)
            left = ""
            if done:
                minutes = (time.perf_counter() - began) / done / 60
                left = f", about {minutes * len(missing):.0f} minutes left"
            print(f"{done + 1} of {first}: {cell.name}, seed {seed} → {out}{left}", flush=True)
            config = self._config(cell, seed)
            _in_a_process_of_its_own(_train_one, config, out, self.device, self.workers)

    def _missing(self, table: PaperTable) -> list[tuple[Cell, int]]:
        """Networks without scores, and the classifiers whose weights they take: the repository has the scores alone."""
        runs = finished_runs(self.results)
        seeds = range(table.seeds if self.seeds is None else self.seeds)
        networks = [(cell, seed) for seed in seeds for cell in table.cells]
        without = [one for one in networks if one[1] not in by_seed(one[0].config, runs)]
        backbones = {table_backbone(self._config(*one)) for one in without} - {None}
        lost = {Path(file).resolve().parent for file in backbones if not Path(file).exists()}
        return [one for one in networks if one in without or self._folder(*one).resolve() in lost]

    def _is_free(self, cell: Cell, seed: int) -> bool:
        """Whether it can be trained now: no other process does, nor is its backbone still to come."""
        if is_taken(self._folder(cell, seed)):
            return False
        backbone = table_backbone(self._config(cell, seed))
        return backbone is None or Path(backbone).exists()


def _record(cell: Cell, found: dict[int, dict[str, float]]) -> dict[str, Any]:
    """A network of a table: the paper's scores, and ours, seed by seed."""
    ours = {score: [scores[score] for scores in found.values()] for score in cell.paper}
    seeds = list(found)
    return {
        "name": cell.name,
        "weights": cell.weights,
        "paper": cell.paper,
        "seeds": seeds,
        "ours": ours,
    }


def _with_classifiers_under(
    config: RunConfig | PretrainConfig, results: Path
) -> RunConfig | PretrainConfig:
    """`config`, whose pretrained backbone, if there is one, lies under `results`."""
    backbone = table_backbone(config)
    if backbone is None:
        return config
    weights = os.path.relpath(results / Path(*backbone.parts[-3:]))
    return replace(config, model=replace(config.model, weights=weights))


def _in_a_process_of_its_own(function: Callable[..., None], *arguments: Any) -> None:
    """Call it in a new process, so that the time in a run's provenance is its own; the two end together. That it found
    its folder taken is no error.

    Raises:
        RunStopped: the process ended otherwise than well; it has said why.
    """
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        process.join()
    finally:
        signal.signal(signal.SIGTERM, before)
        process.kill()
        process.join()
    if process.exitcode not in (0, TAKEN):
        raise RunStopped(
            f"the training ended with status {process.exitcode}; its last checkpoint stays"
        )


def _train_one(
    config: RunConfig | PretrainConfig, out: Path, device: str | None, workers: int
) -> None:
    with errors_in_words():
        try:
            with only_writer(out):  # of the scores, too
                run = train(config, out, device=device, num_workers=workers)
                if isinstance(config, RunConfig):
                    finish(run, out, workers)
                else:
                    finish_classifier(run, out, config.evaluation_set("val"), workers)
        except FolderTaken:
            sys.exit(TAKEN)
