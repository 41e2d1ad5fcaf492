"""Weights files as people have them: what a file is, where its weights lie, and whether they are usable.

A file is known by its content, not by its ending. Around the weights there may be a checkpoint, `{"state_dict": …}`
of Lightning or mmsegmentation, `{"model": …}` of torchvision's references and our own; before their names
"module." of DataParallel, "_orig_mod." of torch.compile, or the name of the part that the network was of a larger
one. These are taken off. Two sets of weights in one file are refused: which one is meant is not ours to guess.

Code in a file is never run. Half precision is as good as single; NaN, infinite, quantised or complex values are not.
"""

import argparse
import pathlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gcnlab.annotations import Tensor
from gcnlab.arguments import first_line

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
"""What wrappers put before the names of all weights."""

_COMPILED = "_orig_mod."
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_DEPTH = 3  # of dicts in dicts that are looked through for weights

# What training scripts keep beside the weights: settings, scores, paths. They hold values, and making one runs no code.
_VALUES = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    np.float64(0).__reduce__()[0],
    *(type(np.dtype(code)) for code in ("float64", "float32", "int64", "int32", "bool")),
]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a file: names without prefixes, and tensors on the CPU.

    Raises:
        FileNotFoundError, OSError, ValueError: in one line, naming the file.
        ModuleNotFoundError: the file is of safetensors, and that is not installed.
    """
    return state_dict_in(read_content(path), str(path))


def read_content(path: str | Path) -> Any:
    """What a file of `torch.save` or safetensors holds, on the CPU: as it is, checked by nobody.

    Raises:
        FileNotFoundError, OSError, ValueError, ModuleNotFoundError: see `read_state_dict`.
    """
    path = Path(path)
    check_is_file(path, "weights file")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except PermissionError:
        raise PermissionError(f"{path}: no permission to read it") from None
    if what := _other_file(path, head):
        raise ValueError(f"{path}: {what}")
    if _is_safetensors(head):
        return _read_safetensors(path)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that are refused below
            with torch.serialization.safe_globals(_VALUES):  # a path's ending would be looked at
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: refused, {_what_is_code(path, error)}") from error
    except Exception as error:  # truncated zip files fail in many ways
        raise ValueError(f"{path}: damaged or not a weights file ({first_line(error)})") from error


def check_is_file(path: Path, what: str) -> None:
    """Raise FileNotFoundError or IsADirectoryError, naming the path and what was looked for, unless it is a file."""
    if path.is_dir():
        inside = sorted(
            p.name for p in path.iterdir() if p.suffix in (".pt", ".pth", ".safetensors")
        )
        advice = f"; give one of its files: {', '.join(inside[:4])}" if inside else ""
        raise IsADirectoryError(f"{path} is a folder, not a {what}{advice}")
    if not path.is_file():
        home = "; only the shell expands ~: use Path(…).expanduser()" if _at_home(path) else ""
        raise FileNotFoundError(f"no {what} {path}{home}")


def state_dict_in(content: Any, source: str) -> dict[str, Tensor]:
    """The one state dict in what a file holds, prefixes taken off its names.

    Args:
        content: a state dict, or dicts around one.
        source: what messages call it.

    Raises:
        ValueError: naming `source`: there is none, or there are several, with their keys.
    """
    found = _state_dicts(content)
    if not found:
        raise ValueError(
            f"{source}: not a state dict (names with tensors), nor a dict around one, but {_kind_of(content)}"
        )
    if len(found) > 1:
        keys = ", ".join(repr(key) for key in found)
        raise ValueError(
            f"{source}: several sets of weights, under {keys}: save the one that is meant in a file of its own"
        )
    (state,) = found.values()
    return without_prefixes(state, source)


def without_prefixes(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A state dict without the prefixes that wrappers put before the names of all weights; wrappers may be nested.

    `_orig_mod.` (torch.compile) is removed wherever it occurs in a name.

    Raises:
        ValueError: two names are the same without.
    """
    names = {name: name.replace(_COMPILED, "") for name in state}
    while prefix := _common_prefix(names.values()):
        names = {name: short.removeprefix(prefix) for name, short in names.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"{source}: some weights are there with and without {_COMPILED!r}")
    return {names[name]: value for name, value in state.items()}


