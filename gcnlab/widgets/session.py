"""One model and one image: answers to questions, and what they share."""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from gcnlab.annotations import Bool, Float, Int, Tensor
from gcnlab.receptive import (
    NotTraceable,
    Occlusion,
    OcclusionSettings,
    TheoreticalField,
    captum_occlusion,
    fill_image,
    gradient_field,
    integrated_gradients,
    radius,
    region,
)
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.occlusion import ProgressCallback
from gcnlab.receptive.regions import region_text
from gcnlab.receptive.theoretical import field_of
from gcnlab.receptive.unit import likeliest_classes, locate, middle_pixel, unit_at
from gcnlab.widgets.question import Question


@dataclass(frozen=True)
class Answer:
    """The answer of one model.

    Attributes:
        question: the question.
        target: the class, from the prediction or the question.
        logit: the logit of the class at the unit.
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
        best: the ids of the likeliest classes at the unit, likeliest first, and their
            probabilities; None if they are unknown.
    """

    question: Question
    target: int
    logit: float
    field: Float[Tensor, "height width"] | None = None
    region: Bool[Tensor, "height width"] | None = None
    radius: float | None = None
    evaluated: int | float | None = None
    agreement: int | float = 1.0
    note: str = ""
    seconds: int | float = 0.0
    unit: tuple[int, int] | None = None
    map_size: tuple[int, int] | None = None
    best: tuple[list[int], list[float]] | None = None

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
    def has_graph(self) -> bool:
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

    @property
    def prediction(self) -> Int[Tensor, "rows columns"] | None:
        """The class ids on the score map; None if the model has not been run."""
        known = vars(self).get("occlusion")
        return None if known is None else known.score_map.argmax(0)

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
        ids, shares = likeliest_classes(logits[:, *unit])
        answer = Answer(
            question=question,
            target=target,
            logit=logits[(target, *unit)].item(),
            unit=unit,
            map_size=None if map_size == image_size else map_size,
            best=(ids.tolist(), shares.tolist()),
        )
        yield answer
        for found in self._fields(question, unit, target, on_progress):
            on_progress(1.0)
            if (field := found.get("field")) is not None:
                centre = middle_pixel(unit, image_size, map_size)
                found.setdefault("radius", radius(field, centre))
            answer = replace(answer, **found).with_region()
            yield answer

    def _fields(
        self, question: Question, unit: tuple[int, int], target: int, on_progress: ProgressCallback
    ) -> Iterator[dict]:
        if question.method == "gradient":
            yield {"field": gradient_field(self.model, self.image, unit, target)}
        elif question.method == "integrated":
            window = (question.window, question.window)
            baseline = fill_image(self.image, question.fill, window)
            yield {"field": integrated_gradients(self.model, self.image, unit, target, baseline)}
        elif question.method == "captum":
            occluder = (question.window, question.stride, question.fill)
            yield {"field": captum_occlusion(self.model, self.image, unit, target, *occluder)}
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
