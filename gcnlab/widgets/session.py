"""Questions about one model and one image, their answers, and the cache between questions."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from gcnlab.annotations import Bool, Float, Tensor
from gcnlab.arguments import Pixel, Whole, pixel_of, whole
from gcnlab.receptive import (
    NotTraceable,
    Occlusion,
    OcclusionSettings,
    TheoreticalField,
    gradient_field,
    radius,
    region,
)
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.occlusion import ProgressCallback
from gcnlab.receptive.regions import region_text
from gcnlab.receptive.settings import QUANTITIES, region_rule
from gcnlab.receptive.theoretical import field_of
from gcnlab.receptive.unit import locate, middle_pixel, unit_at
from gcnlab.widgets.atlases import Occluder
from gcnlab.widgets.painting import VIEWS

METHODS = {
    "exact": "valid",
    "drilldown": "valid, drill-down",
    "gradient": "gradient",
    "theoretical": "theoretical",
}
"""Method → its name in the menu."""


@dataclass(frozen=True)
class Question:
    """The settings of the explorer; each control is one field.

    Attributes:
        pixel: (row, column) in the image; it selects the unit whose area contains it.
        method: "exact" or "drilldown" for the valid receptive field, "gradient" or "theoretical"; or
            several of them, each of which gets a row of pictures.
        target: class id; None means the class that each model predicts for the pixel.
        window, stride: side of the occluder and distance between its positions, in pixels.
        threshold, rule: definition of the region (see `gcnlab.receptive.regions`); by default the
            smallest that holds 80 % of the mass.
        quantity: what an occlusion measures: "logit", "margin" or "probability".
        fill: value of the occluder, in the units of the image.
        agreement: the agreement at which drill-down stops, in (0, 1].
        view: "region", "contour" or "heat".

    Raises:
        ValueError: the method or view is unknown. The valid range of the other values depends on
            the image and the model; a value out of range gives an error when the question is
            answered.
    """

    pixel: Pixel
    method: str | tuple[str, ...] = "exact"
    target: int | None = None
    window: int = 32
    stride: int = 16
    threshold: int | float | None = None
    rule: str | None = None
    fill: int | float = 0.0
    agreement: int | float = 0.95
    view: str = "region"
    quantity: str = "logit"

    def __post_init__(self):
        object.__setattr__(self, "pixel", pixel_of(self.pixel))
        self._complete_region()
        asked = [("method", method, METHODS) for method in self.methods]
        asked += [("view", self.view, VIEWS), ("quantity", self.quantity, QUANTITIES)]
        for name, value, known in asked:
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose {', '.join(known)}")
        if len(set(self.methods)) < max(1, len(self.methods)):
            raise ValueError(f"method must name one or more different methods, not {self.method}")

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
        question = replace(self, view=VIEWS[0])
        if "drilldown" not in self.methods:  # it follows the edge of the region
            question = replace(question, threshold=None, rule=None)
        if all(map(self.in_atlas, self.methods)):
            question = replace(question, pixel=(0, 0))
        return question

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order of the rows."""
        return (self.method,) if isinstance(self.method, str) else tuple(self.method)

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


@dataclass(frozen=True)
class Answer:
    """The answer of one model.

    Attributes:
        question: the question.
        target: the class, from the prediction or the question.
        logit: the logit of the class at the unit.
        classes: number of classes of the model.
        field: the field; None if it is not computed yet.
        region: the mask of the region; None if it is not computed yet.
        radius: root mean square distance of the field from the unit, in pixels; NaN if the field is
            zero, None if it is not computed or the field is theoretical.
        evaluated: fraction of the occluder positions that were run, 0 … 1; None for other methods.
        agreement: expected IoU with the region from all positions, 0 … 1.
        note: what could not be reused or is unknown.
        seconds: time of the computation.
        unit: (row, column) in the map of logits; equals the pixel if the map has the image's size.
        map_size: (rows, columns) of the map of logits if it differs from the image's size, else
            None.
    """

    question: Question
    target: int
    logit: float
    classes: int
    field: Float[Tensor, "height width"] | None = None
    region: Bool[Tensor, "height width"] | None = None
    radius: float | None = None
    evaluated: int | float | None = None
    agreement: int | float = 1.0
    note: str = ""
    seconds: int | float = 0.0
    unit: tuple[int, int] | None = None
    map_size: tuple[int, int] | None = None

    def with_region(self) -> "Answer":
        """The same with the region of its field by the question's threshold and rule; a theoretical
        field has its own."""
        if self.field is None or self.radius is None:
            return self
        own = region(self.field, self.question.threshold, self.question.rule)
        return replace(self, region=own)

    @property
    def measure_facts(self) -> list[tuple[str, str]]:
        """The radius and the rule of the region as facts; none for the theoretical field."""
        question = self.question
        if self.radius is None:
            return []
        facts = [("region", region_text(question.threshold, question.rule))]
        if question.quantity != "logit" and self.evaluated is not None:
            facts.insert(0, ("field of", question.quantity))
        if not math.isnan(self.radius):
            facts.append(("radius", f"{self.radius:.0f} px"))
        return facts

    @property
    def asked_unit(self) -> str:
        """The unit as text; "" if the map of logits has the size of the image."""
        if self.map_size is None:
            return ""
        rows, columns = self.map_size
        return f"{self.unit} of {rows}×{columns}"


