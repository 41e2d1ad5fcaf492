"""Resize an object interactively, as in the paper's Figure 3 (A) → (B) → (C).

As the object grows, a network whose units see a fixed part of the image covers less and less of it;
a network with a large kernel still covers it.

    ResizeExplorer(networks, "star")
    ResizeExplorer(networks, "cat", cutout=cut_out(*cat_photograph()))
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import ipywidgets
import torch
from torch import nn

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.datasets.cutout import Cutout, textured_ground
from gcnlab.datasets.labels import SHAPES, VOC_ANIMALS, LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.datasets.shapes import ShapeObject
from gcnlab.models.logits import check_network, resize_logits
from gcnlab.receptive import coverage
from gcnlab.widgets.base import describe
from gcnlab.widgets.painting import edges, paint, tint
from gcnlab.widgets.picture import Picture
from gcnlab.widgets.pictures import PictureExplorer
from gcnlab.widgets.question import Question, target_id
from gcnlab.widgets.session import Answer, Session, private_copy
from gcnlab.widgets.stage import PhotoObject, PhotoStage, ShapeStage, Stage, kind_of
from gcnlab.widgets.worker import take_turns


class ResizeExplorer(PictureExplorer):
    """One object on a background, with sliders for its size, position and, for shapes, rotation.

    The object is a textured shape of the data set Shapes or, with `cutout`, an object of a
    photograph, laid on a ground.

    For every model the explorer shows the receptive field of the object's centre, the fraction of
    the object that it covers, and the prediction. Dragging the dot moves the object.

    Args:
        models: title → network trained on Shapes, or on the classes of `labels`. The explorer works
            with copies, so later training does not affect it. Logits of another size than the image
            are resized for the prediction; for the field, the unit whose area contains the object's
            centre is used, and the facts name it.
        kind: the class of the object, as in `SHAPES.names` or `labels.names`; None means a disc.
        size: diameter of its circumscribed circle or, of an object of a photograph, the longer side
            of its box, in pixels; None means a third of the image.
        angle: rotation of a shape, in degrees.
        image_size: side of the square image, in pixels; ignored if `ground` is given.
        background: seed of the background's texture; ignored if `ground` is given.
        texture: seed of the shape's texture; None means 2.
        normalization: the normalisation that the models expect.
        cutout: an object of a photograph, which takes the place of the shape.
        ground: the image that it is laid on; None means a texture.
        labels: names and colours of the models' classes with `cutout`; None means `VOC_ANIMALS`.
        **question: method, window, stride, threshold, rule, target … (see `Question`). By default window
            and stride are 1/8 and 1/16 of the image.

    Attributes:
        answers: title → the answer of the model for the object's centre.
        predictions: title → class ids, (height, width).

    Raises:
        ValueError: there is no model, the kind is unknown, an argument does not fit the object, or
            the question is invalid.
    """

    def __init__(
        self,
        models: dict[str, nn.Module],
        kind: str | None = None,
        size: int | float | None = None,
        angle: int | float = 0,
        image_size: int = 256,
        background: int = 1,
        texture: int | None = None,
        normalization: Normalization | None = None,
        cutout: Cutout | None = None,
        ground: UInt8[Tensor, "3 height width"] | None = None,
        labels: LabelSet | None = None,
        **question,
    ):
        if not models:
            raise ValueError("models is empty: give at least one model")
        for model in models.values():
            check_network(model)
        self._models = {title: private_copy(model) for title, model in models.items()}
        self._normalize = normalization or Normalization()
        self._sessions: dict[str, Session] = {}
        self.answers: dict[str, Answer] = {}
        self.predictions: dict[str, Tensor] = {}
        if cutout is None:
            if ground is not None or labels is not None:
                raise ValueError("ground and labels are for an object of a photograph: give cutout")
            self._stage: Stage = _shape(kind, size, angle, image_size, background, texture)
        else:
            if angle != 0 or texture is not None:
                raise ValueError("angle and texture are for shapes: leave them out with cutout")
            if ground is None:
                ground = textured_ground(image_size, image_size, background)
            labels = VOC_ANIMALS if labels is None else labels
            self._stage = _photo(cutout, kind, size, ground, labels)
        side = min(self._stage.size)
        defaults = {"window": max(1, side // 8), "stride": max(1, side // 16)}
        question["target"] = target_id(question.get("target"), self._stage.labels.names)
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
    def item(self) -> ShapeObject | PhotoObject:
        """The object: its class, position and size."""
        return self._stage.item

    @property
    def rows(self) -> list[list[Picture]]:
        return [list(self.pictures.values()), list(self.predicted.values())]

    def change(self, **changes) -> "ResizeExplorer":
        """Change the object, as the sliders do: `change(size=120, angle=30)`.

        Args:
            changes: kind (a name), size, angle, row and column of the centre, or texture (see
                `ShapeObject`); of an object of a photograph only size, row and column.

        Raises:
            ValueError: the kind is unknown, or the object has no such property.
        """
        with self.lock:
            self._stage = self._stage.changed(**changes)
            self._show_sliders()
            image, mask = self._stage.draw()
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

    def _begin(self) -> None:
        """Show the object at once; the results of the models follow."""
        self.answers.clear()
        self.predictions.clear()
        outline, pixel = edges(self._mask), list(self.question.pixel)
        dark = paint(self._image, region=torch.zeros_like(self._mask))
        grey = tint(self._image, self._stage.labels.colorize(self._mask.byte()), 0.0)
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
                    facts=[
                        *unit,
                        ("object", covered),
                        *answer.measure_facts,
                        ("time", f"{answer.seconds:.1f} s"),
                    ],
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
        labels = self._stage.labels
        if len(logits) != labels.num_classes:
            raise ValueError(
                f"the network has {len(logits)} classes, but {self._stage.source} has "
                f"{labels.num_classes}"
            )
        classes = resize_logits(logits[None], tuple(self._mask.shape))[0].argmax(0)
        self.predictions[title] = classes
        found = labels.names[int(classes[self.question.pixel])]
        wrong = "" if found == labels.names[self.item.kind] else ", wrong"
        self.predicted[title].show(
            tint(self._image, labels.colorize(classes)),
            facts=[("centre", f"{found}{wrong}"), ("IoU", f"{self.iou(title):.0%}")],
            busy=False,
        )

    def _make_sliders(self) -> dict[str, ipywidgets.Widget]:
        sliders = {"kind": ipywidgets.Dropdown(options=self._stage.kinds, description="object")}
        for name, (least, most) in self._stage.ranges.items():
            description = "rotation" if name == "angle" else name
            sliders[name] = ipywidgets.IntSlider(min=least, max=most, description=description)
        if len(self._stage.kinds) == 1:
            sliders["kind"].disabled = True
        for name, slider in sliders.items():
            slider.add_class(f"gcnlab-{name}")
            slider.style.description_width = "72px"
            slider.layout = {"width": "auto", "margin": "2px 0"}
            slider.observe(lambda change, name=name: self._on_slider(name, change["new"]), "value")
        return sliders

    def _show_sliders(self) -> None:
        values = {"kind": self._stage.labels.names[self.item.kind]} | self._stage.values
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


def _shape(
    kind: str | None,
    size: int | float | None,
    angle: int | float,
    side: int,
    background: int,
    texture: int | None,
) -> ShapeStage:
    """A shape in the middle of an image; see `ResizeExplorer`."""
    number = kind_of("disc" if kind is None else kind, SHAPES)
    texture = 2 if texture is None else texture
    middle = (side / 2, side / 2)
    item = ShapeObject(number, middle, float(size or side / 3), float(angle), texture)
    return ShapeStage(item, side, background)


def _photo(
    cutout: Cutout,
    kind: str | None,
    size: int | float | None,
    ground: UInt8[Tensor, "3 height width"],
    labels: LabelSet,
) -> PhotoStage:
    """An object of a photograph in the middle of an image; see `ResizeExplorer`."""
    if kind is None:
        raise ValueError(f"kind must name the object's class, one of {', '.join(labels.names)}")
    height, width = ground.shape[-2:]
    middle = ((height - 1) / 2, (width - 1) / 2)
    item = PhotoObject(kind_of(kind, labels), middle, float(size or min(height, width) / 3))
    return PhotoStage(item, cutout, ground, labels)


def _fail(message: str) -> Iterator:
    raise ValueError(message)
    yield
