"""Search the dense CRF's parameters on a few images, and score the best on others.

The paper gives no parameters. Krähenbühl & Koltun search w_a, θ_a and θ_c on a small set and leave
the smoothness term as it is; the default grid does the same. Scores on the searched images
overestimate the best point of the grid. It is therefore also scored on other images of the split,
with and without the CRF: those are the scores to report.

The network runs once per image; its probabilities are kept in a temporary folder during the search.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gcnlab.datasets.labels import IGNORE
from gcnlab.evaluation.boundary import boundary_mask
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.crf import colors_of, refine_probabilities
from gcnlab.evaluation.prediction import Predictor
from gcnlab.evaluation.settings import CRF, CRFGrid
from gcnlab.models.modes import evaluation_mode


@dataclass(frozen=True)
class CRFScores:
    """Scores of one set of images, in percent, with or without a CRF.

    Attributes:
        crf: parameters of the CRF; None: the network alone.
        miou: mean IoU.
        accuracy: share of correct pixels.
        boundary_accuracy: share of correct pixels within 7 pixels of a boundary (Table 5).
        images: number of images.
    """

    crf: CRF | None
    miou: float
    accuracy: float
    boundary_accuracy: float
    images: int


@dataclass(frozen=True)
class CRFSearch:
    """Result of a search.

    Attributes:
        searched: the network alone, then each point of the grid, on the images of the search.
        best: the point with the highest mean IoU there.
        before: the network alone, on the held-out images; None if there are none.
        after: with the best point, on the same images.
    """

    searched: tuple[CRFScores, ...]
    best: CRF
    before: CRFScores | None
    after: CRFScores | None
    images: tuple[int, ...] = field(default=())
    """Indices of the images of the search."""


def evenly_spaced(length: int, count: int) -> list[int]:
    """`count` of `length` indices, evenly spaced (neighbours in a film are similar); all if there
    are fewer.

    Raises:
        ValueError: `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"a search needs at least 1 image, not {count}")
    count = min(count, length)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def search_crf(
    predictor: Predictor,
    dataset: Dataset,
    images: int = 20,
    grid: CRFGrid | None = None,
    held_back: int | None = None,
    progress: bool = True,
) -> CRFSearch:
    """Try a grid of CRFs on some images of a labelled data set, and the best of them on other
    images.

    Args:
        predictor: the network and how to run it; its normalization is needed, its crf is not used.
        dataset: yields (normalised image, labels), and has `.labels`.
        images: number of images to search on, evenly spaced.
        grid: values to try; None for the defaults.
        held_back: number of other images on which to score the best CRF; None: all others.
        progress: show progress bars.

    Raises:
        ValueError: a setting is out of range, the network has other classes, or the CRF's package
            is missing.
    """
    if predictor.normalization is None:
        raise ValueError("a CRF works on colours: set the normalization of the Predictor")
    points = (grid or CRFGrid()).points()
    chosen = evenly_spaced(len(dataset), images)
    others = sorted(set(range(len(dataset))) - set(chosen))
    if held_back is not None and others:
        others = [others[i] for i in evenly_spaced(len(others), held_back)] if held_back else []

    def run(indices: Sequence[int], crfs: list[CRF | None], title: str) -> list[CRFScores]:
        return _score(predictor, dataset, indices, crfs, progress, title)

    searched = run(chosen, [None, *points], "search")
    best = max(searched[1:], key=lambda scores: scores.miou).crf
    before, after = run(others, [None, best], "held out") if others else (None, None)
    return CRFSearch(tuple(searched), best, before, after, tuple(chosen))


def _score(
    predictor: Predictor,
    dataset: Dataset,
    indices: Sequence[int],
    crfs: list[CRF | None],
    progress: bool,
    title: str,
) -> list[CRFScores]:
    """Scores of some images with each CRF."""
    classes = dataset.labels.num_classes
    near, far = ([ConfusionMatrix(classes) for _ in crfs] for _ in range(2))
    bar = tqdm(total=len(indices) * len(crfs), desc=title, unit="img", disable=not progress)
    with bar, tempfile.TemporaryDirectory() as folder:
        with evaluation_mode(predictor.model):
            for i in indices:
                found = predictor.probabilities(dataset[i][0], dataset.labels)
                torch.save(found.cpu(), Path(folder, f"{i}.pt"))
        for i in indices:
            image, labels = dataset[i]
            given = torch.load(Path(folder, f"{i}.pt"), weights_only=True)
            colors = colors_of(image, predictor.normalization)
            boundary, void = boundary_mask(labels), labels.new_tensor(IGNORE)
            for crf, at_boundary, inside in zip(crfs, near, far):
                refined = given if crf is None else refine_probabilities(colors, given, crf)
                predicted = refined.argmax(0)
                at_boundary.update(predicted, labels.where(boundary, void))
                inside.update(predicted, labels.where(~boundary, void))
                bar.update()
    scores = []
    for crf, at_boundary, inside in zip(crfs, near, far):
        overall = ConfusionMatrix(classes)
        overall.counts = at_boundary.counts + inside.counts
        parts = (overall.miou(), overall.accuracy(), at_boundary.accuracy())
        scores.append(CRFScores(crf, *(100 * part for part in parts), len(indices)))
    return scores
