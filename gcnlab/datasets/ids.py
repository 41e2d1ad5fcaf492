"""Checks of class ids in label maps and predictions."""

from collections.abc import Iterable
from pathlib import Path

import torch

from gcnlab.annotations import Tensor
from gcnlab.datasets.labels import IGNORE


def check_integers(ids: Tensor, what: str) -> None:
    """Raise ValueError, naming `what` ("labels"), unless the ids are integers: not logits, not a
    mask.
    """
    if ids.dtype == torch.bool:
        raise ValueError(f"{what} must be class ids, not a mask of bools: convert it with .long()")
    if ids.is_floating_point() or ids.is_complex():
        kind = str(ids.dtype).removeprefix("torch.")
        raise ValueError(
            f"{what} must be class ids, not {kind}: use argmax(1) of logits, or .long() of ids"
        )


def check_ids(ids: Tensor, num_classes: int | None, what: str, void: int | None = None) -> None:
    """Raise ValueError unless all ids are classes or void.

    Args:
        ids: class ids, of any shape.
        num_classes: classes are 0 … num_classes − 1; None allows all from 0 on.
        what: the name of the ids in the message: "labels", "predictions".
        void: an id that is allowed besides the classes.
    """
    check_integers(ids, what)
    if wrong := _strange(ids, num_classes, void):
        classes = "0 or more" if num_classes is None else f"0 … {num_classes - 1}"
        also = "" if void is None else f", void is {void}"
        raise ValueError(f"{what} contain ids [{_some(wrong)}]: classes are {classes}{also}")


def scored_ids(
    predictions: Tensor, labels: Tensor, num_classes: int, void: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Select the pixels that a score counts: those whose label is not void.

    Predictions on void are not checked.

    Returns:
        The mask of these pixels, and their predictions and labels, int64.

    Raises:
        ValueError: the shapes differ, an id is out of range, or an argument does not hold ids.
    """
    if predictions.shape != labels.shape:
        raise ValueError(
            f"predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} must have the same shape"
        )
    check_integers(labels, "labels")
    check_integers(predictions, "predictions")
    valid = labels.to(torch.int64) != void
    true = labels[valid].to(torch.int64)
    predicted = predictions[valid].to(device=true.device, dtype=torch.int64)
    check_ids(true, num_classes, "labels")
    check_ids(predicted, num_classes, "predictions")
    return valid, predicted, true


def check_labels(labels: Tensor, num_classes: int, source: str | Path) -> None:
    """Raise ValueError, naming the file `source`, if a label is neither a class id nor void (255)."""
    labels = torch.as_tensor(labels)
    check_integers(labels, f"{source}: labels")
    if wrong := _strange(labels, num_classes, IGNORE):
        raise ValueError(
            f"{source}: label ids {_some(wrong)} are out of range: "
            f"classes are 0 … {num_classes - 1}, void is {IGNORE}"
        )


def _strange(ids: Tensor, num_classes: int | None, void: int | None) -> list[int]:
    """The sorted unique ids that are neither classes nor void."""
    if ids.numel() == 0:
        return []
    if ids.dtype == torch.uint8:
        # In a byte, void (255) plus one is 0, so the largest id alone shows that all ids are valid.
        least, most = 0, int((ids + 1).max()) - 1 if void == IGNORE else int(ids.max())
    else:
        ids = ids.to(torch.int64)  # larger unsigned types do not support comparison
        least, most = (int(end) for end in ids.aminmax())
    if least >= 0 and (num_classes is None or most < num_classes):
        return []
    ids = ids.to(torch.int64)
    strange = ids < 0
    if num_classes is not None:
        strange |= ids >= num_classes
    if void is not None:
        strange &= ids != void
    return ids[strange].unique().tolist()


def _some(items: Iterable[int], at_most: int = 5) -> str:
    items = [str(item) for item in items]
    return ", ".join(items[:at_most]) + (", …" if len(items) > at_most else "")
