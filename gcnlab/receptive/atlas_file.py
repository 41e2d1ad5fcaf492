"""One file with the numbers of an atlas: a safetensors file, which can hold tensors and text only.

The tensors are those of `AtlasTable`; everything else is in one JSON entry of the file's metadata.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gcnlab.annotations import Tensor
from gcnlab.arguments import first_line
from gcnlab.receptive.atlas_table import AtlasTable, kept_units
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.settings import AtlasSettings

FORMAT = "gcnlab field atlas 1"
"""Name and version of the format, in the metadata."""

TENSORS = ("values", "scale", "score", "predicted", "done")


def save_table(table: AtlasTable, path: str | Path) -> None:
    """Write a table to a file. An existing file is replaced when the new one is complete.

    Raises:
        ModuleNotFoundError: the package safetensors is not installed.
    """
    save_file, path = _package(path).torch.save_file, Path(path)
    facts = {
        "settings": asdict(table.settings),
        "image_size": table.image_size,
        "map_size": table.map_size,
        "image_hash": table.image_hash,
        "note": table.note,
    }
    tensors = {name: getattr(table, name).contiguous() for name in TENSORS}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(tensors, temporary, {"format": FORMAT, "atlas": json.dumps(facts)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_table(path: str | Path) -> AtlasTable:
    """Read a table.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the package safetensors is not installed.
        ValueError: the file is damaged, or it is not an atlas; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    safe_open = _package(path).safe_open
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the package raises its own types
        raise ValueError(f"{path}: damaged, or not an atlas ({first_line(error)})") from error
    found = facts.get("format", "")
    if not found.startswith("gcnlab field atlas"):
        raise ValueError(f"{path}: a safetensors file, but not an atlas of FieldAtlas.save")
    if found != FORMAT:
        raise ValueError(f"{path}: has the format {found!r}, but this version reads {FORMAT!r}")
    try:
        return _table(json.loads(facts["atlas"]), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: a damaged atlas ({first_line(error)})") from error


def _table(facts: dict[str, Any], tensors: dict[str, Tensor]) -> AtlasTable:
    """The table of a file's content.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or does not fit the rest.
    """
    # JSON has lists, not tuples.
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["settings"].items()}
    settings = AtlasSettings(**settings)
    image_size, map_size = tuple(facts["image_size"]), tuple(facts["map_size"])
    grid = OcclusionGrid(image_size, settings.window, settings.stride)
    units = tuple(map(len, kept_units(settings.every, image_size, map_size)))
    targets = len(settings.target) if isinstance(settings.target, tuple) else 1
    shapes = {
        "values": (targets, *units, *grid.shape),
        "scale": (targets, *units),
        "score": (targets, *units),
        "predicted": units,
        "done": grid.shape,
    }
    kinds = {
        "values": (torch.float32, torch.float16, torch.int8),
        "scale": (torch.float32,),
        "score": (torch.float32,),
        "predicted": (torch.int64,),
        "done": (torch.bool,),
    }
    for name in TENSORS:
        tensor = tensors[name]
        if tuple(tensor.shape) != shapes[name] or tensor.dtype not in kinds[name]:
            raise ValueError(
                f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, not {shapes[name]}"
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite")
    if (tensors["predicted"] < 0).any():
        raise ValueError("predicted has negative class ids")
    return AtlasTable(
        settings=settings,
        image_size=image_size,
        map_size=map_size,
        image_hash=str(facts["image_hash"]),
        note=str(facts["note"]),
        **{name: tensors[name] for name in TENSORS},
    )


def _package(path: str | Path) -> Any:
    try:
        import safetensors.torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: an atlas is a file of the package safetensors: pip install safetensors"
        ) from error
    return safetensors
