"""One state dict saved and loaded; the few that a run's folder keeps.

A checkpoint is data, never code: it is written with `torch.save` and read with `weights_only=True`. It is
written beside its place and then renamed, so that a kill at any moment leaves the last good one.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from gcnlab.models.backbones import looks_like
from gcnlab.models.weights import (
    check_is_file,
    check_values,
    differences,
    other_classes,
    read_content,
    several,
)
from gcnlab.training.parallel import lost_loader

FORMAT = 1
CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
_KEYS = {"format", "config", "model", "optimizer", "scaler", "step", "random", "losses", "seconds"}


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path`, atomically.

    Raises:
        OSError: naming the path, if the disk is full or the folder cannot be written; the file that
            was there before stays.
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
        if lost_loader(error) is not None:
            raise
        raise OSError(f"cannot write checkpoint {path}: {error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError, OSError: naming the file: truncated, holding code, not a checkpoint of gcnlab, or of a
            newer version.
    """
    path = Path(path)
    check_is_file(path, "checkpoint")
    state = read_content(path)
    if not is_checkpoint(state):
        raise ValueError(
            f"{path}: not a checkpoint of gcnlab; weights alone go into model.weights (a backbone's) or into "
            "train(…, initial=FILE) (a whole network's)"
        )
    check_checkpoint(state, path)
    return state


def is_checkpoint(content: Any) -> bool:
    """Whether what a file holds is a checkpoint of gcnlab, whole or not."""
    return isinstance(content, dict) and isinstance(content.get("format"), int)


def check_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Raise ValueError, naming the file, if a checkpoint is of a newer version or not whole."""
    if state["format"] > FORMAT:
        raise ValueError(
            f"{path}: written by a newer gcnlab (format {state['format']}, this one reads {FORMAT})"
        )
    if missing := _KEYS - state.keys():
        raise ValueError(f"{path}: not a whole checkpoint, without {', '.join(sorted(missing))}")


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 over the names, types, shapes and values of a state dict, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_model_state(model: torch.nn.Module, state: dict[str, Any], path: Path | str) -> None:
    """Put a checkpoint's weights into `model`.

    Raises:
        ValueError: naming the file and the first differences, if it is of another architecture or of other classes;
            or the first tensor whose values are not finite or of another type.
    """
    own, other = model.state_dict(), state["model"]
    if found := differences(own, other):
        classes = _classes(model)
        if classes is not None and (there := other_classes(own, other, classes)) is not None:
            raise ValueError(f"{path}: weights for {there} classes, not {classes} ({found[0]})")
        here, there = looks_like(own), looks_like(other)
        seems = f", by names and shapes {there}" if there and there != here else ""
        advice = "; as a backbone, give model.weights" if there.startswith("the") else ""
        raise ValueError(
            f"{path}: checkpoint of another architecture{seems} ({several(found)}){advice}"
        )
    check_values(own, other, str(path))
    model.load_state_dict(other)


def _classes(model: torch.nn.Module) -> int | None:
    """Classes that a segmentation network, or a classifier, tells apart."""
    if hasattr(model, "num_classes"):
        return model.num_classes
    return getattr(getattr(model, "fc", None), "out_features", None)


class Checkpoints:
    """The checkpoints in a run's folder.

        checkpoint.pt           the newest
        checkpoint-00012000.pt  of that step: the ones before it, if more than one is kept
        best.pt                 with the best score on the val split

    Args:
        folder: of the run.
        keep: how many are kept, the newest among them, the best not counted.
        newest: step of the one that is there and gone on from; None starts anew.

    Raises:
        OSError: naming the folder, if it cannot be written.
    """

    def __init__(self, folder: Path, keep: int = 1, newest: int | None = None):
        self.folder, self.keep, self.newest = folder, keep, newest
        self.path, self._anew = folder / CHECKPOINT, newest is None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for rest in folder.glob(".*.pt.*.tmp"):  # of a process that was killed while it wrote
                rest.unlink()
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OSError(f"cannot write checkpoints to {folder}: {error}") from error

    def save(self, state: dict[str, Any]) -> None:
        """Write the newest; what is more than `keep` is removed after that.

        Raises:
            OSError: see `save_checkpoint`.
        """
        self._replace_another_run()
        if self.newest is not None and self.keep > 1:
            _copy(self.path, self.folder / f"checkpoint-{self.newest:08d}.pt")
        save_checkpoint(state, self.path)
        self.newest = state["step"]
        earlier = self.earlier()
        for path in earlier[: max(0, len(earlier) + 1 - self.keep)]:
            path.unlink()

    def save_best(self, state: dict[str, Any]) -> None:
        """Write the best.

        Raises:
            OSError: see `save_checkpoint`.
        """
        self._replace_another_run()
        save_checkpoint(state, self.folder / BEST)

    def _replace_another_run(self) -> None:
        """Remove what one that is not gone on from left beside its newest checkpoint, before the first write."""
        if self._anew:
            for path in [*self.earlier(), self.folder / BEST]:
                path.unlink(missing_ok=True)
        self._anew = False

    def earlier(self) -> list[Path]:
        """Those before the newest, the oldest first."""
        return sorted(self.folder.glob("checkpoint-" + "[0-9]" * 8 + "*.pt"))


def _copy(source: Path, target: Path) -> None:
    """A second name for a file that will be replaced, not changed; a copy where there are no such names."""
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
