"""An explorer of receptive fields: select a pixel and see, in several models, what drives it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import ipywidgets
import torch
from torch import nn

from gcnlab.annotations import Bool, Float, Shaped, Tensor, UInt8
from gcnlab.arguments import Pixel
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.models.logits import check_network
from gcnlab.receptive import coverage
from gcnlab.receptive.unit import check_image
from gcnlab.widgets.base import Explorer, describe
from gcnlab.widgets.controls import Controls
from gcnlab.widgets.painting import edges, object_under, paint
from gcnlab.widgets.picture import Picture
from gcnlab.widgets.session import Answer, Question, Session, private_copy, target_id
from gcnlab.widgets.worker import take_turns


class VRFExplorer(Explorer):
    """One picture per model, side by side. Click, drag or use the arrow keys to select a pixel.

    A background thread computes the fields for the latest selection. Errors appear in the picture
    of the model.

    Args:
        models: title → network that maps images to logits. The explorer works with copies, so later
            training does not affect it. If the score map and the image differ in size, the explorer
            shows the unit whose area contains the pixel, and names it below the picture.
        image: input of the models (already normalised).
        picture: the picture to show, RGB in 0 … 255; None undoes ImageNet's normalisation of
            `image`.
        labels: ids of classes or objects, of the size of the image. The object of a pixel is its
            connected region of one id, and the explorer shows its coverage. None shows none.
        classes: names of the classes, or a data set's labels; None numbers them. The class
            "background" is not an object.
        pixel: the initial (row, column); None means the centre.
        **question: the initial method, target (an id or a name), window, stride, threshold, rule,
            quantity, view … (see `Question`). By default window and stride are 1/8 and 1/16 of the
            shorter side.

    Attributes:
        question: the current question.
        answers: title → the answer of the model so far.
        pictures: title → the picture of the model.

    Raises:
        ValueError: there is no model, `picture` or `labels` does not fit the image, or the question
            is invalid.
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
        size = tuple(image.shape[-2:])
        for name, given in (("labels", labels), ("picture", picture)):
            if given is not None and tuple(given.shape[-2:]) != size:
                found, wanted = ("×".join(map(str, s)) for s in (given.shape[-2:], size))
                raise ValueError(f"{name} has {found} pixels, but the image has {wanted}")
        if picture is None:
            picture = (Normalization().invert(image.cpu()) * 255).round().to(torch.uint8)
        self.names = tuple(classes.names if isinstance(classes, LabelSet) else classes or ())
        background = self.names.index("background") if "background" in self.names else None
        self._image, self._labels, self._background = picture, labels, background
        self._sessions = {
            title: Session(private_copy(model), image) for title, model in models.items()
        }
        self.answers: dict[str, Answer] = {}
        side = min(size)
        defaults = {"window": max(1, side // 8), "stride": max(1, side // 16)}
        middle = (size[0] // 2, size[1] // 2)
        question["target"] = target_id(question.get("target"), self.names)
        self.question = Question(pixel=middle if pixel is None else pixel, **(defaults | question))
        super().__init__()
        self.pictures = {title: Picture(self.lock, title=title) for title in models}
        for shown in self.pictures.values():
            shown.show(paint(picture))
            shown.observe(self._on_pixel, "pixel")
        self._controls = Controls(self.question, self.names, side, self.ask)
        row = ipywidgets.HBox(list(self.pictures.values())).add_class("gcnlab-pictures")
        self.add_class("gcnlab-explorer")
        self.children = (self._controls.box, row)
        self.ask()

    def __repr__(self) -> str:
        return f"VRFExplorer({', '.join(self.pictures)}; {self.question})"

    @property
    def rows(self) -> list[list[Picture]]:
        return [list(self.pictures.values())]

    def ask(self, **changes) -> "VRFExplorer":
        """Change the question, as the controls do: `ask(pixel=(120, 40), method="gradient")`.

        Args:
            changes: fields of `Question`; `target` may be the name of a class. A new rule without a
                threshold gets its own.

        Raises:
            ValueError: the method, view or class name is unknown.
        """
        if "target" in changes:
            changes["target"] = target_id(changes["target"], self.names)
        if "rule" in changes:
            changes.setdefault("threshold", None)
        with self.lock:
            before, self.question = self.question, replace(self.question, **changes)
            self._controls.show(self.question)
            if self.answers and replace(before, view=self.question.view) == self.question:
                for title in self.answers:
                    self._paint(title)
                return self
            question, item = self.question, self.object_under(self.question.pixel)
            self._controls.where.value = self._where(question.pixel)
            for shown in self.pictures.values():
                shown.show(
                    item=edges(item) if item is not None else [],
                    pixel=list(question.pixel),
                    busy=True,
                    progress=0.0,
                )
            self._worker.submit(lambda check: self._answers(question, check))
        return self

    def object_under(self, pixel: tuple[int, int]) -> Bool[Tensor, "height width"] | None:
        """The object that contains the pixel; None without labels or without an object there."""
        if self._labels is None:
            return None
        return object_under(self._labels, pixel, self._background)

    def coverage(self, title: str) -> float | None:
        """Fraction of the object under the pixel inside a model's region; None if one is missing."""
        answer = self.answers.get(title)
        if answer is None or answer.region is None:
            return None
        item = self.object_under(answer.question.pixel)
        return None if item is None else coverage(answer.region, item)

    def _answers(
        self, question: Question, check: Callable[[], None]
    ) -> Iterator[tuple[str, Answer | Exception | None]]:
        # The models take turns, so that each has a picture before the first one is refined. The first
        # answer has only class and logit, no picture yet.
        progress = {title: self._progress_of(p, check) for title, p in self.pictures.items()}
        asked = {t: s.answers(question, progress[t]) for t, s in self._sessions.items()}
        return take_turns(asked, first=2)

    def _show(self, generation: int, result: tuple[str, Answer | Exception | None]) -> None:
        title, answer = result
        shown = self.pictures[title]
        if isinstance(answer, Answer):
            self.answers[title] = answer
            self._controls.offer(answer.classes)
            shown.show(facts=self._facts(title), note=answer.note, error="")
            if answer.region is not None or answer.note:
                self._paint(title)
                shown.show(generation=generation)
        elif answer is None:
            shown.show(busy=False, progress=1.0, generation=generation)
        else:
            self.answers.pop(title, None)
            shown.show(
                paint(self._image),
                region=[],
                facts=[],
                note="",
                error=describe(answer),
                busy=False,
                generation=generation,
            )

    def _paint(self, title: str) -> None:
        answer, view = self.answers[title], self.question.view
        outlined = answer.region is not None and view != "heat"  # a heat map has no outline
        self.pictures[title].show(
            paint(self._image, answer.field, answer.region, view),
            region=edges(answer.region) if outlined else [],
        )

    def _facts(self, title: str) -> list[tuple[str, str]]:
        answer = self.answers[title]
        name = self.names[answer.target] if answer.target < len(self.names) else answer.target
        predicted = ", predicted" if answer.question.target is None else ""
        facts = [("class", f"{name}{predicted}"), ("logit", f"{answer.logit:.2f}")]
        if answer.asked_unit:
            facts.append(("unit", answer.asked_unit))
        if answer.region is None:
            return facts
        if (covered := self.coverage(title)) is not None:
            facts.append(("object", f"{covered:.0%} covered"))
        facts.append(("image", f"{answer.region.float().mean().item():.0%} covered"))
        facts += answer.measure_facts
        if answer.evaluated is not None:
            run = "all" if answer.evaluated == 1 else f"{answer.evaluated:.0%}"
            doubt = f", {answer.agreement:.0%} agreement" if answer.agreement < 1 else ""
            facts.append(("windows", f"{run}{doubt}, {answer.seconds:.1f} s"))
        else:
            facts.append(("time", f"{answer.seconds:.1f} s"))
        return facts

    def _where(self, pixel: tuple[int, int]) -> str:
        row, column = pixel
        text = f"row {row}, column {column}"
        if self._labels is None or not all(0 <= p < n for p, n in zip(pixel, self._labels.shape)):
            return text
        label = int(self._labels[row, column])
        return f"{text}: {self.names[label] if label < len(self.names) else f'label {label}'}"

    def _move(self, pixel: tuple[int, int]) -> None:
        self.ask(pixel=pixel)
