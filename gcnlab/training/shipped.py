"""Trained networks to give away: weights alone, at half precision, and a card that says what they are.

A shipped network is a folder with `weights.safetensors` (a format that holds numbers and nothing else) and
`card.json` (settings, scores, where it comes from). `load_run` reads it as it reads a run.
"""

import json
from pathlib import Path
from typing import Any

import torch

from gcnlab.provenance import write_json
from gcnlab.training.checkpoint import CHECKPOINT, load_checkpoint
from gcnlab.training.config import RunConfig

WEIGHTS = "weights.safetensors"
CARD = "card.json"
RESULT = "result.json"


def ship(run: str | Path, out: str | Path) -> Path:
    """Write the network of a finished run to `out`, as weights and a card.

    The weights are rounded to half precision; the card's scores are those of the run.

    Args:
        run: folder that `gcnlab train` wrote, with checkpoint.pt and result.json.
        out: new folder, or one to replace.

    Raises:
        FileNotFoundError, ValueError: naming the folder or the file: the run is not whole, not finished, not of
            segmentation, or its result is of other settings than its checkpoint.
    """
    from safetensors.torch import save_file

    run, out = Path(run), Path(out)
    state = load_checkpoint(run / CHECKPOINT)
    _check_finished(run, state)
    result = _read_json(run / RESULT)
    _check_same_settings(run, state, result)
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


def _check_finished(run: Path, state: dict[str, Any]) -> None:
    task = state.get("task", RunConfig.task)  # older checkpoints are all of segmentation
    if task != RunConfig.task:
        raise ValueError(
            f"{run}: a run of {task}; networks of {RunConfig.task} alone are shipped. A classifier's weights to give "
            f"away are in its {WEIGHTS}"
        )
    step, steps = state["step"], state.get("steps", state["step"])
    if step != steps:
        raise ValueError(
            f"{run}: not finished, its checkpoint is of step {step} of {steps}. Train it to the end first"
        )


def _check_same_settings(run: Path, state: dict[str, Any], result: dict[str, Any]) -> None:
    if missing := {"what", "scores", "settings", "provenance"} - result.keys():
        raise ValueError(f"{run / RESULT}: not a result, without {', '.join(sorted(missing))}")
    try:
        trained, scored = (RunConfig.from_dict(v) for v in (state["config"], result["settings"]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run}: settings that this version does not know ({error})") from error
    if trained != scored:
        raise ValueError(
            f"{run}: {RESULT} is of a run with other settings than {CHECKPOINT}. Give the command that trained the "
            "checkpoint again: it writes the result anew"
        )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: the run is not finished, or is no run")
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
