"""The state of the explorer as JSON can hold it, and the controls that change it in the browser.

A control is a dict: its `name` in the state, its `label`, and either `options`, a list of pairs
(value, text), or `min` and `max` of a slider. With `several`, any number of options can be chosen.
"""

from dataclasses import asdict
from typing import Any

from gcnlab.receptive.settings import QUANTITIES
from gcnlab.widgets.laboratory import Laboratory
from gcnlab.widgets.question import METHODS, Question

FILL_NAMES = {
    0.0: "mean of the data set",
    "mean": "mean of the image",
    "blur": "blurred image",
    "noise": "noise",
}
"""Value of `fill` → its name in the menu. 0 is the mean of the data set by which the image is
normalised."""
LAYERS = 60
"""Number of layers in the menu, at most: those of the greatest depth that has so few, and those above
them. `ask(layer=…)` accepts all."""


def state_of(question: Question, pins: list[tuple[int, int]]) -> dict[str, Any]:
    """The settings of a question and the pins, without tuples."""
    methods = question.methods
    return asdict(question) | {
        "pixel": list(question.pixel),
        "pins": [list(pin) for pin in pins],
        "method": methods[0] if len(methods) == 1 else list(methods),
    }


def controls(question: Question, lab: Laboratory) -> list[dict[str, Any]]:
    """The controls that need a kernel."""
    side = min(lab.example(question).size)
    largest = max(1, side // 2)
    fills = (
        FILL_NAMES
        if question.fill in FILL_NAMES
        else FILL_NAMES | {question.fill: f"{question.fill}"}
    )
    found = [
        {"name": "method", "label": "fields", "options": _pairs(METHODS), "several": True},
        {"name": "target", **_targets(question, lab)},
        {"name": "quantity", "label": "quantity", "options": [[q, q] for q in QUANTITIES]},
        {"name": "window", "label": "occluder size", "min": 1, "max": largest},
        {"name": "stride", "label": "stride", "min": 1, "max": largest},
        {"name": "fill", "label": "occluder fill", "options": _pairs(fills)},
    ]
    if question.layer is not None:  # it has no margin and no probability
        found = [control for control in found if control["name"] != "quantity"]
    if names := _layers(question, lab):
        layers = [[None, "output (logits)"], *([name, name] for name in names)]
        found.insert(1, {"name": "layer", "label": "layer", "options": layers})
    return found


def _layers(question: Question, lab: Laboratory) -> list[str]:
    names = list(lab.layers)
    depth = max((name.count(".") for name in names), default=0)
    while len(names) > LAYERS:
        names, depth = [name for name in names if name.count(".") < depth], depth - 1
    own = question.layer
    return names if own is None or own in names else [*names, own]


def _targets(question: Question, lab: Laboratory) -> dict[str, Any]:
    if question.layer is None:
        options = [[None, "as predicted"], *([i, name] for i, name in enumerate(lab.names))]
        label = "class"
    else:
        channels = lab.layers.get(question.layer, 0)
        options = [[None, "the strongest"], *([i, f"{i}"] for i in range(channels))]
        label = "channel"
    if question.target is not None and question.target >= len(options) - 1:
        options.append([question.target, f"{label} {question.target}"])
    return {"label": label, "options": options}


def _pairs(options: dict[Any, str]) -> list[list[Any]]:
    return [[value, text] for value, text in options.items()]
