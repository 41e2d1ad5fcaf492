"""Read weights files of different origin: find the state dict in them and check its values.

A file is recognised by its content, not by its extension. The weights may be inside a checkpoint
(`{"state_dict": …}` of Lightning or mmsegmentation, `{"model": …}` of torchvision's references and
ours), and their names may have prefixes ("module." of DataParallel, "_orig_mod." of torch.compile,
or the name of a submodule). The weights are extracted and the prefixes removed. A file with two
sets of weights is an error, because the choice would be a guess.

Code in a file is never run. Half precision is accepted; NaN, infinite, quantised and complex values
are errors.
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
"""Prefixes that wrappers add to the names of all weights."""

_COMPILED = "_orig_mod."
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_DEPTH = 3  # nesting of dicts that are searched for weights

# Types that training scripts save beside the weights: settings, scores, paths. They hold values;
# creating one runs no code.
_VALUES = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    np.float64(0).__reduce__()[0],
    *(type(np.dtype(code)) for code in ("float64", "float32", "int64", "int32", "bool")),
]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the weights in a file: names without prefixes, tensors on the CPU.

    Raises:
        FileNotFoundError, OSError, ValueError: the file cannot be read; the message names it.
        ModuleNotFoundError: the file needs safetensors, which is not installed.
    """
    return state_dict_in(read_content(path), str(path))


def read_content(path: str | Path) -> Any:
    """Read the unchecked content of a `torch.save` or safetensors file, with tensors on the CPU.

    Raises:
        FileNotFoundError, OSError, ValueError, ModuleNotFoundError: see `read_state_dict`.
    """
    path = Path(path)
    check_is_file(path, "weights file")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except PermissionError:
        raise PermissionError(f"{path}: no permission to read this file") from None
    if what := _other_file(path, head):
        raise ValueError(f"{path}: {what}")
    if _is_safetensors(head):
        return _read_safetensors(path)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about types that are rejected below
            with torch.serialization.safe_globals(
                _VALUES
            ):  # given a path, it would look at the extension
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: {_what_is_code(path, error)}") from error
    except Exception as error:  # truncated zip files fail in many ways
        raise ValueError(f"{path}: damaged, or not a weights file ({first_line(error)})") from error


def check_is_file(path: Path, what: str) -> None:
    """Raise FileNotFoundError or IsADirectoryError, naming the path and `what`, unless it is a
    file.
    """
    if path.is_dir():
        inside = sorted(
            p.name for p in path.iterdir() if p.suffix in (".pt", ".pth", ".safetensors")
        )
        advice = f"; choose one of its files: {', '.join(inside[:4])}" if inside else ""
        raise IsADirectoryError(f"{path} is a folder, not a {what}{advice}")
    if not path.is_file():
        home = "; Python does not expand ~: use Path(…).expanduser()" if _at_home(path) else ""
        raise FileNotFoundError(f"{what} {path} does not exist{home}")


def state_dict_in(content: Any, source: str) -> dict[str, Tensor]:
    """Find the state dict in the content of a file and remove the prefixes of its names.

    Args:
        content: a state dict, or nested dicts that hold one.
        source: the name of the file in messages.

    Raises:
        ValueError: there is no state dict, or there are several; the message names `source`.
    """
    found = _state_dicts(content)
    if not found:
        raise ValueError(
            f"{source}: expected a state dict (tensors by name), or a dict that holds one, not {_kind_of(content)}"
        )
    if len(found) > 1:
        keys = ", ".join(repr(key) for key in found)
        raise ValueError(
            f"{source}: several sets of weights, under {keys}: save the one to use in a separate file"
        )
    (state,) = found.values()
    return without_prefixes(state, source)


