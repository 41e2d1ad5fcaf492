"""The files in a run's folder: checkpoints, and a lock so that only one process writes there.

A checkpoint is data, never code: it is written with `torch.save` and read with `weights_only=True`.
It is written under a temporary name and then renamed, so that the last complete checkpoint survives
if the process is killed at any moment.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from gcnlab.distributed import lost_worker
from gcnlab.models.backbones import looks_like
from gcnlab.models.weights import (
    check_is_file,
    check_values,
    differences,
    list_differences,
    other_classes,
    read_content,
)

FORMAT = 1
CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOCK = ".lock"
_KEYS = {"format", "config", "model", "optimizer", "scaler", "step", "random", "losses", "seconds"}


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path` atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written; the error names the path. An
            existing file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        if lost_worker(error) is not None:
            raise
        raise OSError(f"cannot write checkpoint {path}: {error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, OSError: the file is truncated, contains code, is not a checkpoint of gcnlab, or
            was written by a newer version; the error names it.
    """
    path = Path(path)
    check_is_file(path, "checkpoint")
    state = read_content(path)
    if not is_checkpoint(state):
        raise ValueError(
            f"{path}: not a checkpoint of gcnlab; a file of weights goes into model.weights (a backbone) "
            "or into train(…, initial=FILE) (a whole network)"
        )
    check_checkpoint(state, path)
    return state


def is_checkpoint(content: Any) -> bool:
    """Whether the content of a file is a checkpoint of gcnlab, even an incomplete one."""
    return isinstance(content, dict) and isinstance(content.get("format"), int)


def check_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Raise ValueError, naming the file, if a checkpoint is of a newer version or incomplete."""
    if state["format"] > FORMAT:
        raise ValueError(
            f"{path}: written by a newer gcnlab (format {state['format']}; this one reads {FORMAT})"
        )
    if missing := _KEYS - state.keys():
        raise ValueError(f"{path}: incomplete checkpoint, without {', '.join(sorted(missing))}")


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the names, types, shapes and values of a state dict, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_model_state(model: torch.nn.Module, state: dict[str, Any], path: Path | str) -> None:
    """Load the weights of a checkpoint into `model`.

    Raises:
        ValueError: the weights are of another architecture or number of classes, are not finite, or
            have another type. The error names the file and the first differences.
    """
    own, other = model.state_dict(), state["model"]
    if found := differences(own, other):
        classes = _num_classes(model)
        if classes is not None and (there := other_classes(own, other, classes)) is not None:
            raise ValueError(f"{path}: weights for {there} classes, not {classes} ({found[0]})")
        here, there = looks_like(own), looks_like(other)
        seems = f", by names and shapes {there}" if there and there != here else ""
        advice = "; for a backbone, use model.weights" if there.startswith("the") else ""
        raise ValueError(
            f"{path}: checkpoint of another architecture{seems} ({list_differences(found)}){advice}"
        )
    check_values(own, other, str(path))
    model.load_state_dict(other)


def _num_classes(model: torch.nn.Module) -> int | None:
    """Number of classes of a segmentation network or classifier."""
    if hasattr(model, "num_classes"):
        return model.num_classes
    return getattr(getattr(model, "fc", None), "out_features", None)


class Checkpoints:
    """The checkpoints in a run's folder:

        checkpoint.pt           the newest
        checkpoint-00012000.pt  earlier ones, by step, if more than one is kept
        best.pt                 the one with the best score on the val split

    Args:
        folder: of the run.
        keep: number of checkpoints to keep, the newest included, the best not counted.
        newest: step of the checkpoint that the run resumes from; None: it starts from scratch, and
            its first checkpoint replaces those of an earlier run.

    Raises:
        OSError: the folder cannot be written; the error names it.
    """

    def __init__(self, folder: Path, keep: int = 1, newest: int | None = None):
        self.folder, self.keep, self.newest = folder, keep, newest
        self.path, self._replaces_a_run = folder / CHECKPOINT, newest is None
        self.saved_at = time.perf_counter()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for rest in folder.glob(".*.pt.*.tmp"):  # of a process that was killed while writing
                rest.unlink()
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OSError(f"cannot write checkpoints to {folder}: {error}") from error

    @property
    def minutes_since_save(self) -> float:
        """Minutes since the last checkpoint, or since the start."""
        return (time.perf_counter() - self.saved_at) / 60

    def save(self, state: dict[str, Any]) -> None:
        """Write the newest checkpoint, then delete the oldest ones beyond `keep`.

        Raises:
            OSError: see `save_checkpoint`.
        """
        self._delete_replaced_run()
        if self.newest is not None and self.keep > 1:
            _copy(self.path, self.folder / f"checkpoint-{self.newest:08d}.pt")
        save_checkpoint(state, self.path)
        self.newest, self.saved_at = state["step"], time.perf_counter()
        earlier = self.earlier()
        for path in earlier[: max(0, len(earlier) + 1 - self.keep)]:
            path.unlink()

    def save_best(self, state: dict[str, Any]) -> None:
        """Write the best checkpoint.

        Raises:
            OSError: see `save_checkpoint`.
        """
        self._delete_replaced_run()
        save_checkpoint(state, self.folder / BEST)

    def _delete_replaced_run(self) -> None:
        """Before the first write, delete the other checkpoints of a run that this one replaces."""
        if self._replaces_a_run:
            for path in [*self.earlier(), self.folder / BEST]:
                path.unlink(missing_ok=True)
        self._replaces_a_run = False

    def earlier(self) -> list[Path]:
        """The checkpoints before the newest, oldest first."""
        return sorted(self.folder.glob("checkpoint-" + "[0-9]" * 8 + "*.pt"))


def _copy(source: Path, target: Path) -> None:
    """Hard-link a file that will be replaced, not changed; copy it if links are not supported."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(f"cannot write checkpoint {target}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


class FolderTaken(OSError):
    """Another process trains in the folder."""


@contextmanager
def only_writer(folder: Path | None) -> Iterator[None]:
    """Inside this context, no other process can train in `folder`. None: no lock.

    The system releases the lock if this process dies. Within one process the context may be nested.

    Raises:
        FolderTaken: another process trains there.
        OSError: the folder cannot be written; the error names it.
    """
    if folder is None:
        yield
        return
    lock = FileLock(folder / LOCK, is_singleton=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=1)
    except Timeout:
        raise FolderTaken(f"{folder}: another process trains there") from None
    except OSError as error:
        raise OSError(f"cannot write checkpoints to {folder}: {error}") from error
    try:
        yield
    finally:
        lock.release()
