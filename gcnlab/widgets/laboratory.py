"""What an explorer knows: networks, images, atlases, and the answers of other methods.

This is the explorer without its widget. The explorer holds its lock while it changes or shows what is
kept here; `stream` and `find_layers` run in the background without it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from gcnlab.annotations import Bool, Float, Int, Tensor
from gcnlab.datasets.labels import LabelSet
from gcnlab.receptive import HiddenLayer, OcclusionSettings, coverage, layers_with_maps
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.widgets.atlases import Atlases, Occluder, enlarged
from gcnlab.widgets.examples import Example, Examples
from gcnlab.widgets.painting import object_under
from gcnlab.widgets.question import Question
from gcnlab.widgets.session import Answer, Session

Place = tuple[str, str]
"""Method and title of the network of one picture."""

PINS = 2
"""Number of pixels that can be pinned."""
KEPT = 8
"""Number of pairs of an image and a layer whose atlases are kept, apart from the current one."""


@dataclass
class _Study:
    """The networks, or one layer of each, on one image."""

    atlases: Atlases
    sessions: dict[str, Session]


class Laboratory:
    """Networks and images, and what is known about them.

    Args:
        models: title → network; networks that nobody else changes.
        examples: the images.
        labels: names of the classes, or a data set's labels. The class "background" is not an
            object.

    Attributes:
        titles: the titles of the networks.
        layers: path of each submodule that can be asked for → the largest number of its channels in
            any of the networks; empty until `find_layers` was called.
        searched: whether it was called.
    """

    def __init__(
        self, models: dict[str, nn.Module], examples: Examples, labels: LabelSet | tuple[str, ...]
    ):
        self.examples, self.labels = examples, labels
        self.titles = list(models)
        self.names = labels.names if isinstance(labels, LabelSet) else tuple(labels)
        self.background = self.names.index("background") if "background" in self.names else None
        self.layers: dict[str, int] = {}
        self.searched = False
        self._models = models
        self._studies: dict[tuple[int, str | None], _Study] = {}
        self._answers: dict[Place, Answer] = {}

    def example(self, question: Question) -> Example:
        """The image of a question."""
        return self.examples[question.image_index]

    def check(self, question: Question, pins: Sequence[tuple[int, int]] = ()) -> None:
        """Raise ValueError if the question or the pins do not fit the image."""
        size = self.example(question).size
        if len(pins) > PINS:
            raise ValueError(f"pins must be at most {PINS} pixels, not {len(pins)}")
        for pixel in (question.pixel, *pins):
            if not all(0 <= p < n for p, n in zip(pixel, size)):
                shape = "×".join(map(str, size))
                raise ValueError(f"pixel {pixel} is outside the {shape} image")
        OcclusionGrid(size, question.window, question.stride)
        OcclusionSettings(
            threshold=question.threshold,
            rule=question.rule,
            fill=question.fill,
            agreement=question.agreement,
        )

    # Fields

    def answer(self, question: Question, title: str, method: str | None = None) -> Answer | None:
        """What is known of the pixel of a question; see `VRFExplorer.answer`."""
        method = question.methods[0] if method is None else method
        if question.in_atlas(method):
            return self._from_atlas(question, title)
        answer, asked = self._answers.get((method, title)), replace(question, method=method)
        if answer is None or answer.question.computed != asked.computed:
            return None
        return replace(answer, question=question).with_region()

    def _from_atlas(self, question: Question, title: str) -> Answer | None:
        atlases, occluder = self._study(question).atlases, question.occluder
        field = atlases.field(title, occluder, question.pixel)
        if field is None:
            return None
        return Answer(
            question=question,
            target=field.target,
            logit=field.score,
            field=field.discrepancy,
            radius=field.radius(),
            evaluated=field.evaluated,
            note=field.note,
            unit=field.pixel,
            map_size=atlases.map_size(title, occluder),
            best=None if question.layer else atlases.best(title, question.pixel),
        ).with_region()

    def keep(self, place: Place, answer: Answer | None) -> None:
        """Keep an answer of another method than the atlas's; None forgets it."""
        self._answers.pop(place, None)
        if answer is not None:
            self._answers[place] = answer

    def note(self, question: Question, place: Place) -> str:
        """What a picture's field could not reuse, or what is unknown; empty for nothing."""
        method, title = place
        if question.in_atlas(method):
            return self._study(question).atlases.note(title, question.occluder)
        answer = self._answers.get(place)
        return "" if answer is None else answer.note

    def best_everywhere(
        self, question: Question, title: str
    ) -> tuple[Int[Tensor, "best rows columns"], Float[Tensor, "best rows columns"]] | None:
        """The likeliest classes at each unit that an atlas keeps and their probabilities; None for
        a hidden layer, and if the network has not been run."""
        return (
            None if question.layer is not None else self._study(question).atlases.likeliest(title)
        )

    def prediction(self, question: Question, title: str) -> Int[Tensor, "height width"] | None:
        """The class ids that a network predicts, in the size of the image; None for a hidden layer,
        and if the network has not been run."""
        if question.layer is not None:
            return None
        study = self._study(question)
        found, session = study.atlases.prediction(title), study.sessions.get(title)
        if found is None and session is not None and session.prediction is not None:
            return enlarged(session.prediction, self.example(question).size)
        return found

    def occluders(self, question: Question) -> list[Occluder]:
        """The occluders of which there are atlases of a question's image and layer."""
        return self._study(question).atlases.occluders

    def complete(self, question: Question) -> list[tuple[str, Occluder, AtlasTable]]:
        """The complete atlases of a question's image and layer: title, occluder, numbers."""
        return self._study(question).atlases.complete()

    # Objects

    def object_under(self, question: Question) -> Bool[Tensor, "height width"] | None:
        """The object under the pixel of a question; None without labels or without an object."""
        labels = self.example(question).labels
        return None if labels is None else object_under(labels, question.pixel, self.background)

    def coverage(self, question: Question, title: str) -> float | None:
        """Fraction of the object under the pixel inside a network's region; None if one is
        missing."""
        answer, item = self.answer(question, title), self.object_under(question)
        if answer is None or answer.region is None or item is None:
            return None
        return coverage(answer.region, item)

    # The work in the background

    def prepare(self, question: Question) -> None:
        """Forget what is not worth its memory now that the question is another one."""
        current = question.image_index, question.layer
        study, others = self._study(question), dict(self._studies)
        others.pop(current)
        for other in others.values():
            other.sessions.clear()
            other.atlases.forget(None)
        study.atlases.forget(question.occluder)
        kept = list(others.items())[-KEPT:]
        self._studies = dict([*kept, (current, study)])  # the latest is the last

    def stream(
        self, question: Question, place: Place, on_progress: Callable[[float], None]
    ) -> Iterator[AtlasTable | Answer]:
        """Compute what one picture shows, coarse results first.

        Args:
            question: the question.
            place: method and title of the network.
            on_progress: called with the share of the work that is done; an exception stops it.
        """
        method, title = place
        study = self._study(question)
        if question.in_atlas(method):
            yield from study.atlases.levels(title, question.occluder, on_progress)
        else:
            if title not in study.sessions:
                network = self._network(question.layer, title)
                study.sessions[title] = Session(network, self.example(question).image)
            asked = replace(question, method=method)
            yield from study.sessions[title].answers(asked, on_progress)

    def find_layers(self) -> None:
        """Find the submodules whose output is a map, in each network that can be run."""
        layers: dict[str, int] = {}
        for model in self._models.values():
            try:
                found = layers_with_maps(model, self.examples[0].image)
            except Exception:  # a user's network can fail in many ways; its own picture says how
                continue
            for name, (channels, *_) in found.items():
                layers[name] = max(channels, layers.get(name, 0))
        self.layers, self.searched = layers, True

    def _study(self, question: Question) -> _Study:
        key = number, layer = question.image_index, question.layer
        if key not in self._studies:
            network = partial(self._network, layer)
            self._studies[key] = _Study(Atlases(network, self.examples[number].image), {})
        return self._studies[key]

    def _network(self, layer: str | None, title: str) -> nn.Module:
        """The network of a title, or one of its layers.

        Raises:
            ValueError: it has no such layer.
        """
        model = self._models[title]
        return model if layer is None else HiddenLayer(model, layer)
