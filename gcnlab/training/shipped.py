"""Trained networks to give away: weights alone, at half precision, and a card that says what they are.

A shipped network is a folder with `weights.safetensors` (a format that holds numbers and nothing else) and
`card.json` (settings, scores, where it comes from). `load_run` reads it as it reads a run.
"""

import json
from pathlib import Path
from typing import Any

import torch

from gcnlab.provenance import write_json
from gcnlab.training.checkpoint import load_checkpoint

WEIGHTS = "weights.safetensors"
CARD = "card.json"


def ship(run: str | Path, out: str | Path) -> Path:
    """Write the network of a finished run to `out`, as weights and a card.

    The weights are rounded to half precision; the card's scores are those of the run.

    Args:
        run: folder that `gcnlab train` wrote, with checkpoint.pt and result.json.
        out: new folder, or one to replace.

    Raises:
        FileNotFoundError, ValueError: naming the file, if the run is not whole.
    """
    from safetensors.torch import save_file

    run, out = Path(run), Path(out)
    state = load_checkpoint(run / "checkpoint.pt")
    result = _read_json(run / "result.json")
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in state["model"].items()
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / WEIGHTS)
    card = {
        "what": result["what"],
        "weights": "half precision; the scores are those before rounding",
        "scores": result["scores"],
        "settings": state["config"],
        "seconds": state["seconds"],
        "provenance": result["provenance"],
    }
    write_json(card, out / CARD)
    return out


def load_shipped(folder: Path) -> dict[str, Any]:
    """What `ship` wrote, in the form of a checkpoint: config, model, losses (none) and seconds.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = _read_json(folder / CARD)
    try:
        weights = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder / WEIGHTS}: damaged or not weights ({error})") from error
    model = {n: v.float() if v.is_floating_point() else v for n, v in weights.items()}
    try:
        return {
            "config": card["settings"],
            "model": model,
            "losses": torch.zeros(0),
            "seconds": card["seconds"],
        }
    except KeyError as error:
        raise ValueError(f"{folder / CARD}: not a card, without {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the run is not finished, or is no run")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
