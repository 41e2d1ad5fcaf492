"""Questions to one model about one image: what is asked, what is answered, and what is kept in between."""

import copy
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
    region,
)
from gcnlab.receptive.graph import Graph
from gcnlab.receptive.occlusion import ProgressCallback
from gcnlab.receptive.theoretical import field_of
from gcnlab.receptive.unit import locate, unit_at
from gcnlab.widgets.painting import VIEWS

METHODS = {
    "exact": "valid, exact",
    "drilldown": "valid, drill-down",
    "gradient": "gradient",
    "theoretical": "theoretical",
}
"""The fields, and what they are called."""


@dataclass(frozen=True)
class Question:
    """What the explorer shows; each control is one field.

    Attributes:
        pixel: (row, column) on the image; asked is the unit whose area holds it.
        method: "exact" or "drilldown" for the valid receptive field, "gradient", "theoretical".
        target: class id; None for the class that each model predicts there.
        window, stride: side of the occluder and of its steps, in pixels.
        threshold, rule: of the region (see `gcnlab.receptive.regions`).
        fill: value of the occluder, in the units of the image.
        agreement: at which drill-down stops, in (0, 1].
        view: "region", "contour" or "heat".

    Raises:
        ValueError: there is no such method or view. What the other values may be depends on the image and
            the model: there the answer is the error.
    """

    pixel: Pixel
    method: str = "exact"
    target: int | None = None
    window: int = 32
    stride: int = 16
    threshold: int | float = 0.2
    rule: str = "maximum"
    fill: int | float = 0.0
    agreement: int | float = 0.95
    view: str = "region"

    def __post_init__(self):
        object.__setattr__(self, "pixel", pixel_of(self.pixel))
        for name, value, known in (("method", self.method, METHODS), ("view", self.view, VIEWS)):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose {', '.join(known)}")


def target_id(target: Whole | str | None, names: Sequence[str]) -> int | None:
    """A class by its id or its name, as an id.

    Raises:
        ValueError: no class has that name, or it is no whole number.
    """
    if target is None:
        return None
    if not isinstance(target, str):
        return whole("target", target, 0)
    if target not in names:
        known = f"choose {', '.join(names)}" if names else "give its id: no names are known"
        raise ValueError(f"unknown class {target!r}; {known}")
    return names.index(target)


@dataclass(frozen=True)
class Answer:
    """What one model says.

    Attributes:
        question: what was asked.
        target: the class, predicted or asked for.
        score: its score at the unit.
        classes: how many the model knows.
        field: the map; None while there is none.
        region: where it is large; None while there is none.
        evaluated: share of the occluder's positions that were run, 0 … 1; None for other methods.
        agreement: expected intersection over union with the region of all positions, 0 … 1.
        note: what could not be reused, or is not known, in words.
        seconds: spent on it.
        unit: (row, column) on the score map; the pixel, if the map is as large as the image.
        map_size: rows and columns of the score map, if it has another size than the image; else None.
    """

    question: Question
    target: int
    score: float
    classes: int
    field: Float[Tensor, "height width"] | None = None
    region: Bool[Tensor, "height width"] | None = None
    evaluated: int | float | None = None
    agreement: int | float = 1.0
    note: str = ""
    seconds: int | float = 0.0
    unit: tuple[int, int] | None = None
    map_size: tuple[int, int] | None = None

    @property
    def asked(self) -> str:
        """Which unit was asked, in words; empty if the score map is as large as the image."""
        if self.map_size is None:
            return ""
        rows, columns = self.map_size
        return f"unit {self.unit} of {rows}×{columns}"


def private_copy(model: nn.Module) -> nn.Module:
    """A copy of a network for a thread of its own, so that the caller may go on training the network meanwhile.

    A network that Python cannot copy is taken itself; then only what `evaluation_mode` does protects it.
    """
    try:
        return copy.deepcopy(model)
    except Exception:  # whatever keeps a user's module from being copied
        return model


class Session:
    """One model on one image; what questions share is computed with the first one that needs it.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: what the model takes (already normalised).
        graph: of the model for images of this size, to save exporting it again.
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
        """The model's operations, exported.

        Raises:
            NotTraceable: it cannot be exported.
        """
        if self._graph is None:
            self._graph = Graph(self.model, self.image[None])
        return self._graph

    @property
    def traceable(self) -> bool:
        """Whether the model has been exported."""
        return self._graph is not None

    @cached_property
    def occlusion(self) -> Occlusion:
        """The image's activations."""
        try:
            graph = self.graph
        except NotTraceable as error:
            graph = error  # then Occlusion does without, and says so
        return Occlusion(self.model, self.image, graph=graph)

    @cached_property
    def theoretical(self) -> TheoreticalField:
        """The theoretical field of the score map's units."""
        return field_of(self.graph)

    def answers(
        self, question: Question, on_progress: ProgressCallback = lambda share: None
    ) -> Iterator[Answer]:
        """Answers that get better: first class and score, then the field, sharper and sharper.

        Args:
            on_progress: called between any two steps of the work.

        Raises:
            ValueError, TypeError: the question does not fit the image, or the model cannot answer it.
            NotTraceable: the theoretical field of a model that cannot be exported.
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
        score_map = self.occlusion.score_map
        image_size, map_size = tuple(self.image.shape[-2:]), tuple(score_map.shape[-2:])
        unit = unit_at(question.pixel, image_size, map_size)
        target = locate(score_map, unit, question.target)
        answer = Answer(
            question=question,
            target=target,
            score=score_map[(target, *unit)].item(),
            classes=len(score_map),
            unit=unit,
            map_size=None if map_size == image_size else map_size,
        )
        yield answer
        for found in self._fields(question, unit, target, on_progress):
            on_progress(1.0)
            if (field := found.get("field")) is not None:
                found.setdefault("region", region(field, question.threshold, question.rule))
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
            return {"note": f"the field is not known beyond {self.theoretical.unknown_beyond}"}
        top, bottom, left, right = self.theoretical.box(unit)
        seen = torch.zeros(self.image.shape[-2:], dtype=torch.bool)
        seen[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
        size = f"{bottom - top} × {right - left} pixels, beyond the border included"
        return {"field": seen.float(), "region": seen, "note": size}
