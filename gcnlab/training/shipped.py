"""Trained networks that were given away: weights alone, at half precision, and a card that says what they are.

A shipped network is a folder with `weights.safetensors` (a format that holds numbers and nothing else) and
`card.json` (task, settings, scores, where it comes from), written by `ship`. `load_run` and `load_classifier` read
it as they read a run; `model.weights` takes a classifier's weights.safetensors.
"""

import json
from pathlib import Path
from typing import Any

import torch

from gcnlab.models.weights import read_state_dict

WEIGHTS = "weights.safetensors"
CARD = "card.json"


def load_shipped(folder: Path) -> dict[str, Any]:
    """What `ship` wrote, in the form of a checkpoint: config, model, losses (none) and seconds.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    card = read_json(folder / CARD)
    weights = read_state_dict(folder / WEIGHTS)
    model = {n: v.float() if v.is_floating_point() else v for n, v in weights.items()}
    try:
        return {
            "task": card.get("task", "segmentation"),  # older cards are all of segmentation
            "config": card["settings"],
            "model": model,
            "losses": torch.zeros(0),
            "seconds": card["seconds"],
        }
    except KeyError as error:
        raise ValueError(f"{folder / CARD}: not a card, without {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A finished run's or a shipped network's file.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the run is not finished, or is no run")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