def without_prefixes(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Remove the prefixes that wrappers, also nested ones, add to the names of all weights.

    `_orig_mod.` (torch.compile) is removed wherever it occurs in a name.

    Raises:
        ValueError: two names become the same.
    """
    names = {name: name.replace(_COMPILED, "") for name in state}
    while prefix := _common_prefix(names.values()):
        names = {name: short.removeprefix(prefix) for name, short in names.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"{source}: some weights occur both with and without {_COMPILED!r}")
    return {names[name]: value for name, value in state.items()}


def differences(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Describe each weight of `other` that does not fit `own`: unknown, missing, or of another
    shape.
    """
    missing = [f"{name}: only in the network" for name in own if name not in other]
    extra = [f"{name}: only in the file" for name in other if name not in own]
    shapes = [
        f"{name}: {tuple(other[name].shape)} in the file, {tuple(own[name].shape)} in the network"
        for name in own
        if name in other and own[name].shape != other[name].shape
    ]
    return extra + missing + shapes


def list_differences(found: list[str]) -> str:
    """The first two differences, and the number of further ones."""
    return "; ".join(found[:2]) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")


def other_classes(
    own: Mapping[str, Tensor], other: Mapping[str, Tensor], classes: int
) -> int | None:
    """Number of classes of other weights, if it is the only difference to a network of `classes`
    classes.
    """
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
    """Check that all values can be copied into the weights `own`, of the same shapes.

    Raises:
        ValueError: a tensor has another type, or values that are not finite in the precision of
            `own`; the message names `source` and the tensor.
    """
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
                f"{source}: {name} has the type {kind}, but must be floating point: quantised, integer and complex "
                "weights are not supported; save the weights from before the conversion"
            )
        if not (value if counter else value.to(mine.dtype)).isfinite().all():
            raise ValueError(
                f"{source}: {name} has NaN or infinite values: the training diverged, or the file is damaged"
            )


def _common_prefix(names: Collection[str]) -> str | None:
    return next((p for p in PREFIXES if names and all(n.startswith(p) for n in names)), None)


def _state_dicts(content: Any, key: str = "", depth: int = 0) -> dict[str, Mapping[str, Tensor]]:
    """All state dicts in nested dicts with string keys, by their keys joined by dots."""
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
        return f"NumPy arrays ({arrays[0]}, …): convert them with torch.from_numpy"
    others = {k: type(v).__name__ for k, v in content.items() if not isinstance(v, Tensor)}
    shown = ", ".join(f"{name!r} ({kind})" for name, kind in list(others.items())[:4])
    return f"a dict with {shown}{', …' if len(others) > 4 else ''}"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading this file needs the package safetensors: pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except Exception as error:
        raise ValueError(f"{path}: damaged, or not a weights file ({first_line(error)})") from error


def _is_safetensors(head: bytes) -> bool:
    """Whether the first eight bytes are the length of the JSON that follows."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _other_file(path: Path, head: bytes) -> str:
    """Describe a file that does not hold weights and how to fix it; "" if it may hold weights."""
    start = head.lstrip().lower()
    if not head:
        return "the file is empty: a download or a save was interrupted; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights: run git lfs pull"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "an HTML page, not weights: the download failed; download the file itself"
    if head.startswith(b"\x89HDF"):
        return "a Keras file (HDF5), not a PyTorch file: convert the weights first"
    if head.startswith(b"\x1f\x8b"):
        return "compressed with gzip: unpack it first"
    if re.search(r"\.data-\d+-of-\d+$|\.ckpt(-\d+)?\.(index|meta)$|\.pb$", path.name):
        return "a TensorFlow checkpoint, not a PyTorch file: convert the weights first"
    if head.startswith(b"PK"):
        return _other_archive(path)
    if not _is_safetensors(head) and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "a text file, not weights"
    return ""


def _other_archive(path: Path) -> str:
    """The same for a zip file; a damaged one may have held weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return ""
    if "constants.pkl" in names:
        return (
            "a TorchScript archive: save its weights with "
            "torch.save(torch.jit.load(FILE).state_dict(), …)"
        )
    if any("exported_program" in name or "archive_format" in name for name in names):
        return "a torch.export program: save the network's state_dict() instead"
    if "data.pkl" in names:
        return ""
    if any(name.endswith(".npy") for name in names):
        return "NumPy arrays: convert them with torch.from_numpy and save a dict of tensors with torch.save"
    if any(name.endswith(".h5") for name in names):
        return "a Keras file, not a PyTorch file: convert the weights first"
    return "a zip archive that torch.save did not write: unpack it first"


def _what_is_code(path: Path, error: Exception) -> str:
    """Describe what the file holds besides values: a whole network, or other objects."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip file
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
    advice = "load it with the code that saved it, and save the state_dict() instead"
    if any(name.startswith("torch.nn.modules.") for name in names):
        return f"the file holds a whole network, which is code, so it is not loaded: {advice}"
    if names:
        return (
            f"the file holds more than tensors and plain values ({', '.join(names[:3])}), which is code, "
            f"so it is not loaded: {advice}"
        )
    return f"the file holds more than tensors and plain values, or is damaged ({first_line(error)})"


def _at_home(path: Path) -> bool:
    return str(path).startswith("~")
