"""An explorer of receptive fields: point at a pixel and see, in several networks, what drives it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnlab.annotations import Bool, Float, Shaped, Tensor, UInt8
from gcnlab.arguments import Pixel
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.models.logits import check_network
from gcnlab.receptive import OcclusionSettings, coverage
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.settings import QUANTITIES
from gcnlab.receptive.unit import check_image
from gcnlab.widgets.atlases import Atlases
from gcnlab.widgets.base import Explorer, describe
from gcnlab.widgets.page import page_part, whole_page
from gcnlab.widgets.painting import edges, object_under, paint, tint
from gcnlab.widgets.question import METHODS, Question, target_id
from gcnlab.widgets.scene import pack_array, pack_scene
from gcnlab.widgets.session import Answer, Session, private_copy
from gcnlab.widgets.snapshot import Still
from gcnlab.widgets.viewer import FieldViewer
from gcnlab.widgets.worker import take_turns

PREDICTED = -1
"""Stands for None, the predicted class, in the menu of classes."""

Place = tuple[str, str]
"""Method and title of the network of one picture."""


class VRFExplorer(Explorer):
    """One picture per network, side by side. Point at a pixel, and its receptive field is shown.

    The valid fields of all pixels are computed in the background, coarse ones first
    (`gcnlab.FieldAtlas`); then the pictures follow the mouse without the kernel. A click pins a
    pixel, and a second one shows the difference of the two fields. Other methods answer for the
    pixel where the mouse rests. Errors appear below the picture of the network.

    Args:
        models: title → network that maps images to logits. The explorer works with copies, so later
            training does not affect it.
        image: input of the networks (already normalised).
        picture: the picture to show, RGB in 0 … 255; None undoes ImageNet's normalisation of
            `image`.
        labels: ids of classes or objects, of the size of the image. The object of a pixel is its
            connected region of one id, and the explorer shows its coverage. None shows none.
        classes: names of the classes, or a data set's labels; None numbers them. The class
            "background" is not an object.
        pixel: the initial (row, column); None means the centre.
        **question: the initial method or methods, target (an id or a name), window, stride,
            threshold, rule, quantity, view … (see `Question`). By default window and stride are 1/8
            and 1/16 of the shorter side.

    Attributes:
        question: the current question.
        pins: the pixels that are pinned, at most two.

    Raises:
        ValueError: there is no network, `picture` or `labels` does not fit the image, or the
            question is invalid.
    """

    def __init__(
        self,
        models: dict[str, nn.Module],
        image: Float[Tensor, "channels height width"],
        picture: UInt8[Tensor, "3 rows columns"] | None = None,
        labels: Shaped[Tensor, "label_rows label_columns"] | None = None,
        classes: LabelSet | Sequence[str] | None = None,
        pixel: Pixel | None = None,
        **question,
    ):
        if not models:
            raise ValueError("models is empty: give at least one model")
        for model in models.values():
            check_network(model)
        check_image(image)
        self.size = tuple(image.shape[-2:])
        for name, given in (("labels", labels), ("picture", picture)):
            if given is not None and tuple(given.shape[-2:]) != self.size:
                found, wanted = ("×".join(map(str, s)) for s in (given.shape[-2:], self.size))
                raise ValueError(f"{name} has {found} pixels, but the image has {wanted}")
        if picture is None:
            picture = (Normalization().invert(image.cpu()) * 255).round().to(torch.uint8)
        self.names = tuple(classes.names if isinstance(classes, LabelSet) else classes or ())
        self._classes = classes or ()
        self._background = self.names.index("background") if "background" in self.names else None
        self._image, self._labels = picture, labels
        copies = {title: private_copy(model) for title, model in models.items()}
        self._titles = list(copies)
        self._atlases = Atlases(copies, image)
        self._sessions = {title: Session(model, image) for title, model in copies.items()}
        self._answers: dict[Place, Answer] = {}
        self._errors: dict[Place, str] = {}
        self.pins: list[tuple[int, int]] = []
        side = min(self.size)
        defaults = {"window": max(1, side // 8), "stride": max(1, side // 16)}
        middle = (self.size[0] // 2, self.size[1] // 2)
        question["target"] = target_id(question.get("target"), self.names)
        question = Question(pixel=middle if pixel is None else pixel, **(defaults | question))
        self.question = self._checked(question)
        super().__init__()
        self._viewer = FieldViewer(self.lock, self._on_change)
        self._viewer.show_scene(self._scene())
        self.children = (self._viewer,)
        self._submit()

    def __repr__(self) -> str:
        return f"VRFExplorer({', '.join(self._titles)}; {self.question})"

    def ask(self, **changes) -> "VRFExplorer":
        """Change the question, as the controls do: `ask(pixel=(120, 40), method="gradient")`.

        Args:
            changes: fields of `Question`; `target` may be the name of a class. A new rule without a
                threshold gets its own. A new pixel releases the pins.

        Raises:
            ValueError: a value is unknown or out of its range.
        """
        if "target" in changes:
            changes["target"] = target_id(changes["target"], self.names)
        if "rule" in changes:
            changes.setdefault("threshold", None)
        with self.lock:
            self._ask(changes, [] if "pixel" in changes else self.pins)
        return self

    def answer(self, title: str, method: str | None = None) -> Answer | None:
        """What is known of the pixel of the question.

        Args:
            title: title of the network.
            method: one of the methods of the question; None for the first.

        Returns:
            The answer; None if there is none yet. An atlas answers for the unit that it keeps and
            that is nearest to the pixel; `Answer.unit` names it.
        """
        question = self.question
        method = question.methods[0] if method is None else method
        if not question.in_atlas(method):
            answer = self._answers.get((method, title))
            if (
                answer is None
                or answer.question.computed != replace(question, method=method).computed
            ):
                return None
            return replace(answer, question=question).with_region()
        field = self._atlases.field(title, question.occluder, question.pixel)
        if field is None:
            return None
        return Answer(
            question=question,
            target=field.target,
            logit=field.score,
            classes=len(self.names),
            field=field.discrepancy,
            radius=field.radius(),
            evaluated=field.evaluated,
            note=field.note,
            unit=field.pixel,
            map_size=self._atlases.map_size(title, question.occluder),
        ).with_region()

    @property
    def answers(self) -> dict[str, Answer]:
        """Title → the answer for the first method, as far as there is one."""
        found = {title: self.answer(title) for title in self._titles}
        return {title: answer for title, answer in found.items() if answer is not None}

    def object_under(self, pixel: tuple[int, int]) -> Bool[Tensor, "height width"] | None:
        """The object that contains the pixel; None without labels or without an object there."""
        if self._labels is None:
            return None
        return object_under(self._labels, pixel, self._background)

    def coverage(self, title: str) -> float | None:
        """Fraction of the object under the pixel inside a network's region; None if one is
        missing."""
        answer = self.answer(title)
        if answer is None or answer.region is None:
            return None
        item = self.object_under(answer.question.pixel)
        return None if item is None else coverage(answer.region, item)

    def save(self, path: str | Path, title: str = "Valid receptive fields") -> None:
        """Save the explorer as a web page that works without a kernel and fetches nothing.

        The page contains the valid fields of all units that the explorer keeps, of every occluder
        that was computed, in eight bits. It waits until the current ones are complete.

        Raises:
            ValueError: no valid field was computed.
        """
        self._worker.wait()
        with self.lock:
            if not self._atlases.complete():
                raise ValueError(
                    f"{path}: no valid field was computed, so there is nothing to save"
                )
            page = whole_page(self.page_part(), title)
        Path(path).write_text(page, encoding="utf-8")

    # The question

    def _ask(
        self, changes: dict[str, Any], pins: list[tuple[int, int]], origin: str | None = None
    ) -> None:
        """Change the question and the pins; `origin` is the view whose user did it."""
        before = self.question
        self.question, self.pins = self._checked(replace(before, **changes)), pins
        if self._rows(before) != self._rows(self.question):
            self._viewer.show_scene(self._scene())
        if before.computed != self.question.computed:
            self._submit()
        self._viewer.show_state(self._state(), origin)

    def _checked(self, question: Question) -> Question:
        """Raise ValueError if the question does not fit the image."""
        if not all(0 <= p < n for p, n in zip(question.pixel, self.size)):
            size = "×".join(map(str, self.size))
            raise ValueError(f"pixel {question.pixel} is outside the {size} image")
        OcclusionGrid(self.size, question.window, question.stride)
        OcclusionSettings(
            threshold=question.threshold,
            rule=question.rule,
            fill=question.fill,
            agreement=question.agreement,
        )
        return question

    # The browser

    def _rows(self, question: Question) -> list[tuple[str, str]]:
        """Method and label of each row of pictures, for the browser."""
        return [
            ("atlas" if question.in_atlas(method) else method, METHODS[method])
            for method in question.methods
        ]

    def _scene(self) -> dict[str, Any]:
        scene = pack_scene(
            self._image,
            self._titles,
            self._rows(self.question),
            self._state(),
            self._classes,
            self._labels,
            background=self._background,
        )
        largest = max(1, min(self.size) // 2)
        classes = {str(PREDICTED): "as predicted"} | {str(i): n for i, n in enumerate(self.names)}
        scene["controls"] = [
            {"name": "method", "label": "field", "options": METHODS},
            {"name": "target", "label": "class", "options": classes},
            {"name": "quantity", "label": "of the", "options": {q: q for q in QUANTITIES}},
            {"name": "window", "label": "occluder", "min": 1, "max": largest},
            {"name": "stride", "label": "stride", "min": 1, "max": largest},
        ]
        return scene

    def _state(self) -> dict[str, Any]:
        question = self.question
        return {
            "pixel": list(question.pixel),
            "pins": [list(pin) for pin in self.pins],
            "view": question.view,
            "rule": question.rule,
            "threshold": question.threshold,
            "occluder": question.occluder.text,
            "method": question.methods[0],
            "target": PREDICTED if question.target is None else question.target,
            "quantity": question.quantity,
            "window": question.window,
            "stride": question.stride,
            "question": self._worker.generation,
        }

    def _on_change(self, changes: dict[str, Any], view: str) -> None:
        """Follow what the user changed in the browser. The viewer calls this with the lock."""
        own = {"view", "rule", "threshold", "window", "stride", "method", "quantity"}
        asked = {name: value for name, value in changes.items() if name in own}
        if "pixel" in changes:
            asked["pixel"] = tuple(changes["pixel"])
        if "target" in changes:
            target = int(changes["target"])
            asked["target"] = None if target == PREDICTED else target
        pins = [tuple(pin) for pin in changes.get("pins", self.pins)]
        self._ask(asked, pins, view)

    # The work in the background

    def _submit(self) -> None:
        question = self.question
        self._errors.clear()
        for method in question.methods:
            for title in self._titles:
                self._viewer.show_status(*self._numbers((method, title)), busy=True, progress=0.0)
        self._worker.submit(lambda check: self._results(question, check))

    def _results(
        self, question: Question, check: Callable[[], None]
    ) -> Iterator[tuple[Place, Any]]:
        self._atlases.forget_unfinished(question.occluder)
        # The networks take turns, so that each has a picture before the first one is refined.
        streams = {}
        for method in question.methods:
            for title in self._titles:
                progress = self._progress_of((method, title), check)
                if question.in_atlas(method):
                    stream = self._atlases.levels(title, question.occluder, progress)
                else:
                    own = replace(question, method=method)
                    stream = self._sessions[title].answers(own, progress)
                streams[method, title] = stream
        return take_turns(streams)

    def _progress_of(self, place: Place, check: Callable[[], None]) -> Callable[[float], None]:
        """Return a function that shows progress, unless there is a newer request."""
        row, number = self._numbers(place)
        last = 0.0

        def on_progress(share: float) -> None:
            nonlocal last
            with self.lock:
                check()
                if time.monotonic() - last > 0.1:
                    last = time.monotonic()
                    self._viewer.show_status(row, number, busy=True, progress=share)

        return on_progress

    def _numbers(self, place: Place) -> tuple[int, int]:
        return self.question.methods.index(place[0]), self._titles.index(place[1])

    def _show(self, generation: int, result: tuple[Place, Any]) -> None:
        place, answer = result
        row, number = self._numbers(place)
        if isinstance(answer, AtlasTable):
            if self.names and not self._viewer.has_prediction(number):
                ids = self._atlases.prediction(place[1])
                self._viewer.show_prediction(number, pack_array(ids.numpy()))
            self._viewer.show_atlas(number, answer, self.question.occluder.text)
        elif isinstance(answer, Answer):
            self._answers[place] = answer
            if answer.field is not None or answer.note:
                self._viewer.show_answer(row, number, *_packed(answer, generation))
        elif answer is None:
            self._viewer.show_status(row, number, busy=False, progress=1.0, note=self._note(place))
        else:
            self._answers.pop(place, None)
            self._errors[place] = describe(answer)
            self._viewer.show_status(row, number, busy=False, error=describe(answer))

    def _note(self, place: Place) -> str:
        method, title = place
        if self.question.in_atlas(method):
            return self._atlases.note(title, self.question.occluder)
        answer = self._answers.get(place)
        return "" if answer is None else answer.note

    def _fail(self, generation: int, error: Exception) -> None:
        for method in self.question.methods:
            for title in self._titles:
                self._show(generation, ((method, title), error))

    # What is saved

    def page_part(self) -> str:
        complete = self._atlases.complete()
        if not complete:
            return super().page_part()
        # The still picture shows the error of a network that has no field.
        titles = [t for t in self._titles if any(t == own for own, _, _ in complete)]
        known = [occluder.text for _, occluder, _ in complete]
        asked = self.question.occluder.text
        scene = pack_scene(
            self._image,
            titles,
            [("atlas", METHODS["exact"])],
            self._state() | {"occluder": asked if asked in known else known[-1]},
            self._classes,
            self._labels,
            list(map(self._atlases.prediction, titles)),
            self._background,
            lossless=False,
        )
        tables = [(titles.index(t), table, o.text) for t, o, table in complete]
        return page_part(scene, tables, self.still_html())

    @property
    def stills(self) -> list[list[Still]]:
        return [
            [self._still(method, title) for title in self._titles]
            for method in self.question.methods
        ]

    def _still(self, method: str, title: str) -> Still:
        question, answer = self.question, self.answer(title, method)
        item = self.object_under(question.pixel)
        field = region = None
        if answer is not None and answer.region is not None:
            field, region = answer.field, answer.region
        outlines = {"item": [] if item is None else edges(item)}
        if region is not None and question.view != "heat":  # a heat map has no outline
            outlines["region"] = edges(region)
        image = self._image
        ids = self._atlases.prediction(title)
        if (
            question.view == "prediction"
            and ids is not None
            and isinstance(self._classes, LabelSet)
        ):
            image = torch.from_numpy(tint(image, self._classes.colorize(ids))).permute(2, 0, 1)
        return Still(
            title=title,
            raster=paint(image, field, region, question.view),
            segments=outlines,
            pixel=question.pixel,
            facts=[] if answer is None else self._facts(answer),
            error=self._errors.get((method, title), ""),
        )

    def _facts(self, answer: Answer) -> list[tuple[str, str]]:
        name = self.names[answer.target] if answer.target < len(self.names) else answer.target
        predicted = ", predicted" if answer.question.target is None else ""
        facts = [("class", f"{name}{predicted}"), ("logit", f"{answer.logit:.2f}")]
        if answer.asked_unit:
            facts.append(("unit", answer.asked_unit))
        if answer.region is None:
            return facts
        item = self.object_under(answer.question.pixel)
        if item is not None:
            facts.append(("object", f"{coverage(answer.region, item):.0%} covered"))
        facts.append(("image", f"{answer.region.float().mean().item():.0%} covered"))
        return facts + answer.measure_facts


def _packed(answer: Answer, generation: int) -> tuple[dict[str, Any], bytes]:
    """An answer for the browser, and the values of its field, pixel by pixel."""
    field, pixel = answer.field, list(answer.question.pixel)
    height, width = (1, 1) if field is None else field.shape
    facts = {
        "pixel": pixel,
        "question": generation,
        "target": answer.target,
        "logit": answer.logit,
        "centre": pixel,
        "evaluated": 1.0 if answer.evaluated is None else answer.evaluated,
        "edges": [list(range(height + 1)), list(range(width + 1))],
    }
    return facts, b"" if field is None else field.float().contiguous().numpy().tobytes()
