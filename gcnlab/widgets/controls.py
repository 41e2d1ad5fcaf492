"""The controls of the explorer: each control is one field of the question."""

from collections.abc import Callable

import ipywidgets

from gcnlab.receptive.settings import QUANTITIES
from gcnlab.widgets.painting import VIEWS
from gcnlab.widgets.session import METHODS, Question

PREDICTED = -1
"""Stands for None, which in a dropdown means that nothing is selected."""
RULE_NAMES = {"mass": "share of the mass", "maximum": "share of the maximum"}
VIEW_NAMES = dict(zip(VIEWS, ("region", "contour", "heat map")))


class Controls:
    """Controls for method, class, view, occluder, stride, quantity, and the region's rule and
    threshold.

    Args:
        question: the initial question.
        names: names of the classes. Without names the classes are numbered once their count is
            known.
        side: the shorter side of the image, in pixels; half of it limits the occluder.
        ask: called with the fields of the question that a control changes.

    Attributes:
        box: the widget that contains the controls.
        where: text below the controls that describes the pixel.
    """

    def __init__(
        self, question: Question, names: tuple[str, ...], side: int, ask: Callable[..., object]
    ):
        self._ask, self._question, self._quiet = ask, question, False
        self.where = ipywidgets.Label().add_class("gcnlab-where")
        largest = max(1, side // 2)
        self.fields = {
            "method": ipywidgets.Dropdown(
                options=[(name, key) for key, name in METHODS.items()], description="field"
            ),
            "target": ipywidgets.Dropdown(
                options=[("as predicted", PREDICTED), *((name, i) for i, name in enumerate(names))],
                description="class",
            ),
            "view": ipywidgets.Dropdown(
                options=[(name, key) for key, name in VIEW_NAMES.items()], description="view"
            ),
            "window": ipywidgets.IntSlider(min=1, max=largest, description="occluder"),
            "stride": ipywidgets.IntSlider(min=1, max=largest, description="stride"),
            "quantity": ipywidgets.Dropdown(
                options=[(name, name) for name in QUANTITIES], description="field of"
            ),
            "rule": ipywidgets.Dropdown(
                options=[(name, rule) for rule, name in RULE_NAMES.items()], description="region"
            ),
            "threshold": ipywidgets.FloatSlider(
                min=0.05, max=1, step=0.05, description="threshold"
            ),
        }
        self.show(question)
        for name, control in self.fields.items():
            control.add_class(f"gcnlab-{name}")
            control.style.description_width = "72px"
            control.layout = {"width": "auto", "margin": "2px 0"}
            control.observe(lambda change, name=name: self._changed(name, change["new"]), "value")
        grid = ipywidgets.GridBox(list(self.fields.values())).add_class("gcnlab-controls")
        self.box = ipywidgets.VBox([grid, self.where])

    def show(self, question: Question) -> None:
        """Set the controls to a question, as far as their ranges allow."""
        self._question, self._quiet = question, True
        try:
            for name, control in self.fields.items():
                value = getattr(question, name)
                value = PREDICTED if value is None else value
                options = [key for _, key in getattr(control, "options", ())]
                if not options or value in options:
                    control.value = value
            occluded = question.method in ("exact", "drilldown")
            for name in ("window", "stride", "quantity"):
                self.fields[name].disabled = not occluded
            for name in ("rule", "threshold"):
                self.fields[name].disabled = question.method == "theoretical"
        finally:
            self._quiet = False

    def offer(self, classes: int) -> None:
        """Add numbered classes to the menu, unless their names are known."""
        control = self.fields["target"]
        if len(control.options) == 1:
            control.options = [*control.options, *((f"class {i}", i) for i in range(classes))]

    def _changed(self, name: str, value: object) -> None:
        if self._quiet:
            return
        changes = {name: None if value == PREDICTED else value}
        # A stride larger than the occluder would skip pixels, so one slider moves the other.
        if name == "window":
            changes["stride"] = min(self._question.stride, value)
        elif name == "stride":
            changes["window"] = max(self._question.window, value)
        self._ask(**changes)
