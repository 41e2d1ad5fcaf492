"""One state dict saved and loaded.

A checkpoint is data, never code: it is written with `torch.save` and read with `weights_only=True`. It is
written beside its place and then renamed, so that a kill at any moment leaves the last good one.
"""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch

FORMAT = 1
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
        raise OSError(f"cannot write checkpoint {path}: {error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: naming the file: truncated, holding code, not a checkpoint of gcnlab, or of a
            newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused, it holds more than tensors and plain values, or is damaged ({error})"
        ) from error
    except Exception as error:  # truncated zip files fail in many ways
        raise ValueError(f"{path}: damaged or not a checkpoint ({error})") from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise ValueError(f"{path}: not a checkpoint of gcnlab")
    if state["format"] > FORMAT:
        raise ValueError(
            f"{path}: written by a newer gcnlab (format {state['format']}, this one reads {FORMAT})"
        )
    if missing := _KEYS - state.keys():
        raise ValueError(f"{path}: not a whole checkpoint, without {', '.join(sorted(missing))}")
    return state


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
        ValueError: naming the file and the first differences, if it is of another architecture.
    """
    own, other = model.state_dict(), state["model"]
    differences = [f"{k}: only in the file" for k in other if k not in own]
    differences += [f"{k}: only in the network" for k in own if k not in other]
    differences += [
        f"{k}: {tuple(other[k].shape)} in the file, {tuple(own[k].shape)} in the network"
        for k in own
        if k in other and own[k].shape != other[k].shape
    ]
    if differences:
        shown = "; ".join(differences[:3])
        raise ValueError(
            f"{path}: checkpoint of another architecture ({shown}"
            f"{f'; and {len(differences) - 3} more' if len(differences) > 3 else ''})"
        )
    model.load_state_dict(other)
