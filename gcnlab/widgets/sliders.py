"""The sliders of the resize explorer."""

from collections.abc import Callable

import ipywidgets

from gcnlab.widgets.stage import Stage


class ObjectSliders(ipywidgets.GridBox):
    """A menu for the object's class, and a slider for each number of a stage.

    Args:
        stage: the object.
        on_change: called with (name, value) when the user has moved one.

    Attributes:
        inputs: name → menu or slider.
    """

    def __init__(self, stage: Stage, on_change: Callable[[str, object], None]):
        self._quiet, self._on_change = False, on_change
        self.inputs: dict[str, ipywidgets.Widget] = {
            "kind": ipywidgets.Dropdown(options=stage.kinds, description="object")
        }
        for name, (least, most) in stage.ranges.items():
            description = "rotation" if name == "angle" else name
            self.inputs[name] = ipywidgets.IntSlider(min=least, max=most, description=description)
        if len(stage.kinds) == 1:
            self.inputs["kind"].disabled = True
        for name, slider in self.inputs.items():
            slider.add_class(f"gcnlab-{name}")
            slider.style.description_width = "72px"
            slider.layout = {"width": "auto", "margin": "2px 0"}
            slider.observe(lambda change, name=name: self._report(name, change["new"]), "value")
        super().__init__(list(self.inputs.values()))
        self.add_class("gcnlab-controls")

    def show(self, stage: Stage) -> None:
        """Show the values of a stage, without a report."""
        values = {"kind": stage.labels.names[stage.item.kind]} | stage.values
        self._quiet = True
        try:
            for name, value in values.items():
                self.inputs[name].value = value if name == "kind" else round(value)
        finally:
            self._quiet = False

    def _report(self, name: str, value: object) -> None:
        if not self._quiet:
            self._on_change(name, value)
