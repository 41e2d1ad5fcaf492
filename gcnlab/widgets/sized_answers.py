"""What networks answer about an object at one size: the field of its centre, and their prediction."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor, UInt8
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.models.logits import resize_logits
from gcnlab.receptive.graph import Graph
from gcnlab.widgets.question import Question
from gcnlab.widgets.session import Answer, Session, private_copy
from gcnlab.widgets.sizes import Sized

AnswerAndPrediction = tuple[Answer, UInt8[Tensor, "height width"]]
"""An answer, and the class ids that the network predicts. They fit 8 bits, because a `LabelSet` has at
most 255 classes, and a network with another number of them is refused."""


class ResizeNetworks:
    """The networks of the resize explorer.

    Args:
        models: title → network; the networks are copied.
        normalize: the normalisation that they expect.
        labels: the classes that they predict.
        source: where the labels are from, for errors.

    Attributes:
        titles: the titles.
    """

    def __init__(
        self, models: dict[str, nn.Module], normalize: Normalization, labels: LabelSet, source: str
    ):
        self.titles = list(models)
        self._models = {title: private_copy(model) for title, model in models.items()}
        self._normalize, self._labels, self._source = normalize, labels, source
        self._graphs: dict[str, Graph] = {}

    def answers(
        self, title: str, sized: Sized, question: Question, on_progress: Callable[[float], None]
    ) -> Iterator[AnswerAndPrediction]:
        """Yield answers of one network that improve, each with its prediction.

        Args:
            title: title of the network.
            sized: the object.
            question: what is asked for the object's centre; its pixel does not matter.
            on_progress: called with the fraction of the work that is done, between steps.

        Raises:
            ValueError, TypeError: the question does not fit the image, or the network does not fit
                the labels.
        """
        image = self._normalize(sized.image)
        session = Session(self._models[title], image, self._graphs.get(title))
        prediction = None
        for answer in session.answers(replace(question, pixel=sized.pixel), on_progress):
            if prediction is None:
                logits = session.occlusion.score_map
                prediction = self._prediction(logits, tuple(sized.mask.shape))
            if session.has_graph:
                self._graphs[title] = session.graph
            yield answer, prediction

    def _prediction(
        self, logits: Float[Tensor, "classes rows columns"], size: tuple[int, int]
    ) -> UInt8[Tensor, "height width"]:
        if len(logits) != self._labels.num_classes:
            raise ValueError(
                f"the network has {len(logits)} classes, but {self._source} has "
                f"{self._labels.num_classes}"
            )
        return resize_logits(logits[None], size)[0].argmax(0).to(torch.uint8)
