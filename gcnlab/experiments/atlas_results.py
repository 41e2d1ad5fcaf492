"""What was measured of the fields of all pixels of objects (`gcnlab.experiments.atlases`), and its
files.

An object's pixels are divided by their *depth*: the distance to the nearest pixel outside of the
object, divided by the largest such distance in the object. It is near 0 at the edge and 1 in the
middle of an object of any size.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gcnlab.experiments.json_numbers import number, rounded
from gcnlab.experiments.objects import LabelledObject

PARTS = 5
"""Equal parts of the depth, 0 … 0.2, …, 0.8 … 1; the upper end belongs to the part."""

MEASURES = ("right", "coverage", "context", "area", "radius", "offset")
"""What is averaged over the units of a part. right: share whose predicted class is right; coverage:
share of the object in the field's region; context: share of the field outside of the object; area:
share of the image in the region; all in percent. radius: RMS distance of the field from the unit;
offset: distance of its centre from the unit; both in pixels."""


@dataclass(frozen=True)
class ObjectParts:
    """One object, as one network sees it.

    Attributes:
        item: the object.
        units: number of units in each part of the depth.
        measures: measure → its mean in each part; NaN where there is no unit with a value.
    """

    item: LabelledObject
    units: tuple[int, ...]
    measures: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class ImageRanks:
    """Spearman's rank correlations over the units on the objects of one image. NaN if one of the
    two is constant.

    Attributes:
        image: index of the image in its data set.
        units: number of units.
        coverage_right: of coverage with being right.
        coverage_depth: of coverage with the depth.
        right_depth: of being right with the depth.
    """

    image: int
    units: int
    coverage_right: float
    coverage_depth: float
    right_depth: float

    @property
    def at_equal_depth(self) -> float:
        """The partial rank correlation of coverage with being right, the depth held fixed; NaN if
        it does not exist."""
        rest = (1 - self.coverage_depth**2) * (1 - self.right_depth**2)
        if not rest > 0:
            return float("nan")
        return (self.coverage_right - self.coverage_depth * self.right_depth) / rest**0.5


Measured = tuple[list[ObjectParts], ImageRanks]
"""The objects of one image, and the correlations within it."""


@dataclass(frozen=True)
class AtlasResult:
    """The fields of all pixels of objects under one network.

    Attributes:
        network: name of the run, such as "gcn7-seed0".
        seed: seed of the run.
        objects: the objects, image by image.
        images: the correlations within each image.
    """

    network: str
    seed: int
    objects: tuple[ObjectParts, ...]
    images: tuple[ImageRanks, ...]

    @property
    def head(self) -> str:
        """The name of the run without its seed: "gcn7"."""
        return self.network.removesuffix(f"-seed{self.seed}")


def read_atlases(path: str | Path) -> AtlasResult:
    """Read a file that `python -m gcnlab.experiments.atlases` wrote.

    Raises:
        ValueError: the file is damaged, or has other contents; the message names it.
    """
    try:
        values = json.loads(Path(path).read_text())
        objects = tuple(_object(item) for item in values["objects"])
        images = tuple(
            ImageRanks(**{name: number(value) for name, value in image.items()})
            for image in values["images"]
        )
        return AtlasResult(values["network"], values["seed"], objects, images)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged or not a result of atlases ({error!r})") from error


def as_json(result: AtlasResult) -> dict[str, Any]:
    """The objects and images as values of JSON, with numbers of four digits."""
    return {
        "objects": [rounded(asdict(item), 4) for item in result.objects],
        "images": [rounded(asdict(item), 4) for item in result.images],
    }


def _object(values: dict[str, Any]) -> ObjectParts:
    item = LabelledObject(**{**values["item"], "pixel": tuple(values["item"]["pixel"])})
    measures = {name: tuple(map(number, values["measures"][name])) for name in MEASURES}
    return ObjectParts(item, tuple(values["units"]), measures)