def private_copy(model: nn.Module) -> nn.Module:
    """Copy a network for a background thread, so that the caller can train it at the same time.

    A network that Python cannot copy is used directly; then only `evaluation_mode` protects it.
    """
    try:
        return copy.deepcopy(model)
    except Exception:  # copying a user's module can fail in many ways
        return model


class Session:
    """One model and one image; what questions share is computed once, when it is first needed.

    Args:
        model: maps images to logits; it runs in evaluation mode and its state is restored.
        image: the input of the model (already normalised).
        graph: the model's graph for images of this size, if it was recorded before.
    """

    def __init__(
        self,
        model: nn.Module,
        image: Float[Tensor, "channels height width"],
        graph: Graph | None = None,
    ):
        self.model, self.image = model, image
        self._graph = graph

    @cached_property
    def graph(self) -> Graph:
        """The graph of the model's operations.

        Raises:
            NotTraceable: the model cannot be recorded as a graph.
        """
        if self._graph is None:
            self._graph = Graph(self.model, self.image[None])
        return self._graph

    @property
    def traceable(self) -> bool:
        """Whether the model's graph has been recorded."""
        return self._graph is not None

    @cached_property
    def occlusion(self) -> Occlusion:
        """The occlusion of the image, with its activations."""
        try:
            graph = self.graph
        except NotTraceable as error:
            graph = error  # Occlusion then works without a graph and notes it
        return Occlusion(self.model, self.image, graph=graph)

    @cached_property
    def theoretical(self) -> TheoreticalField:
        """The theoretical field of the units of the logits."""
        return field_of(self.graph)

    def answers(
        self, question: Question, on_progress: ProgressCallback = lambda share: None
    ) -> Iterator[Answer]:
        """Yield answers that improve: first the class and its logit, then the field, more and more
        exact.

        Args:
            question: the question.
            on_progress: called with the fraction of the work that is done, between steps.

        Raises:
            ValueError, TypeError: the question does not fit the image, or the model does not fit.
            NotTraceable: the theoretical field needs a graph, which cannot be recorded.
        """
        spent = 0.0
        answers = self._answers(question, on_progress)
        while True:
            start = time.monotonic()
            answer = next(answers, None)
            spent += time.monotonic() - start
            if answer is None:
                return
            yield replace(answer, seconds=spent)

    def _answers(self, question: Question, on_progress: ProgressCallback) -> Iterator[Answer]:
        on_progress(0.0)
        logits = self.occlusion.score_map
        image_size, map_size = tuple(self.image.shape[-2:]), tuple(logits.shape[-2:])
        unit = unit_at(question.pixel, image_size, map_size)
        target = locate(logits, unit, question.target)
        answer = Answer(
            question=question,
            target=target,
            logit=logits[(target, *unit)].item(),
            classes=len(logits),
            unit=unit,
            map_size=None if map_size == image_size else map_size,
        )
        yield answer
        for found in self._fields(question, unit, target, on_progress):
            on_progress(1.0)
            if (field := found.get("field")) is not None:
                found.setdefault("region", region(field, question.threshold, question.rule))
                centre = middle_pixel(unit, image_size, map_size)
                found.setdefault("radius", radius(field, centre))
            answer = replace(answer, **found)
            yield answer

    def _fields(
        self, question: Question, unit: tuple[int, int], target: int, on_progress: ProgressCallback
    ) -> Iterator[dict]:
        if question.method == "gradient":
            yield {"field": gradient_field(self.model, self.image, unit, target)}
        elif question.method == "theoretical":
            yield self._rectangle(unit)
        else:
            settings = OcclusionSettings(
                window=question.window,
                stride=question.stride,
                fill=question.fill,
                method=question.method,
                agreement=question.agreement,
                threshold=question.threshold,
                rule=question.rule,
                quantity=question.quantity,
            )
            steps = self.occlusion.steps(unit, target, settings, on_progress=on_progress)
            for valid in steps:
                yield {
                    "field": valid.discrepancy,
                    "evaluated": valid.evaluated,
                    "agreement": valid.agreement,
                    "note": self.occlusion.note,
                }

    def _rectangle(self, unit: tuple[int, int]) -> dict:
        if self.theoretical.unknown_beyond is not None:
            return {"note": f"the field is unknown beyond {self.theoretical.unknown_beyond}"}
        top, bottom, left, right = self.theoretical.box(unit)
        seen = torch.zeros(self.image.shape[-2:], dtype=torch.bool)
        seen[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
        size = f"{bottom - top} × {right - left} pixels, including pixels beyond the border"
        return {"field": seen.float(), "region": seen, "radius": None, "note": size}
