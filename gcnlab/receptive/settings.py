"""Settings of an occlusion: the occluder, its positions, the method and the region.

This module imports no PyTorch, so that the command line can show the settings at once.
"""

from dataclasses import dataclass
from typing import Any, Literal

from gcnlab.arguments import number, pair, shown, whole

Method = Literal["exact", "drilldown", "plain"]
METHODS = ("exact", "drilldown", "plain")
Rule = Literal["maximum", "mass"]
RULES = ("maximum", "mass")
Quantity = Literal["logit", "margin", "probability"]
QUANTITIES = ("logit", "margin", "probability")


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
    fill: int | float = 0.0
    """Value of the occluder in every channel of the normalised image; 0 is the mean colour."""
    method: Method = "exact"
    """exact: every position, computed from the activations of the clean image; drilldown: only the
    positions on which the region's edge depends, the others interpolated; plain: run the whole
    network for every position."""
    agreement: int | float = 0.95
    """For drilldown: the intersection over union with the region of all positions to reach, in (0,
    1]."""
    threshold: int | float = 0.2
    """Size of the region, in (0, 1]; its meaning depends on the rule."""
    rule: Rule = "maximum"
    """maximum: the region where the absolute discrepancy is at least threshold × its maximum; mass:
    the smallest region that holds that share of the sum of the absolute discrepancy."""
    quantity: Quantity = "logit"
    """What is measured at the unit. logit: the logit of the class; margin: its difference to the
    largest logit of another class; probability: its softmax probability."""
    batch_size: int = 16
    """Largest number of occluded images per batch."""

    def __post_init__(self):
        values = {
            "window": pair("window", self.window, 1),
            "stride": pair("stride", self.stride, 1),
            "fill": _fill(self.fill),
            "agreement": fraction("agreement", self.agreement),
            "threshold": fraction("threshold", self.threshold),
            "batch_size": whole("batch_size", self.batch_size, 1),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen
        known = (("method", METHODS), ("rule", RULES), ("quantity", QUANTITIES))
        for name, choices in known:
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"unknown {name} {shown(value)}; choose {', '.join(choices)}")


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: `value` is not a number in (0, 1].
    """
    share = number(name, value)
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be in (0, 1], not {share}")
    return float(share)


def _fill(value: Any) -> float:
    fill = number("fill", value)
    if isinstance(fill, int) and abs(fill) > 1e38:
        raise ValueError("fill must be a number that an image can hold, up to 1e38")
    return float(fill)
