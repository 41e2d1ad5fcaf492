"""What the explorers ask: the settings of a question, each of which a control can change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gcnlab.arguments import Pixel, Whole, items, pixel_of, shown, whole
from gcnlab.receptive.settings import QUANTITIES, fill_of, region_rule
from gcnlab.widgets.atlases import Occluder
from gcnlab.widgets.painting import VIEWS

METHODS = {
    "exact": "valid",
    "drilldown": "valid, drill-down",
    "gradient": "gradient",
    "integrated": "integrated gradients",
    "captum": "occlusion (Captum)",
    "theoretical": "theoretical",
}
"""Method → its name in the menu."""
SUITED = "suited"
"""Name of the setting that shows each method in the view that suits it."""
SUITED_VIEWS = {"gradient": "heat", "integrated": "heat", "theoretical": "contour"}
"""Method → the view that suits it, if it is not the region. A gradient has no region worth its name: it
is large at single pixels all over the image."""


@dataclass(frozen=True)
class Question:
    """The settings of the explorer; each control is one field.

    Attributes:
        pixel: (row, column) in the image; it selects the unit whose area contains it.
        method: "exact" or "drilldown" for the valid receptive field, "gradient", "integrated" or
            "captum" (see `gcnlab.receptive.attribution`), "theoretical"; or several of them, each of
            which gets a row of pictures.
        target: class id; None means the class that each model predicts for the pixel. Of a hidden
            layer: the channel, or the one with the largest activation.
        window, stride: side of the occluder and distance between its positions, in pixels.
        threshold, rule: definition of the region (see `gcnlab.receptive.regions`); by default the
            smallest that holds 80 % of the mass.
        quantity: what an occlusion measures: "logit", "margin" or "probability".
        fill: value of the occluder, in the units of the image, or one of `FILLS`. It is also the
            baseline of integrated gradients.
        agreement: the agreement at which drill-down stops, in (0, 1].
        view: "region", "contour", "heat", "prediction", or "suited" to the method.
        image_index: index of the image, from 0.
        layer: path of the submodule whose units are asked for; None means the logits.

    Raises:
        ValueError: the method or view is unknown, or a hidden layer is asked for a margin or a
            probability. The valid range of the other values depends on the image and the model; a
            value out of range gives an error when the question is answered.
    """

    pixel: Pixel
    # The errors of `_convert` say what is wrong with values of another type.
    method: str | tuple[str, ...] | Any = "exact"
    target: Whole | None = None
    window: Whole = 32
    stride: Whole = 16
    threshold: int | float | None = None
    rule: str | None = None
    fill: int | float | str | Any = 0.0
    agreement: int | float = 0.95
    view: str = SUITED
    quantity: str = "logit"
    image_index: Whole = 0
    layer: str | Any | None = None

    def __post_init__(self):
        self._convert()
        self._complete_region()
        asked = [("method", method, METHODS) for method in self.methods]
        asked += [("view", self.view, (SUITED, *VIEWS)), ("quantity", self.quantity, QUANTITIES)]
        for name, value, known in asked:
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose {', '.join(known)}")
        if len(set(self.methods)) < max(1, len(self.methods)):
            raise ValueError(f"method must name one or more different methods, not {self.method}")
        if self.layer is not None and self.quantity != "logit":
            raise ValueError(f"a hidden layer has no {self.quantity}: set quantity to 'logit'")

    @property
    def occluder(self) -> Occluder:
        """What an atlas measures to answer the question."""
        return Occluder(self.window, self.stride, self.fill, self.target)

    def in_atlas(self, method: str) -> bool:
        """Whether an atlas answers the question by this method, for all pixels at once."""
        return method == "exact" and self.quantity == "logit"

    @property
    def computed(self) -> "Question":
        """The question without what needs no computation: two questions with the same one have the
        same fields."""
        question = replace(self, view=SUITED)
        if "drilldown" not in self.methods:  # it follows the edge of the region
            question = replace(question, threshold=None, rule=None)
        if all(map(self.in_atlas, self.methods)):
            question = replace(question, pixel=(0, 0))
        return question

    def view_of(self, method: str) -> str:
        """The view in which a method is shown."""
        return SUITED_VIEWS.get(method, "region") if self.view == SUITED else self.view

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order of the rows."""
        return (self.method,) if isinstance(self.method, str) else tuple(self.method)

    def _convert(self) -> None:
        """Convert all values to those of Python, which JSON can hold.

        Raises:
            ValueError: a value has another type.
        """
        values = {
            "pixel": pixel_of(self.pixel),
            "window": whole("window", self.window, 1),
            "stride": whole("stride", self.stride, 1),
            "fill": fill_of(self.fill),
            "image_index": whole("image_index", self.image_index, 0),
        }
        if self.target is not None:
            values["target"] = whole("target", self.target, 0)
        if self.layer is not None and not isinstance(self.layer, str):
            raise ValueError(f"layer must be the path of a submodule, not {shown(self.layer)}")
        methods = items(self.method)
        if methods is not None:  # as JSON holds several
            values["method"] = methods[0] if len(methods) == 1 else tuple(methods)
        if not all(isinstance(method, str) for method in methods or [self.method]):
            raise ValueError(
                f"method must name one or more different methods, not {shown(self.method)}"
            )
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _complete_region(self) -> None:
        """Set what is None of threshold and rule; a value out of its range is left for the answer,
        whose error the explorer shows."""
        try:
            threshold, rule = region_rule(self.threshold, self.rule)
        except ValueError:
            return
        object.__setattr__(self, "threshold", threshold)
        object.__setattr__(self, "rule", rule)


def target_id(target: Whole | str | None, names: Sequence[str]) -> int | None:
    """Convert the id or the name of a class to its id.

    Raises:
        ValueError: no class has this name, or the id is not an integer.
    """
    if target is None:
        return None
    if not isinstance(target, str):
        return whole("target", target, 0)
    if target not in names:
        known = (
            f"choose {', '.join(names)}" if names else "give its id, because the names are unknown"
        )
        raise ValueError(f"unknown class {target!r}; {known}")
    return names.index(target)
