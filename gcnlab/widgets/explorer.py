"""An explorer of receptive fields: point at a pixel and see, in several networks, what drives it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from gcnlab.annotations import Bool, Tensor
from gcnlab.arguments import Pixel, Whole, items, pixel_of, shown, whole
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.models.logits import check_network
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.widgets.atlases import middle_unit
from gcnlab.widgets.base import Explorer, describe
from gcnlab.widgets.code import field_code
from gcnlab.widgets.examples import Example, Examples
from gcnlab.widgets.files import save_explorer, saved_bytes
from gcnlab.widgets.laboratory import Laboratory, Place
from gcnlab.widgets.menus import controls, state_of
from gcnlab.widgets.networks import network_of
from gcnlab.widgets.packing import atlas_extras
from gcnlab.widgets.page import page_part
from gcnlab.widgets.question import METHODS, SUITED_VIEWS, Question, target_id
from gcnlab.widgets.scene import pack_ids, pack_scene
from gcnlab.widgets.session import Answer, private_copy
from gcnlab.widgets.snapshot import Still
from gcnlab.widgets.stills import stills_of
from gcnlab.widgets.viewer import FieldViewer
from gcnlab.widgets.worker import take_turns


class VRFExplorer(Explorer):
    """One picture per network, side by side. Point at a pixel, and its receptive field is shown.

    The valid fields of all pixels are computed in the background, coarse ones first
    (`gcnlab.FieldAtlas`); then the pictures follow the mouse without the kernel. A click pins a
    pixel, and a second one shows the difference of the two fields. Other methods answer for the
    pixel where the mouse rests. Errors appear below the picture of the network.

    Args:
        models: title → network that maps images to logits, or its name (see
            `gcnlab.widgets.networks.network_of`); or a list of names. The explorer works with
            copies, so later training does not affect it.
        image: input of the networks: a normalised tensor (channels, height, width), a picture
            (uint8, RGB), or an image file; or a list or a data set of them, also of pairs (image,
            labels), which the user goes through. In the browser, the user can add files.
        picture: the picture to show, RGB in 0 … 255, or one for each image; None undoes the
            normalisation of `image`.
        labels: ids of classes or objects, of the size of the image, or one map for each image. The
            object of a pixel is its connected region of one id, and the explorer shows its coverage.
            None shows none.
        classes: names of the classes, or a data set's labels; None takes those of the networks that
            were given by name, if they agree, and else numbers. The class "background" is not an
            object.
        pixel: the initial (row, column); None means the last one at or above and left of the centre
            that every atlas keeps.
        normalization: of pictures and files; None means that of the first network that was given by
            name, or else ImageNet's.
        pins: pixels to pin, at most two.
        **question: the initial method or methods, target (an id or a name), window, stride, fill,
            threshold, rule, quantity, view, layer, image_index … (see `Question`). By default window
            and stride are 1/8 and 1/16 of the shorter side.

    Attributes:
        question: the current question.
        pins: the pixels that are pinned, at most two.

    Raises:
        ValueError: there is no network or no image, `picture` or `labels` does not fit the image, or
            the question is invalid.
        TypeError: a model is not a network.
        FileNotFoundError, ModuleNotFoundError: a name has no network or no file, or its package is
            missing.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module | str | Path] | Sequence[str] | str | Any,
        image: Any,
        picture: Any = None,
        labels: Any = None,
        classes: LabelSet | Sequence[str] | None = None,
        pixel: Pixel | None = None,
        normalization: Normalization | None = None,
        pins: Sequence[Pixel] = (),
        **question,
    ):
        networks = {title: network_of(model) for title, model in _by_title(models).items()}
        for network in networks.values():
            check_network(network.model)
        known = [n for n in networks.values() if n.normalization is not None]
        if normalization is None and known:
            normalization = known[0].normalization
        if classes is None:
            named = [n.classes for n in networks.values() if n.classes]
            classes = named[0] if named and all(c == named[0] for c in named) else ()
        examples = Examples(image, picture, labels, normalization)
        classes = classes if isinstance(classes, LabelSet) else tuple(classes)
        copies = {title: private_copy(network.model) for title, network in networks.items()}
        self._lab = Laboratory(copies, examples, classes)
        self._errors: dict[Place, str] = {}
        self.question = self._first(pixel, question)
        self.pins = [pixel_of(pin) for pin in pins]
        self._lab.check(self.question, self.pins)
        super().__init__()
        self._viewer = FieldViewer(self.lock, self._on_change, self._on_file, self._on_save)
        self._viewer.show_scene(self._scene())
        self.children = (self._viewer,)
        self._submit()

    def __repr__(self) -> str:
        return f"VRFExplorer({', '.join(self._lab.titles)}; {self.question})"

    def ask(self, **changes) -> "VRFExplorer":
        """Change the question, as the controls do: `ask(pixel=(120, 40), method="gradient")`.

        Args:
            changes: fields of `Question`, or `pins`; `target` may be the name of a class. A new rule
                without a threshold takes its default threshold. Another layer starts with its
                strongest channel. Another image keeps the pixel if it lies inside the image;
                otherwise the pixel moves to the centre. A new pixel or image releases the pins.

        Raises:
            ValueError: a value is unknown or out of its range.
        """
        with self.lock:
            self._ask(changes)
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
        return self._lab.answer(self.question, title, method)

    @property
    def titles(self) -> list[str]:
        """The titles of the networks."""
        return self._lab.titles

    @property
    def example(self) -> Example:
        """The current image, with its picture and its labels."""
        return self._lab.example(self.question)

    @property
    def has_fields(self) -> bool:
        """Whether a valid field of the current image and layer is complete."""
        return bool(self._lab.complete(self.question))

    @property
    def answers(self) -> dict[str, Answer]:
        """Title → the answer for the first method, as far as there is one."""
        found = {title: self.answer(title) for title in self._lab.titles}
        return {title: answer for title, answer in found.items() if answer is not None}

    def object_under(self, pixel: Pixel) -> Bool[Tensor, "height width"] | None:
        """The object that contains the pixel; None without labels or without an object there."""
        return self._lab.object_under(replace(self.question, pixel=pixel))

    def coverage(self, title: str) -> float | None:
        """Fraction of the object under the pixel inside a network's region; None if one is
        missing."""
        return self._lab.coverage(self.question, title)

    @property
    def layers(self) -> list[str]:
        """Paths of the submodules that `ask(layer=…)` accepts, in the order of the computation;
        empty until the first fields are complete."""
        return list(self._lab.layers)

    @property
    def state(self) -> dict[str, Any]:
        """All settings, as JSON can hold them: `VRFExplorer(models, image, **state)` shows the same,
        and so does `ask(**state)`."""
        with self.lock:
            return state_of(self.question, self.pins)

    def save(self, path: str | Path, title: str = "Valid receptive fields") -> None:
        """Save what the explorer shows, once it is complete; the suffix says in which form.

        - .html: a web page that works without a kernel and fetches nothing. It contains the valid
          fields of all units that the explorer keeps, for every occluder that was computed, in eight
          bits.
        - .png, .svg, .pdf: the pictures.
        - .npz: the numbers: `fields` and `regions`, each (methods, networks, height, width), with
          NaN for what is missing, `methods`, `titles`, `picture`, and the settings as JSON.

        Raises:
            ValueError: the suffix is unknown, or no valid field was computed for a page.
        """
        self._worker.wait()
        with self.lock:
            save_explorer(self, Path(path), title)

    # The question

    def _first(self, pixel: Pixel | None, question: dict[str, Any]) -> Question:
        """The initial question."""
        index = whole("image_index", question.get("image_index", 0), 0)
        size = self._lab.examples[index].size
        defaults = {"window": max(1, min(size) // 8), "stride": max(1, min(size) // 16)}
        question["target"] = target_id(question.get("target"), self._lab.names)
        pixel = middle_unit(size) if pixel is None else pixel
        return Question(pixel=pixel, **(defaults | question))

    def _ask(self, changes: dict[str, Any], origin: str | None = None) -> None:
        """Change the question and the pins; `origin` is the view whose user did it."""
        before, changes = self.question, dict(changes)
        if "target" in changes:
            changes["target"] = target_id(changes["target"], self._lab.names)
        if "rule" in changes:
            changes.setdefault("threshold", None)
        if changes.get("layer", before.layer) != before.layer:
            changes = {"target": None, "quantity": "logit"} | changes
        moved = {"pixel", "image_index"} & changes.keys()
        pins = items(changes.pop("pins", [] if moved else self.pins)) or []
        pins = [pixel_of(pin) for pin in pins]
        if (index := changes.get("image_index", before.image_index)) != before.image_index:
            changes = self._fitting(index) | changes
        asked = replace(before, **changes)
        self._lab.check(asked, pins)
        self._worker.check_open()
        self.question, self.pins = asked, pins
        shown = [(q.image_index, q.layer, self._rows(q)) for q in (before, asked)]
        if shown[0] != shown[1]:
            self._viewer.show_scene(self._scene())
        if before.computed != asked.computed:
            self._submit()
        self._viewer.show_state(self._state(), origin)

    def _fitting(self, image_index: Whole) -> dict[str, Any]:
        """The pixel and the occluder of the question, changed as far as another image needs it."""
        index = whole("image_index", image_index, 0)
        question, size = self.question, self._lab.examples[index].size
        inside = all(p < n for p, n in zip(question.pixel, size))
        window = min(question.window, *size)
        return {
            "pixel": question.pixel if inside else middle_unit(size),
            "window": window,
            "stride": min(question.stride, window),
        }

    # The browser

    def _rows(self, question: Question) -> list[dict[str, str]]:
        """The rows of pictures, for the browser."""
        return [
            {
                "method": "atlas" if question.in_atlas(method) else method,
                "label": METHODS[method],
                "view": SUITED_VIEWS.get(method, "region"),
            }
            for method in question.methods
        ]

    def _scene(self) -> dict[str, Any]:
        example, lab = self.example, self._lab
        scene = pack_scene(
            example.picture,
            lab.titles,
            self._rows(self.question),
            self._state(),
            lab.labels,
            example.labels,
            background=lab.background,
            hidden=self.question.layer is not None,
        )
        return scene | {
            "controls": controls(self.question, lab),
            "pictures": lab.examples.titles,
        }

    def _state(self) -> dict[str, Any]:
        state = state_of(self.question, self.pins)
        state |= {"occluder": self.question.occluder.text, "question": self._worker.generation}
        return state | {"method": list(self.question.methods)}

    def _on_change(self, changes: dict[str, Any], view: str) -> None:
        """Follow what the user changed in the browser. The viewer calls this with the lock."""
        known = state_of(self.question, self.pins)
        changes = {name: value for name, value in changes.items() if name in known}
        try:
            self._ask(changes, view)
        except ValueError as error:
            self._viewer.show_problem(str(error))
            self._viewer.show_state(self._state())

    def _on_file(self, name: str, content: bytes) -> None:
        """Show an image file that the user added. The viewer calls this with the lock."""
        try:
            index, resized = self._lab.examples.add(name, content)
            self._ask({"image_index": index})
        except ValueError as error:
            self._viewer.show_problem(str(error))
            return
        if resized:
            size = "×".join(map(str, self.example.size))
            self._viewer.show_problem(f"{name} was made smaller, to {size} pixels.", error=False)

    def _on_save(self, suffix: str) -> bytes:
        """What the user saves as a file. The viewer calls this with the lock."""
        return saved_bytes(self, suffix)

    # The work in the background

    def _submit(self) -> None:
        question = self.question
        self._errors.clear()
        for place in self._places(question):
            self._viewer.show_status(*self._numbers(place), busy=True, progress=0.0)
        self._worker.submit(lambda check: self._results(question, check))

    def _places(self, question: Question) -> list[Place]:
        return [(method, title) for method in question.methods for title in self._lab.titles]

    def _results(
        self, question: Question, check: Callable[[], None]
    ) -> Iterator[tuple[Place | None, Any]]:
        with self.lock:
            check()
            self._lab.prepare(question)
            kept = [occluder.text for occluder in self._lab.occluders(question)]
            self._viewer.keep_atlases([*kept, question.occluder.text])
        # The networks take turns, so that each has a picture before the first one is refined.
        yield from take_turns(
            {
                place: self._lab.stream(question, place, self._progress_of(place, check))
                for place in self._places(question)
            }
        )
        if not self._lab.searched:
            self._lab.find_layers()
            yield None, None

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
        return self.question.methods.index(place[0]), self._lab.titles.index(place[1])

    def _show(self, generation: int, result: tuple[Place | None, Any]) -> None:
        place, answer = result
        if place is None:  # the layers are known
            self._viewer.show_controls(controls(self.question, self._lab))
            return
        row, number = self._numbers(place)
        if isinstance(answer, AtlasTable):
            self._show_atlas(place[1], number, answer)
        elif isinstance(answer, Answer):
            self._lab.keep(place, answer)
            self._show_prediction(place[1], number)
            if answer.field is not None or answer.note:
                packed = self._packed(answer, place, generation)
                self._viewer.show_answer(row, number, *packed)
        elif answer is None:
            note = self._lab.note(self.question, place)
            self._viewer.show_status(row, number, busy=False, progress=1.0, note=note)
        else:
            self._lab.keep(place, None)
            self._errors[place] = describe(answer)
            self._viewer.show_status(row, number, busy=False, error=describe(answer))

    def _show_atlas(self, title: str, number: int, table: AtlasTable) -> None:
        self._show_prediction(title, number)
        self._viewer.show_atlas(number, table, self._extras(title, table, self.question))

    def _show_prediction(self, title: str, number: int) -> None:
        if not self._viewer.has_prediction(number):
            ids = self._lab.prediction(self.question, title)
            if ids is not None and self._lab.names:
                self._viewer.show_prediction(number, pack_ids(ids))

    def _extras(self, title: str, table: AtlasTable, question: Question) -> dict[str, Any]:
        return atlas_extras(question, table, self._lab.best_everywhere(question, title))

    def _packed(
        self, answer: Answer, place: Place, generation: int
    ) -> tuple[dict[str, Any], bytes]:
        """An answer for the browser, and the values of its field, pixel by pixel."""
        field, pixel = answer.field, list(answer.question.pixel)
        height, width = (1, 1) if field is None else field.shape
        image = self._lab.example(answer.question).image
        code = field_code(
            answer.question, place[0], tuple(image.shape[-2:]), answer.map_size, len(image)
        )
        facts = {
            "pixel": pixel,
            "question": generation,
            "target": answer.target,
            "logit": answer.logit,
            "centre": pixel,
            "evaluated": 1.0 if answer.evaluated is None else answer.evaluated,
            "edges": [list(range(height + 1)), list(range(width + 1))],
            "code": code,
            "best": answer.best,
            "measured": answer.radius is not None,
        }
        return facts, b"" if field is None else field.float().contiguous().numpy().tobytes()

    def _fail(self, generation: int, error: Exception) -> None:
        for place in self._places(self.question):
            self._show(generation, (place, error))

    # What is saved

    @property
    def stills(self) -> list[list[Still]]:
        return stills_of(self._lab, self.question, self._errors)

    def page_part(self) -> str:
        lab, question = self._lab, self.question
        complete = lab.complete(question)
        if not complete:
            return super().page_part()
        # The still picture shows the error of a network that has no field.
        titles = [t for t in lab.titles if any(t == own for own, _, _ in complete)]
        known = [occluder.text for _, occluder, _ in complete]
        asked, example = question.occluder.text, lab.example(question)
        scene = pack_scene(
            example.picture,
            titles,
            self._rows(replace(question, method="exact", quantity="logit")),
            self._state() | {"occluder": asked if asked in known else known[-1]},
            lab.labels,
            example.labels,
            [lab.prediction(question, title) for title in titles],
            lab.background,
            lossless=False,
            hidden=question.layer is not None,
        )
        tables = [
            (titles.index(t), table, self._extras(t, table, replace(question, **asdict(occluder))))
            for t, occluder, table in complete
        ]
        return page_part(scene, tables, self.still_html())


def _by_title(models: Any) -> dict[str, nn.Module | str | Path]:
    """Title → network or its name.

    Raises:
        ValueError: there is no network.
        TypeError: `models` is neither a dict, nor a name, nor a list of names.
    """
    if isinstance(models, str | Path):
        models = [models]
    if isinstance(models, Sequence) and all(isinstance(name, str | Path) for name in models):
        models = {str(name): name for name in models}
    if not isinstance(models, Mapping):
        raise TypeError(
            f"models must be a dict, title → network, or a list of names, not {shown(models)}"
        )
    if not models:
        raise ValueError("models is empty: give at least one model")
    return dict(models)
