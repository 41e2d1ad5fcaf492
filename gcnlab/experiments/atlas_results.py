"""What was measured of the fields of all pixels of objects (`gcnlab.experiments.atlases`), its files,
and what they say.

An object's pixels are divided by their *depth*: the distance to the nearest pixel outside of the
object, divided by the largest such distance in the object. It is near 0 at the edge and 1 in the
middle of an object of any size.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gcnlab.experiments.objects import LabelledObject

PARTS = 5
"""Equal parts of the depth, 0 … 0.2, …, 0.8 … 1; the upper end belongs to the part."""

MEASURES = ("right", "coverage", "context", "area", "radius", "offset")
"""What is averaged over the units of a part. right: share whose predicted class is right; coverage:
share of the object in the field's region; context: share of the field outside of the object; area:
share of the image in the region; all in percent. radius: RMS distance of the field from the unit;
offset: distance of its centre from the unit; both in pixels."""

RESAMPLED = 2000
"""Bootstrap samples of a confidence interval."""


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


@dataclass(frozen=True)
class Interval:
    """A mean with the confidence interval of 95 %.

    Attributes:
        mean, low, high: the mean and the ends; NaN if there is no value.
        count: number of values.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def sign(self) -> int:
        """1 or −1 if the interval is above or below zero; 0 if it contains zero."""
        return int(self.low > 0) - int(self.high < 0)


def profile(
    results: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> list[Interval]:
    """The mean of a measure in each part of the depth, over objects whose size, the square root of
    their area, is above `low` and at most `high` pixels. Of each object the mean over the networks.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    return [interval(column) for column in _by_object(results, measure, low, high).T]


def change(
    results: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> Interval:
    """The last part of the depth minus the first: the middle against the edge of the same object.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    found = _by_object(results, measure, low, high)
    return interval(found[:, -1] - found[:, 0])


def gain(
    one: Sequence[AtlasResult],
    other: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> list[Interval]:
    """What another head adds to a measure in each part of the depth, over the same objects.

    Raises:
        ValueError: the networks were measured on different objects.
    """
    _check_same([*one, *other])
    return [interval(column) for column in gains(one, other, measure, low, high).T]


def gains(
    one: Sequence[AtlasResult],
    other: Sequence[AtlasResult],
    measure: str,
    low: int | float = 0,
    high: int | float = float("inf"),
) -> np.ndarray:
    """What another head adds to a measure, (objects, parts); NaN where a part is empty."""
    return _by_object(other, measure, low, high) - _by_object(one, measure, low, high)


def within_images(results: Sequence[AtlasResult], correlation: str) -> Interval:
    """The mean over images of a correlation within an image, of each image the mean over the
    networks in which it exists.

    Args:
        results: the networks, measured on the same images.
        correlation: an attribute of `ImageRanks`, also "at_equal_depth".

    Raises:
        ValueError: the networks were measured on different objects.
    """
    _check_same(results)
    columns = [[getattr(image, correlation) for image in result.images] for result in results]
    return interval(_mean_of_known(np.array(columns, float)))


def interval(values: np.ndarray) -> Interval:
    """The mean of the values that are not NaN, and its interval by the percentile bootstrap."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(0)
    means = known[rng.integers(0, len(known), (RESAMPLED, len(known)))].mean(1)
    return Interval(known.mean().item(), *np.percentile(means, (2.5, 97.5)).tolist(), len(known))


def read_atlases(path: str | Path) -> AtlasResult:
    """Read a file that `python -m gcnlab.experiments.atlases` wrote.

    Raises:
        ValueError: the file is damaged, or has other contents; the message names it.
    """
    try:
        values = json.loads(Path(path).read_text())
        objects = tuple(_object(item) for item in values["objects"])
        images = tuple(
            ImageRanks(**{name: _number(value) for name, value in image.items()})
            for image in values["images"]
        )
        return AtlasResult(values["network"], values["seed"], objects, images)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged or not a result of atlases ({error!r})") from error


def as_json(result: AtlasResult) -> dict[str, Any]:
    """The objects and images as values of JSON, with numbers of four digits."""
    return {
        "objects": [_rounded(asdict(item)) for item in result.objects],
        "images": [_rounded(asdict(item)) for item in result.images],
    }


def _by_object(
    results: Sequence[AtlasResult], measure: str, low: int | float, high: int | float
) -> np.ndarray:
    """(objects, parts)"""
    _check_same(results)
    if measure not in MEASURES:
        raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(MEASURES)}")
    chosen = [
        [o.measures[measure] for o in result.objects if low < o.item.size <= high]
        for result in results
    ]
    return _mean_of_known(np.array(chosen, float).reshape(len(results), -1, PARTS))


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of the values that are not NaN; NaN if there is none."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check_same(results: Sequence[AtlasResult]) -> None:
    for result in results[1:]:
        if [o.item for o in result.objects] != [o.item for o in results[0].objects]:
            raise ValueError(
                f"{result.network} and {results[0].network} were measured on different objects: "
                "measure them with the same settings"
            )


def _object(values: dict[str, Any]) -> ObjectParts:
    item = LabelledObject(**{**values["item"], "pixel": tuple(values["item"]["pixel"])})
    measures = {name: tuple(map(_number, values["measures"][name])) for name in MEASURES}
    return ObjectParts(item, tuple(values["units"]), measures)


def _number(value: int | float | None) -> int | float:
    return float("nan") if value is None else value


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
