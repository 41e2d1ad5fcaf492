"""Checks of class ids in label maps and predictions."""

from collections.abc import Iterable
from pathlib import Path

import torch

from gcnlab.annotations import Tensor
from gcnlab.datasets.labels import IGNORE


def check_integers(ids: Tensor, what: str) -> None:
    """Raise ValueError, naming `what` ("labels"), unless they are whole numbers: neither scores nor a mask."""
    if ids.dtype == torch.bool:
        raise ValueError(f"{what} must be class ids, not a mask of bools: make ids of it, .long()")
    if ids.is_floating_point() or ids.is_complex():
        kind = str(ids.dtype).removeprefix("torch.")
        raise ValueError(
            f"{what} must be class ids, not {kind}: of scores take argmax(1), of ids .long()"
        )


def check_ids(ids: Tensor, num_classes: int | None, what: str, void: int | None = None) -> None:
    """Raise ValueError unless all ids are classes, or void: what every score and picture of label maps asks.

    Args:
        ids: of any shape.
        num_classes: classes are 0 … num_classes − 1; None: 0 or more.
        what: they are, in the message: "labels", "predictions".
        void: an id that may be there too.
    """
    check_integers(ids, what)
    if wrong := _strange(ids, num_classes, void):
        classes = "0 or more" if num_classes is None else f"0 … {num_classes - 1}"
        also = "" if void is None else f", void is {void}"
        raise ValueError(f"{what} hold ids [{_some(wrong)}]: classes are {classes}{also}")


def scored_ids(
    predictions: Tensor, labels: Tensor, num_classes: int, void: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What a score counts of predicted ids and labels: (where there is a label, the predictions there, the labels).

    What is predicted on void is not looked at.

    Returns:
        A mask of the arguments' shape, and two lists of classes, int64.

    Raises:
        ValueError: shapes differ, an id is out of range, or they are no ids.
    """
    if predictions.shape != labels.shape:
        raise ValueError(
            f"predictions {tuple(predictions.shape)} and labels {tuple(labels.shape)} differ in shape"
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
    """Raise ValueError, naming `source` (a file), if a label is neither a class id nor void (255)."""
    labels = torch.as_tensor(labels)
    check_integers(labels, f"{source}: labels")
    if wrong := _strange(labels, num_classes, IGNORE):
        raise ValueError(
            f"{source}: label ids {_some(wrong)} are out of range: "
            f"classes are 0 … {num_classes - 1}, void is {IGNORE}"
        )


def _strange(ids: Tensor, num_classes: int | None, void: int | None) -> list[int]:
    """The ids that are neither classes nor void, in order, each once."""
    if ids.numel() == 0:
        return []
    if ids.dtype == torch.uint8:
        # In a byte, one more than void (255) is 0: one look at the largest tells that all is well.
        least, most = 0, int((ids + 1).max()) - 1 if void == IGNORE else int(ids.max())
    else:
        ids = ids.to(torch.int64)  # unsigned types of more bits cannot be compared
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
