"""Resize an object interactively, as in the paper's Figure 3 (A) → (B) → (C).

As the object grows, a network whose units see a fixed part of the image covers less and less of it;
a network with a large kernel still covers it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import ipywidgets
import torch
from torch import nn

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.datasets.labels import SHAPES
from gcnlab.datasets.normalization import Normalization
from gcnlab.datasets.shapes import Scene, ShapeObject, render
from gcnlab.models.logits import check_network, resize_logits
from gcnlab.receptive import coverage
from gcnlab.widgets.base import Explorer, describe
from gcnlab.widgets.painting import edges, paint, tint
from gcnlab.widgets.picture import Picture
from gcnlab.widgets.session import Answer, Question, Session, private_copy, target_id
from gcnlab.widgets.worker import take_turns


class ResizeExplorer(Explorer):
    """One object on a textured background, with sliders for its size, rotation and position.

    For every model the explorer shows the receptive field of the object's centre, the fraction of
    the object that it covers, and the prediction. Dragging the dot moves the object.

    Args:
        models: title → network trained on Shapes. The explorer works with copies, so later training
            does not affect it. Logits of another size than the image are resized for the
            prediction; for the field, the unit whose area contains the object's centre is used, and
            the facts name it.
        kind: the class of the object, as in `SHAPES.names`.
        size: diameter of its circumscribed circle, in pixels; None means a third of the image.
        angle: rotation, in degrees.
        image_size: side of the square image, in pixels.
        background, texture: seeds of the textures.
        normalization: the normalisation that the models expect.
        **question: method, window, stride, threshold, target … (see `Question`). By default window
            and stride are 1/8 and 1/16 of the image.

    Attributes:
        item: the object.
        answers: title → the answer of the model for the object's centre.
        predictions: title → class ids, (height, width).

    Raises:
        ValueError: there is no model, the kind is unknown, or the question is invalid.
    """

    def __init__(
        self,
        models: dict[str, nn.Module],
        kind: str = "disc",
        size: int | float | None = None,
        angle: int | float = 0,
        image_size: int = 256,
        background: int = 1,
        texture: int = 2,
        normalization: Normalization | None = None,
        **question,
    ):
        if not models:
            raise ValueError("models is empty: give at least one model")
        for model in models.values():
            check_network(model)
        self._models = {title: private_copy(model) for title, model in models.items()}
        self._image_size, self._background = image_size, background
        self._normalize = normalization or Normalization()
        self._sessions: dict[str, Session] = {}
        self.answers: dict[str, Answer] = {}
        self.predictions: dict[str, Tensor] = {}
        middle = image_size / 2
        self.item = ShapeObject(
            _kind(kind), (middle, middle), float(size or image_size / 3), float(angle), texture
        )
        defaults = {"window": max(1, image_size // 8), "stride": max(1, image_size // 16)}
        question["target"] = target_id(question.get("target"), SHAPES.names)
        self.question = Question(pixel=(0, 0), **(defaults | question))
        super().__init__()
        self.pictures = {title: Picture(self.lock, title=title) for title in models}
        self.predicted = {title: Picture(self.lock, title="prediction") for title in models}
        for picture in (*self.pictures.values(), *self.predicted.values()):
            picture.observe(self._on_pixel, "pixel")
        self._sliders, self._quiet = self._make_sliders(), False
        grid = ipywidgets.GridBox(list(self._sliders.values())).add_class("gcnlab-controls")
        rows = [ipywidgets.HBox(row).add_class("gcnlab-pictures") for row in self.rows]
        self.add_class("gcnlab-explorer")
        self.children = (grid, *rows)
        self.change()

    def __repr__(self) -> str:
        return f"ResizeExplorer({', '.join(self._models)}; {self.item})"

    @property
    def rows(self) -> list[list[Picture]]:
        return [list(self.pictures.values()), list(self.predicted.values())]

    def change(self, **changes) -> "ResizeExplorer":
        """Change the object, as the sliders do: `change(size=120, angle=30)`.

        Args:
            changes: kind (a name), size, angle, row and column of the centre, or texture (see
                `ShapeObject`).

        Raises:
            ValueError: the kind is unknown.
        """
        with self.lock:
            row, column = self.item.center
            center = float(changes.pop("row", row)), float(changes.pop("column", column))
            changes |= {n: float(changes[n]) for n in ("size", "angle") if n in changes}
            if "kind" in changes:
                changes["kind"] = _kind(changes["kind"])
            self.item = replace(self.item, center=center, **changes)
            self._show_sliders()
            image, mask = self._draw()
            if not mask.any():
                self._worker.submit(lambda check: _fail("the object is outside the image"))
                return self
            self.question = replace(self.question, pixel=centre_pixel(mask))
            self._image, self._mask = image, mask
            self._begin()
            question, normalized = self.question, self._normalize(image)
            self._worker.submit(lambda check: self._answers(normalized, question, check))
        return self

    @property
    def mask(self) -> Bool[Tensor, "height width"]:
        """The mask of the object."""
        return self._mask

    def coverage(self, title: str) -> float | None:
        """Fraction of the object inside a model's region; None if there is no region yet."""
        answer = self.answers.get(title)
        return (
            None if answer is None or answer.region is None else coverage(answer.region, self._mask)
        )

    def iou(self, title: str) -> float | None:
        """IoU of the object and the pixels predicted as its class; None if there is no prediction
        yet.
        """
        if title not in self.predictions:
            return None
        found = self.predictions[title] == self.item.kind
        return ((found & self._mask).sum() / (found | self._mask).sum()).item()

    def _draw(self) -> tuple[UInt8[Tensor, "3 height width"], Bool[Tensor, "height width"]]:
        side = self._image_size
        image, _, instances = render(Scene(side, side, self._background, (self.item,)))
        return image, instances == 1

    def _begin(self) -> None:
        """Show the object at once; the results of the models follow."""
        self.answers.clear()
        self.predictions.clear()
        outline, pixel = edges(self._mask), list(self.question.pixel)
        dark = paint(self._image, region=torch.zeros_like(self._mask))
        grey = tint(self._image, SHAPES.colorize(self._mask.byte()), 0.0)
        for pictures, raster in ((self.pictures, dark), (self.predicted, grey)):
            for picture in pictures.values():
                picture.show(
                    raster, region=[], item=outline, pixel=pixel, busy=True, progress=0.0, error=""
                )

    def _answers(
        self, image: Tensor, question: Question, check: Callable[[], None]
    ) -> Iterator[tuple[str, Answer | Exception | None]]:
        # First come the predictions of all models, then their fields.
        def ask(title: str) -> Iterator[Answer]:
            before = self._sessions.get(title)
            graph = before.graph if before is not None and before.traceable else None
            session = self._sessions[title] = Session(self._models[title], image, graph)
            yield from session.answers(question, self._progress_of(self.pictures[title], check))

        return take_turns({title: ask(title) for title in self._models})

    def _show(self, generation: int, result: tuple[str, Answer | Exception | None]) -> None:
        title, answer = result
        field, prediction = self.pictures[title], self.predicted[title]
        if isinstance(answer, Answer):
            self.answers[title] = answer
            if answer.region is None:
                self._show_prediction(title)
            else:
                covered = f"{self.coverage(title):.0%} covered"
                unit = [("unit", answer.asked_unit)] if answer.asked_unit else []
                field.show(
                    paint(self._image, answer.field, answer.region, self.question.view),
                    region=edges(answer.region),
                    facts=[*unit, ("object", covered), ("time", f"{answer.seconds:.1f} s")],
                    note=answer.note,
                    generation=generation,
                )
        elif answer is None:
            for picture in (field, prediction):
                picture.show(busy=False, progress=1.0, generation=generation)
        else:
            field.show(facts=[], error=describe(answer), busy=False, generation=generation)
            prediction.show(facts=[], busy=False, generation=generation)

    def _show_prediction(self, title: str) -> None:
        logits = self._sessions[title].occlusion.score_map
        if len(logits) != SHAPES.num_classes:
            raise ValueError(
                f"the network has {len(logits)} classes, but Shapes has {SHAPES.num_classes}"
            )
        classes = resize_logits(logits[None], tuple(self._mask.shape))[0].argmax(0)
        self.predictions[title] = classes
        found = SHAPES.names[int(classes[self.question.pixel])]
        wrong = "" if found == SHAPES.names[self.item.kind] else ", wrong"
        self.predicted[title].show(
            tint(self._image, SHAPES.colorize(classes)),
            facts=[("centre", f"{found}{wrong}"), ("IoU", f"{self.iou(title):.0%}")],
            busy=False,
        )

    def _make_sliders(self) -> dict[str, ipywidgets.Widget]:
        side = self._image_size
        sliders = {
            "kind": ipywidgets.Dropdown(options=SHAPES.names[1:], description="object"),
            "size": ipywidgets.IntSlider(min=16, max=side, description="size"),
            "angle": ipywidgets.IntSlider(min=0, max=359, description="rotation"),
            "row": ipywidgets.IntSlider(min=0, max=side - 1, description="row"),
            "column": ipywidgets.IntSlider(min=0, max=side - 1, description="column"),
        }
        for name, slider in sliders.items():
            slider.add_class(f"gcnlab-{name}")
            slider.style.description_width = "72px"
            slider.layout = {"width": "auto", "margin": "2px 0"}
            slider.observe(lambda change, name=name: self._on_slider(name, change["new"]), "value")
        return sliders

    def _show_sliders(self) -> None:
        row, column = self.item.center
        values = {"kind": SHAPES.names[self.item.kind], "size": self.item.size}
        values |= {"angle": self.item.angle, "row": row, "column": column}
        self._quiet = True
        try:
            for name, value in values.items():
                self._sliders[name].value = value if name == "kind" else round(value)
        finally:
            self._quiet = False

    def _on_slider(self, name: str, value: object) -> None:
        if not self._quiet:
            self.change(**{name: value})

    def _move(self, pixel: tuple[int, int]) -> None:
        (row, column), before = self.item.center, self.question.pixel
        self.change(row=row + pixel[0] - before[0], column=column + pixel[1] - before[1])


def centre_pixel(mask: Bool[Tensor, "height width"]) -> tuple[int, int]:
    """The pixel of a mask that is nearest to its centre of mass.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: it has no centre")
    places = mask.nonzero().float()
    nearest = (places - places.mean(0)).square().sum(1).argmin()
    row, column = places[nearest].int().tolist()
    return row, column


def _kind(name: str) -> int:
    if name not in SHAPES.names[1:]:
        raise ValueError(f"unknown kind {name!r}; choose {', '.join(SHAPES.names[1:])}")
    return SHAPES.names.index(name)


def _fail(message: str) -> Iterator:
    raise ValueError(message)
    yield
