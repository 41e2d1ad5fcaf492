"""Settings of an occlusion: the occluder, its positions, the method and the region.

This module imports no PyTorch, so that the command line can show the settings at once.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from gcnlab.arguments import finite, items, number, pair, shown, whole

Method = Literal["exact", "drilldown", "plain"]
METHODS = ("exact", "drilldown", "plain")
Rule = Literal["maximum", "mass"]
RULES = ("maximum", "mass")
DEFAULT_RULE = "mass"
THRESHOLDS = {"maximum": 0.2, "mass": 0.8}
"""Rule → its threshold, where none is given."""
Quantity = Literal["logit", "margin", "probability"]
QUANTITIES = ("logit", "margin", "probability")
Precision = Literal["float32", "float16", "int8"]
PRECISIONS = ("float32", "float16", "int8")
FillName = Literal["mean", "blur", "noise"]
FILLS = get_args(FillName)
"""Fills of the occluder that are made of the image (`gcnlab.receptive.fills`)."""
EVERY = (1, 2, 4, 8)
"""Distances, in pixels, between the units that an atlas can keep."""


@dataclass(frozen=True)
class OcclusionSettings:
    """How a valid receptive field is measured.

    Raises:
        ValueError: a value is out of its range. Whether the window fits the image is checked later.
    """

    window: int | tuple[int, int] = 32
    """Side of the occluder, or its height and width, in pixels; at most the image's."""
    stride: int | tuple[int, int] = 16
    """Distance between neighbouring positions of the occluder, or the distances along rows and
    columns, in pixels; at most the occluder's side."""
    fill: int | float | FillName = 0.0
    """What the occluder shows. A number: this value in every channel of the normalised image, where
    0 is the mean colour of the data set; mean: the mean colour of the image; blur: the image
    without its details; noise: random pixels with the image's mean and standard deviation."""
    method: Method = "exact"
    """exact: every position, computed from the activations of the clean image; drilldown: only the
    positions on which the region's edge depends, the others interpolated; plain: run the whole
    network for every position."""
    agreement: int | float = 0.95
    """For drilldown: the intersection over union with the region of all positions to reach, in (0,
    1]."""
    threshold: int | float | None = None
    """Size of the region, in (0, 1]; its meaning depends on the rule. Default: 0.8 of the mass, or
    0.2 of the maximum."""
    rule: Rule | None = None
    """mass: the smallest region that holds a share `threshold` of the sum of the absolute
    discrepancy; maximum: the region where it is at least threshold × its maximum. Default: mass,
    or maximum if only a threshold is given."""
    quantity: Quantity = "logit"
    """What is measured at the unit. logit: the logit of the class; margin: its difference to the
    largest logit of another class; probability: its softmax probability."""
    batch_size: int = 16
    """Largest number of occluded images per batch."""

    def __post_init__(self):
        values = {
            "window": pair("window", self.window, 1),
            "stride": pair("stride", self.stride, 1),
            "fill": fill_of(self.fill),
            "agreement": fraction("agreement", self.agreement),
            "batch_size": whole("batch_size", self.batch_size, 1),
        }
        region_rule(self.threshold, self.rule)  # raises an error if one is out of its range
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
        for name, choices in (("method", METHODS), ("quantity", QUANTITIES)):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {shown(value)}; choose {', '.join(choices)}")

    @property
    def region(self) -> tuple[float, str]:
        """Threshold and rule of the region; the defaults where they are None."""
        return region_rule(self.threshold, self.rule)


@dataclass(frozen=True)
class AtlasSettings:
    """Which valid fields an atlas holds, and how they are measured and stored.

    Raises:
        ValueError: a value is out of its range. Whether the window fits the image, and the target
            the network's classes, is checked later.
    """

    window: int | tuple[int, int] = 32
    """Side of the occluder, or its height and width, in pixels; at most the image's."""
    stride: int | tuple[int, int] = 16
    """Distance between neighbouring positions of the occluder, or the distances along rows and
    columns, in pixels; at most the occluder's side."""
    fill: int | float | FillName = 0.0
    """What the occluder shows. A number: this value in every channel of the normalised image, where
    0 is the mean colour of the data set; mean: the mean colour of the image; blur: the image
    without its details; noise: random pixels with the image's mean and standard deviation."""
    target: int | tuple[int, ...] | None = None
    """Class whose logit is measured at every unit, or several classes; None: at each unit the class
    that is predicted there."""
    every: int = 4
    """Distance between the units that are kept, in pixels along rows and columns: 1, 2, 4 or 8."""
    precision: Precision = "float32"
    """How a complete atlas stores the drops. float32: as computed; float16: with an error of at
    most 1/2048, int8: of at most 1/127 of the largest drop of the same unit and class."""

    def __post_init__(self):
        target, several = self.target, items(self.target)
        if several is not None:
            target = tuple(whole("target", one) for one in several)
            if not target or len(set(target)) < len(target):
                raise ValueError(
                    f"target must be one or more different class ids, not {shown(self.target)}"
                )
        elif target is not None:
            target = whole("target", target)
        values = {
            "window": pair("window", self.window, 1),
            "stride": pair("stride", self.stride, 1),
            "fill": fill_of(self.fill),
            "target": target,
            "every": whole("every", self.every),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
        if self.every not in EVERY:
            raise ValueError(f"every must be 1, 2, 4 or 8 pixels, not {self.every}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"unknown precision {shown(self.precision)}; choose {', '.join(PRECISIONS)}"
            )


def region_rule(threshold: Any = None, rule: Any = None) -> tuple[float, str]:
    """The threshold and the rule of a region, of which one or both may be None.

    Without both, the region is the smallest that holds 80 % of the mass
    (`gcnlab.receptive.regions` says why). A rule alone has its own threshold. A threshold alone is
    a share of the maximum, as in the first versions of gcnlab.

    Raises:
        ValueError: the rule is unknown, or the threshold is not a number in (0, 1].
    """
    if rule is None:
        rule = DEFAULT_RULE if threshold is None else "maximum"
    if rule not in RULES:
        raise ValueError(f"unknown rule {shown(rule)}; choose {' or '.join(RULES)}")
    return fraction("threshold", THRESHOLDS[rule] if threshold is None else threshold), rule


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: `value` is not a number in (0, 1].
    """
    share = number(name, value)
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be in (0, 1], not {share}")
    return float(share)


def fill_of(value: Any, name: str = "fill") -> float | str:
    """Return a fill of the occluder: a number as a float, or one of the names in `FILLS`.

    Args:
        value: the fill.
        name: name of the argument, for errors.

    Raises:
        ValueError: `value` is another name, or a number that no image can hold.
    """
    if isinstance(value, str):
        if value not in FILLS:
            raise ValueError(
                f"unknown {name} {shown(value)}; choose {', '.join(FILLS)}, or a number"
            )
        return str(value)
    fill = finite(name, value)
    if abs(fill) > 1e38:
        raise ValueError(f"{name} must be a number that an image can hold, up to 1e38")
    return fill
