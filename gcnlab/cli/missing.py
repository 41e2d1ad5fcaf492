"""What gcnlab table --run does: train the networks of a table that have no scores yet.

Commands that run at once share the networks, by the lock on each network's folder; one that is stopped is gone on with.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gcnlab.cli.errors import exit_on_errors
from gcnlab.cli.pretrain import finish_classifier
from gcnlab.cli.train import finish
from gcnlab.experiments.report import by_seed, finished_runs
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.experiments.tables import CLASSIFIERS, Cell, PaperTable, table_backbone, with_seed
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
class Missing:
    """The networks of a table that are to be trained.

    Attributes:
        table, scale: which they are.
        results: folder that the runs lie under.
        seeds: trainings of each network; None: as many as the table asks for.
        device: "cpu", "cuda", …; None takes the GPU if there is one.
        workers: processes that load images; 0 loads in the training's own.
    """

    table: PaperTable
    scale: Scale
    results: Path
    seeds: int | None = None
    device: str | None = None
    workers: int = 0

    def train(self) -> None:
        """Seed by seed, so that a table that is stopped has whole rows. Commands that run at once share the networks."""
        began, first, waits = time.perf_counter(), None, False
        while missing := self.networks():
            first = first or len(missing)
            free = next((one for one in missing if self.is_free(*one)), None)
            if free is None:
                if not waits:
                    print(f"waiting for {len(missing)} that other processes train", flush=True)
                waits = True
                time.sleep(WAIT)
                continue
            waits = False
            cell, seed = free
            out, done = self.folder(cell, seed), first - len(missing)
            left = ""
            if done:
                minutes = (time.perf_counter() - began) / done / 60
                left = f", about {minutes * len(missing):.0f} minutes left"
            print(f"{done + 1} of {first}: {cell.name}, seed {seed} → {out}{left}", flush=True)
            config = self.config(cell, seed)
            _in_a_process_of_its_own(_train_one, config, out, self.device, self.workers)

    def networks(self) -> list[tuple[Cell, int]]:
        """Networks without scores, and the classifiers whose weights they take: the repository has the scores alone."""
        runs = finished_runs(self.results)
        seeds = range(self.table.seeds if self.seeds is None else self.seeds)
        networks = [(cell, seed) for seed in seeds for cell in self.table.cells]
        without = [one for one in networks if one[1] not in by_seed(one[0].config, runs)]
        backbones = {table_backbone(self.config(*one)) for one in without} - {None}
        lost = {Path(file).resolve().parent for file in backbones if not Path(file).exists()}
        return [one for one in networks if one in without or self.folder(*one).resolve() in lost]

    def is_free(self, cell: Cell, seed: int) -> bool:
        """Whether it can be trained now: no other process does, nor is its backbone still to come."""
        if is_taken(self.folder(cell, seed)):
            return False
        backbone = table_backbone(self.config(cell, seed))
        return backbone is None or Path(backbone).exists()

    def config(self, cell: Cell, seed: int) -> RunConfig | PretrainConfig:
        return _with_classifiers_under(with_seed(cell.config, seed), self.results)

    def folder(self, cell: Cell, seed: int) -> Path:
        kind = SCALES[self.scale].folder if isinstance(cell.config, RunConfig) else CLASSIFIERS
        return self.results / kind / f"{cell.name}-seed{seed}"


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
    with exit_on_errors():
        try:
            with only_writer(out):  # of the scores, too
                run = train(config, out, device=device, num_workers=workers)
                if isinstance(config, RunConfig):
                    finish(run, out, workers)
                else:
                    finish_classifier(run, out, config.evaluation_set("val"), workers)
        except FolderTaken:
            sys.exit(TAKEN)
