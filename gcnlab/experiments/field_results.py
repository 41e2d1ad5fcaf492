"""What was measured of many objects' fields (`gcnlab.experiments.fields`), and its files.

Reading a result needs no PyTorch model and no data set.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gcnlab.experiments.json_numbers import number, rounded
from gcnlab.experiments.objects import LabelledObject

RULES = {"mass": 0.8, "maximum": 0.2}
"""Rule of a region → its threshold."""

MEASURES = ("radius", *(f"{name}_{rule}" for rule in RULES for name in ("area", "coverage")))
"""What is read off a field: the radius in pixels; the share of the image, and of the object, inside
the region of each rule, in percent."""

Numbers = tuple[float, float]
"""A measure of the field of all windows, and of all but the one with the largest drop."""


@dataclass(frozen=True)
class ObjectField:
    """One object, as one network sees it.

    Attributes:
        item: the object.
        right: the network's class at the object's pixel is the object's.
        inside: share of the object's pixels more than 7 px from a boundary with the right class,
            in percent.
        iou: intersection over union of the object and the pixels predicted as its class, in
            percent. Other objects of the class, and void, are left out.
        measures: side of the window, in pixels → quantity → measure → numbers. A number is NaN if
            the field is zero. Empty if only the predictions were scored.
    """

    item: LabelledObject
    right: bool
    inside: float
    iou: float
    measures: dict[int, dict[str, dict[str, Numbers]]]


@dataclass(frozen=True)
class FieldResult:
    """The fields of many objects under one network.

    Attributes:
        network: name of the run, such as "gcn7-seed0".
        seed: seed of the run.
        objects: the objects.
        lengths: the lengths at which each object is shown, in pixels, one after the other; () if
            the objects are as they are in their images.
    """

    network: str
    seed: int
    objects: tuple[ObjectField, ...]
    lengths: tuple[int, ...] = ()

    @property
    def head(self) -> str:
        """The name of the run without its seed: "gcn7"."""
        return self.network.removesuffix(f"-seed{self.seed}")


def as_json(objects: list[ObjectField]) -> list[dict[str, Any]]:
    """The objects as values of JSON, with numbers of five digits."""
    return [rounded(asdict(item), 5) for item in objects]


def read_fields(path: str | Path) -> FieldResult:
    """Read a file that `python -m gcnlab.experiments.fields` wrote.

    Raises:
        ValueError: the file is damaged, or has other contents; the message names it.
    """
    try:
        values = json.loads(Path(path).read_text())
        objects = tuple(_object(item) for item in values["objects"])
        lengths = tuple(values["settings"].get("lengths", ()))  # older results have none
        return FieldResult(values["network"], values["seed"], objects, lengths)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged or not a result of fields ({error!r})") from error


def _object(values: dict[str, Any]) -> ObjectField:
    item = LabelledObject(**{**values["item"], "pixel": tuple(values["item"]["pixel"])})
    read = {
        int(side): {
            quantity: {name: tuple(map(number, pair)) for name, pair in one.items()}
            for quantity, one in by_quantity.items()
        }
        for side, by_quantity in values["measures"].items()
    }
    inside = number(values["inside"])
    return ObjectField(item, values["right"], inside, number(values["iou"]), read)
