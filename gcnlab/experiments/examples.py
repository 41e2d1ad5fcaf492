"""Examples of predictions, chosen by a rule (Figure 6 of the paper).

The paper shows images beside the output of the 1×1 baseline, of GCN, and of GCN with boundary
refinement; how they were chosen is not said. Here a rule chooses them: the images are sorted by the
gain of one network over another, and the best, the typical and the worst case are those with the
largest, the median and the smallest gain.
"""

from dataclasses import dataclass

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Shaped, Tensor, UInt8
from gcnlab.datasets.labels import IGNORE
from gcnlab.evaluation import ConfusionMatrix
from gcnlab.evaluation.scores import classes_of
from gcnlab.training import TrainedRun


@dataclass(frozen=True)
class Example:
    """An image with the predictions of several networks.

    Attributes:
        case: why it was chosen: "best", "typical" or "worst".
        index: its position in the data set.
        image: RGB, 0 … 255.
        truth: the labels.
        predictions: network → class ids.
        scores: network → IoU in percent, see `image_score`.
        gain: difference of the two compared scores, in points.
    """

    case: str
    index: int
    image: UInt8[Tensor, "3 height width"]
    truth: Shaped[Tensor, "height width"]
    predictions: dict[str, Shaped[Tensor, "height width"]]
    scores: dict[str, float]
    gain: float


def image_score(
    prediction: Shaped[Tensor, "height width"],
    labels: Shaped[Tensor, "height width"],
    num_classes: int,
) -> float:
    """IoU of one image in percent, averaged over the classes that occur in its labels.

    If classes that were only predicted counted too, one stray pixel would weigh as much as an
    object. NaN if all labels are void.
    """
    iou = ConfusionMatrix(num_classes).update(prediction, labels).iou()
    present = [i for i in labels.unique().tolist() if i != IGNORE]
    return 100 * iou[present].mean().item()


def choose_examples(
    runs: dict[str, TrainedRun],
    dataset: Dataset,
    better: str | None = None,
    worse: str | None = None,
    progress: bool = True,
) -> list[Example]:
    """Find the best, the typical and the worst image of a data set.

    Args:
        runs: name → network, in the order of the figure.
        dataset: pairs (image, labels), uint8 and not normalised, with `.labels`; three images or
            more.
        better, worse: names of the networks whose scores are compared; None for the last and the
            first.
        progress: show a progress bar.

    Raises:
        ValueError: the data set has fewer than three images with labels.
        KeyError: there is no network `better` or `worse`.
    """
    names, classes = list(runs), classes_of(dataset).num_classes
    better, worse = better or names[-1], worse or names[0]
    gains = {}
    for index in tqdm(range(len(dataset)), desc="examples", unit="img", disable=not progress):
        image, labels = (item.as_subclass(Tensor) for item in dataset[index])
        if (labels == IGNORE).all():
            continue
        first, last = (
            image_score(predict_classes(runs[name], image), labels, classes)
            for name in (better, worse)
        )
        gains[index] = first - last
    if len(gains) < 3:
        raise ValueError(f"{len(gains)} images with labels are too few for three cases")
    order = sorted(gains, key=lambda index: (gains[index], index))
    chosen = {"best": order[-1], "typical": order[len(order) // 2], "worst": order[0]}
    return [
        show_example(runs, dataset, index, case, gains[index]) for case, index in chosen.items()
    ]


def show_example(
    runs: dict[str, TrainedRun],
    dataset: Dataset,
    index: int,
    case: str = "",
    gain: float = float("nan"),
) -> Example:
    """One image of a data set with the predictions of all networks.

    Args:
        runs, dataset: see `choose_examples`.
        index: position of the image.
        case, gain: see `Example`.
    """
    image, labels = (item.as_subclass(Tensor) for item in dataset[index])
    classes = classes_of(dataset).num_classes
    predictions = {name: predict_classes(run, image) for name, run in runs.items()}
    scores = {name: image_score(p, labels, classes) for name, p in predictions.items()}
    return Example(case, index, image, labels, predictions, scores, gain)


def predict_classes(
    run: TrainedRun, image: UInt8[Tensor, "3 height width"]
) -> UInt8[Tensor, "height width"]:
    """The predicted class ids of one image, RGB 0 … 255, padded as the run's settings say."""
    return run.predictor().class_ids(run.normalization(image)).to(torch.uint8).cpu()
