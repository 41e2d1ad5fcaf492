"""What a network takes a picture for: a class for each of its pixels.

Each image goes through the network by itself, in evaluation mode, as a copy. So a prediction does not depend on
who else is in the batch, and nothing of the caller's is changed.
"""

from typing import no_type_check

import torch
from torch import nn

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.datasets.labels import LabelSet
from gcnlab.datasets.normalization import Normalization
from gcnlab.evaluation.crf import CRF, colors_of, refine_probabilities
from gcnlab.evaluation.inference import Inference, probabilities, score_map
from gcnlab.models.logits import check_images, check_network, pixel_logits
from gcnlab.models.modes import evaluation_mode


@no_type_check  # its own checks say what to do instead
def predict(
    model: nn.Module,
    images: Float[Tensor, "batch channels height width"],
    device: torch.device | str | None = None,
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
) -> Int[Tensor, "batch height width"]:
    """Class ids for a batch of normalised images, on the CPU.

    Each image goes through the network by itself. Scores of another size than the image are resized to it,
    bilinearly (align_corners=False), before the largest is taken.

    Args:
        model: maps normalised images to scores, one map per class; run in evaluation mode and left as it was.
        images: of any size that the model takes; they are brought to its device and precision.
        device: where to run a model that has no weights to tell; any other has to be there already.
        inference: flip, scales, tiles; None is one pass over the whole images.
        crf: refine the class probabilities with a dense CRF.
        normalization: what the images were normalised with; the CRF works on their colours.

    Raises:
        ValueError: a CRF without the normalisation, images or a device that do not fit, scores that are NaN.
        TypeError: what is given is no network or no tensor, or the network does not return scores.
    """
    check_network(model)
    check_images(images)
    check_modes(inference, crf, normalization)
    with evaluation_mode(model):
        return torch.stack(
            [
                class_ids(model, image, inference, crf, normalization, device=device)
                for image in images
            ]
        )


@torch.no_grad()
def class_ids(
    model: nn.Module,
    image: Float[Tensor, "channels height width"],
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
    labels: LabelSet | None = None,
    device: torch.device | str | None = None,
) -> Int[Tensor, "height width"]:
    """Class ids of one image (see `predict`, its errors too).

    Args:
        labels: of the data set: the network has to know as many classes.
    """
    if inference is None and crf is None:
        with evaluation_mode(model):
            scores = pixel_logits(model, image[None], device)[0]
    else:
        fuse = score_map if crf is None else probabilities
        scores = fuse(model, image[None], inference, device)[0]
    check_classes(model, len(scores), labels)
    best, ids = scores.max(0)
    if best.isnan().any():
        raise ValueError(
            f"the scores of {type(model).__name__} are NaN at {int(best.isnan().sum())} of {best.numel()} pixels: "
            "no class is the largest; has its training diverged, or does the image hold NaN?"
        )
    if crf is not None:
        colors = colors_of(image.cpu(), normalization)
        ids = refine_probabilities(colors, scores.cpu(), crf).argmax(0)
    return ids.cpu()


def check_classes(model: nn.Module, classes: int, labels: LabelSet | None) -> None:
    """Raise ValueError unless the network knows the classes of the data set; without one, more than one."""
    name = type(model).__name__
    if labels is not None and classes != labels.num_classes:
        names = ", ".join(labels.names[:3]) + (", …" if labels.num_classes > 3 else "")
        raise ValueError(
            f"{name} gives scores for {classes} classes, but the data set's labels have "
            f"{labels.num_classes} ({names}): it was made for other classes"
        )
    if labels is None and classes == 1:
        raise ValueError(
            f"{name} gives scores for 1 class, of which every pixel would be; of a foreground's score s "
            "make two classes: torch.cat([-s, s], 1)"
        )


@no_type_check
def check_modes(
    inference: Inference | None, crf: CRF | None, normalization: Normalization | None
) -> None:
    """Raise TypeError or ValueError unless the modes of inference are such, and fit each other."""
    for name, value, kind in (
        ("inference", inference, Inference),
        ("crf", crf, CRF),
        ("normalization", normalization, Normalization),
    ):
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}(…) or None, not {value!r}")
    if crf is not None and normalization is None:
        raise ValueError("a CRF works on colours: give the images' normalization with it")
