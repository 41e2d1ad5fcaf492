"""What happens between some of the steps: a score on the val split, a checkpoint, pictures of predictions."""

import math
import time
from pathlib import Path

import torch

from gcnlab.evaluation.processes import process
from gcnlab.training.checkpoint import CHECKPOINT, Checkpoints
from gcnlab.training.execution import Execution
from gcnlab.training.parallel import share_buffers
from gcnlab.training.state import RunState
from gcnlab.training.watch import Watch


class Milestones:
    """Knows after which steps something is due, and does it.

    Args:
        state: of the run; goes on from the checkpoint in `out` if there is one and `resume` says so.
        out: folder of the run; None keeps nothing.
        execution: what is due when, beside the settings' checkpoints.
        resume: see `train`.

    Raises:
        ValueError, OSError: see `RunState.load` and `Checkpoints`.
    """

    def __init__(self, state: RunState, out: Path | None, execution: Execution, resume: bool):
        settings = state.config.training
        self.state, self.execution = state, execution
        self._save_every = settings.checkpoint_steps or state.per_epoch * settings.checkpoint_every
        self._score_every = state.per_epoch * (execution.validate_every or math.inf)
        self._seconds = 60 * (execution.checkpoint_minutes or math.inf)
        self._saved = time.perf_counter()
        there = out is not None and resume and (out / CHECKPOINT).exists()
        if there:
            state.load(out / CHECKPOINT)
        self.checkpoints = None
        if out is not None and process()[0] == 0:
            self.checkpoints = Checkpoints(out, execution.keep, state.step if there else None)

    @property
    def due(self) -> bool:
        """Whether this step is one of them; the same in all processes."""
        return self._saves or self._scores

    @property
    def _saves(self) -> bool:
        return self.state.step % self._save_every == 0 or self.state.step == self.state.steps

    @property
    def _scores(self) -> bool:
        last = self.state.step == self.state.steps and self._score_every < math.inf
        return self.state.step % self._score_every == 0 or last

    def reach(self, watch: Watch) -> None:
        """Do what is due. The losses have been read: no weights after a NaN are kept.

        Raises:
            OSError: naming the file that cannot be written.
        """
        state = self.state
        if self._scores:
            self._score(watch)
        if process()[0] > 0:
            return  # the first writes, for all
        late = time.perf_counter() - self._saved > self._seconds
        if self.checkpoints is not None and (self._saves or late):
            self.checkpoints.save(state.to_dict())
            self._saved = time.perf_counter()
        if self._saves and self.execution.samples:
            picture = state.config.samples(state.model, self.execution.samples)
            if picture is not None:
                watch.show_samples(picture)

    def _score(self, watch: Watch) -> None:
        state = self.state
        share_buffers(state.model)
        with torch.random.fork_rng(devices=[]):  # a loader draws from the generator
            score = state.config.score(state.model)
        watch.show_score(score)
        if state.best is None or score > state.best["score"]:
            state.best = {"step": state.step, "score": score}
            if self.checkpoints is not None:
                self.checkpoints.save_best(state.to_dict())
