"""Trained networks to give away, see `gcnlab.training.shipped`."""

from pathlib import Path
from typing import Any

from gcnlab.provenance import write_json
from gcnlab.training.checkpoint import CHECKPOINT, load_checkpoint
from gcnlab.training.config import RunConfig
from gcnlab.training.pretrain import PretrainConfig
from gcnlab.training.runs import config_of
from gcnlab.training.shipped import CARD, WEIGHTS, read_json

RESULT = "result.json"


def ship(run: str | Path, out: str | Path) -> Path:
    """Write the network of a finished run, of segmentation or classification, to `out`: weights and a card.

    The weights are rounded to half precision; the card's scores are those of the run.

    Args:
        run: folder that `gcnlab train` or `gcnlab pretrain` wrote, with checkpoint.pt and result.json.
        out: new folder, or one to replace.

    Raises:
        FileNotFoundError, ValueError: naming the folder or the file: the run is not whole, not finished, or its
            result is of other settings than its checkpoint.
    """
    from safetensors.torch import save_file

    run, out = Path(run), Path(out)
    state = load_checkpoint(run / CHECKPOINT)
    _check_finished(run, state)
    result = read_json(run / RESULT)
    _check_same_settings(run, state, result)
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in state["model"].items()
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / WEIGHTS)
    card = {
        "what": result["what"],
        "task": state.get("task", RunConfig.task),  # older checkpoints are all of segmentation
        "weights": "half precision; the scores are those before rounding",
        "scores": result["scores"],
        "settings": state["config"],
        "seconds": state["seconds"],
        "provenance": result["provenance"],
    }
    write_json(card, out / CARD)
    return out


def _check_finished(run: Path, state: dict[str, Any]) -> None:
    step, steps = state["step"], state.get("steps", state["step"])
    if step != steps:
        raise ValueError(
            f"{run}: not finished, its checkpoint is of step {step} of {steps}. Train it to the end first"
        )


def _check_same_settings(run: Path, state: dict[str, Any], result: dict[str, Any]) -> None:
    if missing := {"what", "scores", "settings", "provenance"} - result.keys():
        raise ValueError(f"{run / RESULT}: not a result, without {', '.join(sorted(missing))}")
    kind = PretrainConfig if state.get("task") == PretrainConfig.task else RunConfig
    trained = config_of(state, kind, run)
    scored = config_of(state | {"config": result["settings"]}, kind, run)
    if trained != scored:
        raise ValueError(
            f"{run}: {RESULT} is of a run with other settings than {CHECKPOINT}. Give the command that trained the "
            "checkpoint again: it writes the result anew"
        )
