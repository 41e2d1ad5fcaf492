"""Resize an object interactively, as in the paper's Figure 3 (A) → (B) → (C).

As the object grows, a network whose units see a fixed part of the image covers less and less of it;
a network with a large kernel still covers it.

    ResizeExplorer(networks, "star")
    ResizeExplorer(networks, "cat", cutout=cut_out(*cat_photograph()))
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
from torch import nn

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.arguments import shown, whole
from gcnlab.datasets.cutout import Cutout, textured_ground
from gcnlab.datasets.labels import VOC_ANIMALS, LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.datasets.shapes import ShapeObject
from gcnlab.models.logits import check_network
from gcnlab.widgets.animation import check_animation, draw_frame, save_animation
from gcnlab.widgets.base import describe
from gcnlab.widgets.picture import Picture
from gcnlab.widgets.pictures import PictureExplorer
from gcnlab.widgets.question import METHODS, Question, target_id
from gcnlab.widgets.session import Answer
from gcnlab.widgets.sized_answers import AnswerAndPrediction, ResizeNetworks
from gcnlab.widgets.sized_pictures import field_traits, prediction_traits, stills
from gcnlab.widgets.sizes import Sized, Sizes
from gcnlab.widgets.sliders import ObjectSliders
from gcnlab.widgets.stage import (
    PhotoObject,
    Stage,
    check_side,
    photo_stage,
    shape_stage,
    size_of,
)
from gcnlab.widgets.worker import take_turns

DEGREES_PER_NOTCH = 15
"""Degrees by which one notch of the mouse wheel with Shift rotates a shape."""

Result = tuple[Sized, str, AnswerAndPrediction | Exception | None]
"""A size, the title of a network, and what it has answered; an exception if it failed, and None if it
has finished."""


class ResizeExplorer(PictureExplorer):
    """One object on a background, with sliders for its size, position and, for shapes, rotation.

    The object is a textured shape of the data set Shapes or, with `cutout`, an object of a
    photograph, laid on a ground.

    For every model the explorer shows the receptive field of the object's centre, the fraction of
    the object that it covers, and the prediction. Dragging the dot moves the object. The mouse
    wheel, or + and −, changes its size; with Shift, or R, it rotates a shape.

    When the current answers are complete, those of other sizes are computed ahead
    (`gcnlab.widgets.sizes`), and appear without delay when they are asked for. Of a size between
    them, the nearest is shown, with its name, until the exact answer follows.

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
        if cutout is None:
            if ground is not None or labels is not None:
                raise ValueError("ground and labels are for an object of a photograph: give cutout")
            self._stage: Stage = shape_stage(kind, size, angle, image_size, background, texture)
        else:
            if angle != 0 or texture is not None:
                raise ValueError("angle and texture are for shapes: leave them out with cutout")
            if ground is None:
                image_size, background = check_side(image_size), whole("background", background, 0)
                ground = textured_ground(image_size, image_size, background)
            labels = VOC_ANIMALS if labels is None else labels
            self._stage = photo_stage(cutout, kind, size, ground, labels)
        self._networks = ResizeNetworks(
            models, normalization or Normalization(), self._stage.labels, self._stage.source
        )
        for name in ("pixel", "layer", "image_index"):
            if name in question:
                raise ValueError(f"{name} is for VRFExplorer: leave it out")
        side = min(self._stage.size)
        defaults = {"window": max(1, side // 8), "stride": max(1, side // 16)}
        question["target"] = target_id(question.get("target"), self._stage.labels.names)
        self.question = Question(pixel=(0, 0), **(defaults | question))
        if len(self.question.methods) > 1:
            raise ValueError(
                f"method must be one method, not {self.question.method}: only VRFExplorer shows several"
            )
        self._sizes = Sizes(self._stage, list(models))
        super().__init__()
        self.pictures = {title: Picture(self.lock, title=title) for title in models}
        self.predicted = {
            title: Picture(self.lock, title=f"{title}: prediction") for title in models
        }
        for picture in (*self.pictures.values(), *self.predicted.values()):
            picture.observe(self._on_pixel, "pixel")
            picture.observe(self._on_steps, ["grown", "turned"])
        self._sliders = ObjectSliders(self._stage, lambda name, value: self.change(**{name: value}))
        self._ahead = ipywidgets.Label().add_class("gcnlab-ahead")
        rows = [ipywidgets.HBox(row).add_class("gcnlab-pictures") for row in self.rows]
        rows[0].add_class("gcnlab-fields")
        self.add_class("gcnlab-explorer")
        self.children = (self._sliders, self._ahead, *rows)
        self.change()

    def __repr__(self) -> str:
        return f"ResizeExplorer({', '.join(self._networks.titles)}; {self.item})"

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
            ValueError: the kind is unknown, the object has no such property, or a number is out of
                its range. The explorer then stays as it was.
        """
        with self.lock:
            # What can raise an error comes first, so that the explorer stays as it is.
            stage, sizes = self._stage.changed(**changes), self._sizes
            if not sizes.matches(stage):
                sizes = Sizes(stage, self._networks.titles)
            sized = sizes.at(stage.item.size)
            self._sliders.show(stage)
            self._stage, self._sizes, self._sized = stage, sizes, sized
            sized.errors.clear()
            titles = [title for title in self._networks.titles if title not in sized.done]
            if sized.pixel is None:
                sized.errors.update(dict.fromkeys(titles, "the object is outside the image"))
                titles = []
            else:
                self.question = replace(self.question, pixel=sized.pixel)
            self._worker.submit(partial(self._results, sized, titles), self._results_ahead)
            for title in self._networks.titles:
                self._show_title(title)
            self._show_ahead()
        return self

    def wait(self, timeout: int | float = 120, ahead: bool = False) -> "ResizeExplorer":
        """Wait until the answers for the current size are complete, and return the explorer.

        Args:
            timeout: limit in seconds.
            ahead: wait until those of all sizes that are computed ahead are complete, too.

        Raises:
            TimeoutError: it takes longer than `timeout`.
        """
        self._worker.wait(timeout, follow_up=ahead)
        return self

    @property
    def answers(self) -> dict[str, Answer]:
        """Title → the answer of the model for the object's centre, as far as there is one."""
        return dict(self._sized.answers)

    @property
    def predictions(self) -> dict[str, UInt8[Tensor, "height width"]]:
        """Title → class ids, as far as there are some."""
        return dict(self._sized.predictions)

    @property
    def mask(self) -> Bool[Tensor, "height width"]:
        """The mask of the object."""
        return self._sized.mask

    def coverage(self, title: str) -> float | None:
        """Fraction of the object inside a model's region; None if there is no region yet."""
        return self._sized.coverage(title)

    def iou(self, title: str) -> float | None:
        """IoU of the object and the pixels predicted as its class; None if there is no prediction
        yet.
        """
        return self._sized.iou(title)

    def animate(
        self,
        path: str | Path,
        sizes: Sequence[int | float] | Any | None = None,
        seconds: int | float = 6,
    ) -> None:
        """Write an animation of the object as it grows and shrinks, as in the paper's Figure 3.

        Below each field is the share of the object that it covers, and below the prediction its IoU
        with the object. What is not known yet is computed first.

        Args:
            path: the file; its suffix chooses GIF (.gif) or APNG (.png, .apng).
            sizes: sizes of the object, in pixels; None for those that are computed ahead. An array
                of NumPy or PyTorch is taken, too.
            seconds: duration of one cycle, in which the object grows and shrinks: at least 20 ms a
                frame, and at most 60 seconds.

        Raises:
            ValueError: the suffix is unknown, `seconds` is out of its range, there is no size, a
                size is below 1 pixel, or there is no field at one of them.
        """
        sizes = self._sizes.ahead_sizes if sizes is None else _sizes_of(sizes)
        check_animation(path, seconds, len(sizes))
        answered = self._answered(sizes)
        titles, labels = self._networks.titles, self._stage.labels
        frames = [
            draw_frame(
                stills(sized, titles, labels, self._view),
                f"{labels.names[sized.kind]}, {sized.size:.0f} px",
                self._footnote(answered[0].answers[titles[0]]),
            )
            for sized in answered
        ]
        save_animation(path, frames, seconds)

    def _footnote(self, answer: Answer) -> str:
        """The footnote of the animation: the method if it is not valid, the region and the occluder."""
        method = self.question.method
        texts = [] if method == "exact" else [f"field: {METHODS[method]}"]
        texts += [f"{name}: {text}" for name, text in answer.measure_facts if name == "region"]
        if answer.evaluated is not None or method == "captum":
            texts.append(f"occluder: {self.question.occluder.text}")
        return "; ".join(texts)

    def _answered(self, sizes: Sequence[int | float]) -> list[Sized]:
        """The object at some sizes with the answers of all models; what is missing is computed.

        Raises:
            ValueError: a model has no field at one of the sizes.
            RuntimeError: the object was changed meanwhile.
        """
        self._worker.wait()
        with self.lock:
            found = [self._sizes.at(float(size)) for size in sizes]
            for sized in found:
                sized.errors.clear()
            if outside := [own.size for own in found if own.pixel is None]:
                raise ValueError(f"size {outside[0]:g}: the object is outside the image")

            def results(check: Callable[[], None]) -> Iterator[Result]:
                for sized in found:
                    titles = [title for title in self._networks.titles if title not in sized.done]
                    yield from self._results(sized, titles, check)

            self._worker.submit(results, self._results_ahead)
        self._worker.wait()
        for sized in found:
            for title in self._networks.titles:
                if title in sized.errors:
                    raise ValueError(f"{title}, {sized.size:g} px: {sized.errors[title]}")
                if title not in sized.done:
                    raise RuntimeError("the object was changed meanwhile: call animate again")
                if sized.coverage(title) is None:
                    raise ValueError(f"{title}, {sized.size:g} px: {sized.answers[title].note}")
        return found

    # The work in the background

    def _results(
        self, sized: Sized, titles: list[str], check: Callable[[], None]
    ) -> Iterator[Result]:
        """The answers for a size; first come the predictions of all models, then their fields."""
        streams = {title: self._stream(sized, title, check) for title in titles}
        for title, result in take_turns(streams):
            yield sized, title, result

    def _results_ahead(self, check: Callable[[], None]) -> Iterator[Result]:
        """The answers for the sizes of the grid that are not known."""
        for size in self._sizes.ahead(self._sized.size):
            sized = self._sizes.drawn(size)
            if sized.pixel is not None:
                yield from self._results(sized, self._networks.titles, check)

    def _stream(
        self, sized: Sized, title: str, check: Callable[[], None]
    ) -> Iterator[AnswerAndPrediction]:
        def on_progress(share: float) -> None:
            with self.lock:
                check()
                if sized is self._sized:
                    self.pictures[title].progress = share

        return self._networks.answers(title, sized, self.question, on_progress)

    def _show(self, generation: int, result: Result) -> None:
        sized, title, found = result
        if isinstance(found, tuple):
            sized.answers[title], sized.predictions[title] = found
        else:
            if found is None:
                sized.done.add(title)
            else:
                sized.errors[title] = describe(found)
            self._sizes.keep(sized)
            self._show_ahead()
        if sized is self._sized:
            self._show_title(title)

    # The pictures

    @property
    def _view(self) -> str:
        return self.question.view_of(self.question.method)

    def _show_title(self, title: str) -> None:
        """Show what is known of the current size in the pictures of one model, or else of the
        nearest size."""
        sized, error = self._sized, self._sized.errors.get(title, "")
        ended = title in sized.done or bool(error)
        near = sized if ended else self._sizes.nearest(title, sized.size)
        common = {"generation": self._worker.generation, "pixel": list(self.question.pixel)}
        self.pictures[title].show(
            **field_traits(
                title,
                near if sized.coverage(title) is None else sized,
                sized,
                self._view,
            ),
            **common,
            error=error,
            busy=not ended,
            progress=float(ended),
        )
        predicted = title in sized.predictions
        self.predicted[title].show(
            **prediction_traits(title, sized if predicted else near, sized, self._stage.labels),
            **common,
            error="",
            busy=not (predicted or ended),
        )

    def _show_ahead(self) -> None:
        known, count = len(self._sizes.computed), len(self._sizes.ahead_sizes)
        self._ahead.value = (
            f"{known} of {count} sizes are computed ahead; these appear without delay."
        )

    def _on_steps(self, change: dict) -> None:
        """Follow the mouse wheel and the keys over a picture."""
        with self.lock:
            steps = change["new"] - change["old"]
            if change["name"] == "grown":
                self.change(size=self._sizes.next_in_grid(self.item.size, steps))
            elif "angle" in self._stage.values:
                self.change(angle=(self.item.angle + DEGREES_PER_NOTCH * steps) % 360)

    def _move(self, pixel: tuple[int, int]) -> None:
        (row, column), before = self.item.center, self.question.pixel
        self.change(row=row + pixel[0] - before[0], column=column + pixel[1] - before[1])


def _sizes_of(sizes: Sequence[int | float] | Any) -> list[float]:
    """Return the sizes of an animation, also from NumPy or PyTorch, as floats.

    Raises:
        ValueError: there is none, or one is not a number of at least 1.
    """
    try:
        found = [size_of(size) for size in sizes]
    except TypeError:
        raise ValueError(f"sizes must be several sizes, in pixels, not {shown(sizes)}") from None
    if not found:
        raise ValueError("sizes is empty: give at least one size")
    return found