def differences(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """What keeps weights from fitting a network of weights `own`: missing, unknown, of another shape; in words."""
    missing = [f"{name}: only in the network" for name in own if name not in other]
    extra = [f"{name}: only in the file" for name in other if name not in own]
    shapes = [
        f"{name}: {tuple(other[name].shape)} in the file, {tuple(own[name].shape)} in the network"
        for name in own
        if name in other and own[name].shape != other[name].shape
    ]
    return extra + missing + shapes


def several(found: list[str]) -> str:
    """The first two of what was found, and how many more there are."""
    return "; ".join(found[:2]) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")


def other_classes(
    own: Mapping[str, Tensor], other: Mapping[str, Tensor], classes: int
) -> int | None:
    """Number of classes of other weights, if that alone keeps them from fitting a network of `classes` classes."""
    if own.keys() != other.keys():
        return None
    found = set()
    for a, b in ((own[name].shape, other[name].shape) for name in own):
        if len(a) != len(b) or a[2:] != b[2:]:
            return None
        found |= {(m, n) for m, n in zip(a, b) if m != n}
    here, there = found.pop() if len(found) == 1 else (None, None)
    return there if here == classes else None


def check_values(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    """Raise ValueError, naming `source` and the first tensor, unless all values can be copied into a network of
    weights `own` (of the same shapes) and are finite in its precision."""
    for name, mine in own.items():
        if name not in state:
            continue
        value = state[name]
        kind = str(value.dtype).removeprefix("torch.")
        if value.is_meta or value.layout != torch.strided:
            what = "no values" if value.is_meta else "a sparse tensor"
            raise ValueError(f"{source}: {name} holds {what}; save ordinary tensors")
        counter = not mine.is_floating_point()  # num_batches_tracked of batch norm
        if value.is_quantized or value.dtype not in _FLOATS + _WHOLE * counter:
            raise ValueError(
                f"{source}: {name} is of type {kind}, not of floating point: quantised, whole or complex weights "
                "are not taken; save those from before the conversion"
            )
        if not (value if counter else value.to(mine.dtype)).isfinite().all():
            raise ValueError(
                f"{source}: {name} holds NaN or infinite values: its training diverged, or the file is damaged"
            )


def _common_prefix(names: Collection[str]) -> str | None:
    return next((p for p in PREFIXES if names and all(n.startswith(p) for n in names)), None)


def _state_dicts(content: Any, key: str = "", depth: int = 0) -> dict[str, Mapping[str, Tensor]]:
    """All state dicts in dicts with string keys, by the keys on the way, joined by dots."""
    if not isinstance(content, Mapping) or not content or depth > _DEPTH:
        return {}
    if not all(isinstance(name, str) for name in content):
        return {}
    if all(isinstance(value, Tensor) for value in content.values()):
        return {key: content}
    found = {}
    for name, value in content.items():
        found |= _state_dicts(value, f"{key}.{name}" if key else name, depth + 1)
    return found


def _kind_of(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    if not content:
        return "an empty dict"
    arrays = [name for name, value in content.items() if isinstance(value, np.ndarray)]
    if arrays:
        return f"arrays of NumPy ({arrays[0]}, …): make tensors of them by torch.from_numpy"
    others = {k: type(v).__name__ for k, v in content.items() if not isinstance(v, Tensor)}
    shown = ", ".join(f"{name!r} ({kind})" for name, kind in list(others.items())[:4])
    return f"a dict with {shown}{', …' if len(others) > 4 else ''}"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading it needs the package safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except Exception as error:
        raise ValueError(f"{path}: damaged or not a weights file ({first_line(error)})") from error


def _is_safetensors(head: bytes) -> bool:
    """Its first eight bytes are the length of the JSON that follows."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _other_file(path: Path, head: bytes) -> str:
    """What a file is that is none of weights, with what to do; empty if it may be one."""
    start = head.lstrip().lower()
    if not head:
        return "an empty file: its download or its writing broke off; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the weights themselves: git lfs pull fetches them"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a page of HTML, not weights: the download failed; fetch the file itself"
    if head.startswith(b"\x89HDF"):
        return "a file of Keras (HDF5), not of PyTorch: convert the weights first"
    if head.startswith(b"\x1f\x8b"):
        return "compressed with gzip: unpack it first"
    if re.search(r"\.data-\d+-of-\d+$|\.ckpt(-\d+)?\.(index|meta)$|\.pb$", path.name):
        return "a checkpoint of TensorFlow, not of PyTorch: convert the weights first"
    if head.startswith(b"PK"):
        return _other_archive(path)
    if not _is_safetensors(head) and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "a text file, not weights"
    return ""


def _other_archive(path: Path) -> str:
    """The same of a zip file; one that is damaged may have held weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return ""
    if "constants.pkl" in names:
        return (
            "a TorchScript archive: save the network's weights, "
            "torch.save(torch.jit.load(FILE).state_dict(), …)"
        )
    if any("exported_program" in name or "archive_format" in name for name in names):
        return "a program of torch.export: save the network's state_dict() instead"
    if "data.pkl" in names:
        return ""
    if any(name.endswith(".npy") for name in names):
        return "arrays of NumPy: save a dict of tensors, of torch.from_numpy, with torch.save"
    if any(name.endswith(".h5") for name in names):
        return "a file of Keras, not of PyTorch: convert the weights first"
    return "a zip archive that is not of torch.save: unpack it first"


def _what_is_code(path: Path, error: Exception) -> str:
    """What in a file is more than values: a whole network, or other objects; or it is damaged."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip file
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
    advice = "load it with the code that made it, and save its state_dict() instead"
    if any(name.startswith("torch.nn.modules.") for name in names):
        return f"it holds a whole network, which is code: {advice}"
    if names:
        return f"it holds more than tensors and plain values ({', '.join(names[:3])}), which is code: {advice}"
    return f"it holds more than tensors and plain values, or is damaged ({first_line(error)})"


def _at_home(path: Path) -> bool:
    return str(path).startswith("~")
