"""Predict the class of each pixel.

Each image goes through the network separately, as a copy, and in evaluation mode. A prediction
therefore does not depend on the other images of a batch, and the caller's tensors and model are
left unchanged.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
from torch import nn

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.evaluation.crf import colors_of, refine_probabilities
from gcnlab.evaluation.inference import probabilities, score_map
from gcnlab.evaluation.settings import CRF, Inference
from gcnlab.models.logits import check_images, check_network, pixel_logits
from gcnlab.models.modes import evaluation_mode


@no_type_check  # the class's own errors say what to do instead
@dataclass(frozen=True)
class Predictor:
    """A network with all that its predictions depend on.

    Attributes:
        model: maps normalised images to score maps; run in evaluation mode and left as it was.
        normalization: how the images were normalised; needed with `crf`, which works on their
            colours.
        inference: flip, scales, tiles; None is one pass over the whole image.
        crf: refine the class probabilities with a dense CRF; None leaves them.
        device: where to run a model without weights; other models have to be there already.

    Raises:
        ValueError: a CRF without the normalisation.
        TypeError: an attribute has the wrong type.
    """

    model: nn.Module
    normalization: Normalization | None = None
    inference: Inference | None = None
    crf: CRF | None = None
    device: torch.device | str | None = None

    def __post_init__(self):
        check_network(self.model)
        for name, kind in (
            ("inference", Inference),
            ("crf", CRF),
            ("normalization", Normalization),
        ):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__}(…) or None, not {value!r}")
        if self.crf is not None and self.normalization is None:
            raise ValueError("a CRF works on colours: pass the normalization of the images, too")

    @torch.no_grad()
    def probabilities(self, image: Tensor, labels: LabelSet | None = None) -> Tensor:
        """Class probabilities of one image before the CRF, (classes, height, width).

        Args:
            image: normalised, (channels, height, width).
            labels: classes of the data set; the network has to have as many.
        """
        found = probabilities(self.model, image[None], self.inference, self.device)[0]
        check_classes(self.model, len(found), labels)
        return found

    @torch.no_grad()
    def class_ids(self, image: Tensor, labels: LabelSet | None = None) -> Tensor:
        """Class ids of one image, (height, width), on the CPU.

        Args:
            image: normalised, (channels, height, width).
            labels: classes of the data set; the network has to have as many.

        Raises:
            ValueError: see `predict`.
            TypeError: see `predict`.
        """
        if self.crf is not None:
            found = self.probabilities(image, labels)
            _largest(self.model, found)
            colors = colors_of(image.cpu(), self.normalization)
            return refine_probabilities(colors, found.cpu(), self.crf).argmax(0)
        if self.inference is None:
            with evaluation_mode(self.model):
                found = pixel_logits(self.model, image[None], self.device)[0]
        else:
            found = score_map(self.model, image[None], self.inference, self.device)[0]
        check_classes(self.model, len(found), labels)
        return _largest(self.model, found).cpu()


@no_type_check  # the function's own errors say what to do instead
def predict(
    model: nn.Module | Predictor,
    images: Float[Tensor, "batch channels height width"],
    device: torch.device | str | None = None,
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
) -> Int[Tensor, "batch height width"]:
    """Class ids of a batch of normalised images, on the CPU.

    Each image goes through the network separately. Score maps of another size than the image are
    resized to it, bilinearly (align_corners=False), before the class with the largest value is
    taken.

    Args:
        model: maps normalised images to score maps; run in evaluation mode and left as it was. Or a
            `Predictor`, which holds the arguments below.
        images: of any size that the model takes; they are moved to its device and precision.
        device: where to run a model without weights; other models have to be there already.
        inference: flip, scales, tiles; None is one pass over the whole images.
        crf: refine the class probabilities with a dense CRF.
        normalization: how the images were normalised; needed with `crf`, which works on their
            colours.

    Raises:
        ValueError: a CRF without the normalisation, images or a device that do not fit, NaN in a
            score map.
        TypeError: `model` is not a network, `images` is not a tensor, or the network does not
            return score maps.
    """
    predictor = predictor_of(model, normalization, inference, crf, device)
    check_images(images)
    with evaluation_mode(predictor.model):
        return torch.stack([predictor.class_ids(image) for image in images])


@no_type_check
def predictor_of(
    model: nn.Module | Predictor,
    normalization: Normalization | None = None,
    inference: Inference | None = None,
    crf: CRF | None = None,
    device: torch.device | str | None = None,
) -> Predictor:
    """`model` itself if it is a `Predictor`, or a `Predictor` of the arguments.

    Raises:
        ValueError: a setting is given twice: in the predictor and as an argument.
        TypeError: an argument has the wrong type.
    """
    if not isinstance(model, Predictor):
        return Predictor(model, normalization, inference, crf, device)
    given = {"normalization": normalization, "inference": inference, "crf": crf, "device": device}
    if twice := [name for name, value in given.items() if value is not None]:
        raise ValueError(f"{twice[0]} must be set in the Predictor, not as an argument beside it")
    return model


def check_classes(model: nn.Module, classes: int, labels: LabelSet | None) -> None:
    """Raise ValueError unless the network has the classes of the data set; without one, at least
    two."""
    name = type(model).__name__
    if labels is not None and classes != labels.num_classes:
        names = ", ".join(labels.names[:3]) + (", …" if labels.num_classes > 3 else "")
        raise ValueError(
            f"{name} returns {classes} classes, but the data set's labels have "
            f"{labels.num_classes} ({names}): the network was made for other classes"
        )
    if labels is None and classes == 1:
        raise ValueError(
            f"{name} returns 1 class, so every pixel would belong to it; to make two classes of a "
            "foreground logit s: torch.cat([-s, s], 1)"
        )


def _largest(
    model: nn.Module, values: Float[Tensor, "classes height width"]
) -> Int[Tensor, "height width"]:
    """The class with the largest value at each pixel.

    Raises:
        ValueError: the largest value of a pixel is NaN.
    """
    best, ids = values.max(0)
    if best.isnan().any():
        raise ValueError(
            f"the logits of {type(model).__name__} are NaN at {int(best.isnan().sum())} of {best.numel()} "
            "pixels, so no class is the largest; has its training diverged, or does the image contain NaN?"
        )
    return ids
