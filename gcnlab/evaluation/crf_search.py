"""Find the dense CRF's parameters on a few images, and score the best on others.

The paper gives no parameters. Krähenbühl & Koltun search w_a, θ_a and θ_c on a small set and keep the term that
smooths as it is; so does the grid. Scores on the images that were searched flatter the best of the grid, so it is
scored on the split's other images too, before and after: those are the figures to report.

The network runs once per image; its probabilities lie in a temporary folder while the grid is walked.
"""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gcnlab.datasets.labels import IGNORE
from gcnlab.datasets.normalization import Normalization
from gcnlab.evaluation.boundary import boundary_mask
from gcnlab.evaluation.confusion import ConfusionMatrix
from gcnlab.evaluation.crf import CRF, colors_of, refine_probabilities
from gcnlab.evaluation.inference import Inference, probabilities
from gcnlab.evaluation.prediction import check_classes, check_modes
from gcnlab.models.logits import check_network
from gcnlab.models.modes import evaluation_mode


@dataclass(frozen=True)
class Grid:
    """The values that are tried, all with all."""

    appearance_weight: tuple[float, ...] = (3.0, 10.0)
    """w_a."""
    appearance_std: tuple[float, ...] = (20.0, 60.0)
    """θ_a, in pixels."""
    color_std: tuple[float, ...] = (5.0, 10.0, 20.0)
    """θ_c, in grey levels of 255."""
    smooth_weight: tuple[float, ...] = (3.0,)
    """w_s."""
    smooth_std: tuple[float, ...] = (3.0,)
    """θ_s, in pixels."""
    iterations: tuple[int, ...] = (10,)
    """Of mean field."""

    def points(self) -> list[CRF]:
        """Every combination.

        Raises:
            ValueError: a value is out of range, or a parameter has none.
        """
        if empty := [name for name, values in vars(self).items() if not values]:
            raise ValueError(f"grid.{empty[0]}: give at least one value")
        return [CRF(**dict(zip(vars(self), p))) for p in itertools.product(*vars(self).values())]


@dataclass(frozen=True)
class CRFScores:
    """Scores of one set of images, in percent; without a CRF or with one.

    Attributes:
        crf: its parameters; None: the network alone.
        miou: mean IoU.
        accuracy: share of right pixels.
        boundary_accuracy: of those within 7 pixels of a boundary (Table 5).
        images: how many.
    """

    crf: CRF | None
    miou: float
    accuracy: float
    boundary_accuracy: float
    images: int


@dataclass(frozen=True)
class CRFSearch:
    """What a search found.

    Attributes:
        searched: the network alone, then each point of the grid, on the images of the search.
        best: the point with the highest mean IoU there.
        before: the network alone, on the images kept back; None if there were none.
        after: with the best point, on the same.
    """

    searched: tuple[CRFScores, ...]
    best: CRF
    before: CRFScores | None
    after: CRFScores | None
    images: tuple[int, ...] = field(default=())
    """Indices of the images of the search."""


def spread(length: int, count: int) -> list[int]:
    """`count` indices of `length`, evenly spread (neighbours in a film are alike); all if there are fewer.

    Raises:
        ValueError: `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"a search needs at least 1 image, not {count}")
    count = min(count, length)
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def search_crf(
    model: nn.Module,
    dataset: Dataset,
    normalization: Normalization,
    images: int = 20,
    grid: Grid | None = None,
    inference: Inference | None = None,
    held_back: int | None = None,
    progress: bool = True,
) -> CRFSearch:
    """Try a grid of CRFs on some images of a labelled set, and the best of them on the others.

    Args:
        model: maps normalised images to scores; left as it was.
        dataset: yields (normalised image, labels), and has `.labels`.
        normalization: what the images were normalised with.
        images: how many to search on, spread evenly.
        grid: what to try.
        inference: how the network is run.
        held_back: how many of the others to score the best on; None: all.
        progress: show progress bars.

    Raises:
        ValueError: a bad setting, a network that knows other classes, or the CRF's package is missing.
    """
    check_network(model)
    check_modes(inference, None, normalization)
    points = (grid or Grid()).points()
    chosen = spread(len(dataset), images)
    others = sorted(set(range(len(dataset))) - set(chosen))
    if held_back is not None and others:
        others = [others[i] for i in spread(len(others), held_back)] if held_back else []

    def run(indices: Sequence[int], crfs: list[CRF | None], title: str) -> list[CRFScores]:
        return _score(model, dataset, normalization, inference, indices, crfs, progress, title)

    searched = run(chosen, [None, *points], "search")
    best = max(searched[1:], key=lambda scores: scores.miou).crf
    before, after = run(others, [None, best], "others") if others else (None, None)
    return CRFSearch(tuple(searched), best, before, after, tuple(chosen))


def _score(
    model: nn.Module,
    dataset: Dataset,
    normalization: Normalization,
    inference: Inference | None,
    indices: Sequence[int],
    crfs: list[CRF | None],
    progress: bool,
    title: str,
) -> list[CRFScores]:
    classes = dataset.labels.num_classes
    near, far = ([ConfusionMatrix(classes) for _ in crfs] for _ in range(2))
    bar = tqdm(total=len(indices) * len(crfs), desc=title, unit="img", disable=not progress)
    with bar, tempfile.TemporaryDirectory() as folder:
        with evaluation_mode(model):
            for i in indices:
                fused = probabilities(model, dataset[i][0][None], inference)
                check_classes(model, fused.shape[1], dataset.labels)
                torch.save(fused[0].cpu(), Path(folder, f"{i}.pt"))
        for i in indices:
            image, labels = dataset[i]
            given = torch.load(Path(folder, f"{i}.pt"), weights_only=True)
            colors, boundary = colors_of(image, normalization), boundary_mask(labels)
            void = labels.new_tensor(IGNORE)
            for crf, at_boundary, inside in zip(crfs, near, far):
                refined = given if crf is None else refine_probabilities(colors, given, crf)
                predicted = refined.argmax(0)
                at_boundary.update(predicted, labels.where(boundary, void))
                inside.update(predicted, labels.where(~boundary, void))
                bar.update()
    scores = []
    for crf, at_boundary, inside in zip(crfs, near, far):
        whole = ConfusionMatrix(classes)
        whole.counts = at_boundary.counts + inside.counts
        parts = (whole.miou(), whole.accuracy(), at_boundary.accuracy())
        scores.append(CRFScores(crf, *(100 * part for part in parts), len(indices)))
    return scores
