"""Tables 1 to 6 of the paper, each defined once: what is trained, which figure is read, what is claimed.

On Shapes, where outlines alone tell the class, or on CamVid; how large and how long, see `scales`.

A claim is an ordering of two networks by one score. Where the text and the figures of the paper differ, the figures
count (Table 3: GCN ahead from k = 7 on).
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeVar

import torch

from gcnlab.experiments.paper import published
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.models import make_head
from gcnlab.models.segmenter import count_weights
from gcnlab.training import PRETRAINING, PretrainConfig, RunConfig

Run = TypeVar("Run", RunConfig, PretrainConfig)

CLASSIFIERS = "single_shapes"
"""Folder of the backbones that Table 6 pretrains, under the results."""

SCORES = {
    "miou": "mIoU",
    "boundary_accuracy": "boundary",
    "internal_accuracy": "internal",
    "top1": "classified",
}
"""Scores by name, and what a table calls them."""


@dataclass(frozen=True)
class Cell:
    """A network of a table.

    Attributes:
        name: in the table, and of the run's folder.
        config: how it is trained, with seed 0: segmentation, or (Table 6) a classifier to pretrain.
        paper: published scores in percent, by score.
        weights: of its head on res-5 at the paper's size (2048 channels, 21 classes); None where the
            table does not count them.
    """

    name: str
    config: RunConfig | PretrainConfig
    paper: dict[str, float]
    weights: int | None = None


@dataclass(frozen=True)
class Claim:
    """`better` scores higher than `worse`: names of cells, or claims, of which the differences are compared."""

    better: "str | Claim"
    worse: "str | Claim"
    score: str = "miou"

    def __str__(self) -> str:
        sides = (
            f"({s.better} − {s.worse})" if isinstance(s, Claim) else s
            for s in (self.better, self.worse)
        )
        return " > ".join(sides)

    @property
    def cells(self) -> set[str]:
        """Names of all cells that it speaks of."""
        sides = (s.cells if isinstance(s, Claim) else {s} for s in (self.better, self.worse))
        return set.union(*sides)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        number, title: of it.
        cells: its networks, in its order.
        scores: that are read, keys of `SCORES`.
        claims: what it is to show.
        seeds: trainings of each network that its claims take, at least.
    """

    number: int
    title: str
    cells: tuple[Cell, ...]
    scores: tuple[str, ...]
    claims: tuple[Claim, ...]
    seeds: int = 3

    def __post_init__(self):
        names = {cell.name for cell in self.cells}
        for claim in self.claims:
            if not claim.cells <= names:
                raise ValueError(f"Table {self.number}: no cells {claim}")

    def published_lead(self, claim: Claim) -> float:
        """better − worse of a claim, in the paper, in points."""
        paper = {cell.name: cell.paper for cell in self.cells}

        def value(side: str | Claim) -> float:
            return paper[side][claim.score] if isinstance(side, str) else self.published_lead(side)

        return value(claim.better) - value(claim.worse)


def network(
    scale: Scale,
    head: str = "gcn",
    kernel_size: int = 7,
    refine: bool = False,
    mid_channels: tuple[int, ...] | None = None,
) -> RunConfig:
    """A run with everything but the head the same for all of a scale."""
    run = SCALES[scale].run
    model = replace(
        run.model, head=head, kernel_size=kernel_size, refine=refine, mid_channels=mid_channels
    )
    return replace(run, model=model)


def paper_table(number: int, scale: Scale = "mini") -> PaperTable:
    """Table `number`, 1 to 6.

    Raises:
        ValueError: there is no such table.
    """
    if number not in _TABLES:
        raise ValueError(f"no definition of Table {number}; choose {', '.join(map(str, _TABLES))}")
    return _TABLES[number](scale)


def _table1(scale: Scale) -> PaperTable:
    paper = {row["k"]: {"miou": float(row["miou"])} for row in published(1)}
    cells = [Cell("conv1x1", network(scale, "conv1x1"), paper["base"])]
    cells += [
        Cell(f"gcn{k}", network(scale, kernel_size=k), paper[str(k)])
        for k in SCALES[scale].kernel_sizes
    ]
    claims = [Claim(b.name, a.name) for a, b in itertools.pairwise(cells)]
    claims += [Claim(cell.name, "conv1x1") for cell in cells[2:]]
    seeds = SCALES[scale].seeds
    return PaperTable(1, "kernel size", tuple(cells), ("miou",), tuple(claims), seeds)


def _against(number: int, kind: str, title: str, scale: Scale) -> PaperTable:
    """GCN against another head of the same k, for k = 3, 5, 7."""
    paper = {row["k"]: row for row in published(number)}
    cells, claims = [], []
    for k in (3, 5, 7):
        for head in ("gcn", kind):
            weights = _head_weights(head, k) if number == 2 else None
            scores = {"miou": float(paper[str(k)][head])}
            # A stack that reaches 3 pixels is one convolution; the paper's figures are equal, too.
            same = "conv" if (head, k) == ("stack", 3) else head
            cells.append(Cell(f"{head}{k}", network(scale, same, k), scores, weights))
        published_order = [f"gcn{k}", f"{kind}{k}"]
        if float(paper[str(k)]["gcn"]) < float(paper[str(k)][kind]):
            published_order.reverse()
        claims.append(Claim(*published_order))
    return PaperTable(number, title, tuple(cells), ("miou",), tuple(claims))


def _table2(scale: Scale) -> PaperTable:
    return _against(2, "conv", "GCN against a k×k convolution", scale)


def _table3(scale: Scale) -> PaperTable:
    return _against(3, "stack", "GCN against a stack of 3×3 convolutions", scale)


def _table4(scale: Scale) -> PaperTable:
    """m = 2048, 1024, 210 are the width of res-5, its half and its tenth; here so too, at every level."""
    widths = (64, 128, 256, 512)  # of res-2 … res-5, in the mini network and in ResNet-18
    paper = {row["head"]: {"miou": float(row["miou"])} for row in published(4)}
    cells = []
    for m, name in ((2048, "stack7"), (1024, "stack7-half"), (210, "stack7-tenth")):
        inner = None if m == 2048 else tuple(width * m // 2048 for width in widths)
        config = network(scale, "stack", 7, mid_channels=inner)
        weights = _head_weights("stack", 7, m)
        cells.append(Cell(name, config, paper[f"stack m={m}"], weights))
    cells.append(Cell("gcn7", network(scale), paper["gcn"], _head_weights("gcn", 7)))
    claims = tuple(Claim("gcn7", cell.name) for cell in cells[:-1])
    return PaperTable(4, "stacks of fewer weights, k = 7", tuple(cells), ("miou",), claims)


def _table5(scale: Scale) -> PaperTable:
    k = SCALES[scale].kernel_size
    read = ("miou", "boundary_accuracy", "internal_accuracy")
    paper = {row["network"]: {score: float(row[score]) for score in read} for row in published(5)}
    base = Cell("conv1x1", network(scale, "conv1x1"), paper["baseline"])
    gcn = Cell(f"gcn{k}", network(scale, kernel_size=k), paper["gcn"])
    refined = Cell(f"gcn{k}-br", network(scale, kernel_size=k, refine=True), paper["gcn+br"])
    claims = (
        Claim(gcn.name, base.name, "internal_accuracy"),
        Claim(refined.name, gcn.name, "boundary_accuracy"),
        Claim(gcn.name, base.name, "miou"),
        Claim(refined.name, gcn.name, "miou"),
    )
    cells, seeds = (base, gcn, refined), SCALES[scale].seeds
    return PaperTable(5, "boundary and interior", cells, read, claims, seeds)


def _table6(scale: Scale) -> PaperTable:
    """A backbone with GCN inside, pretrained as a classifier: on single shapes, in place of ImageNet.

    The paper's figure for classification is top-5 of 1,000 classes; of our 6 it is top-1.
    """
    k = SCALES[scale].kernel_size
    paper = {row["score"]: row for row in published(6)}
    classifiers, segmenters = [], []
    for published_name, backbone in zip(("resnet50", "resnet50_gcn"), SCALES[scale].backbones):
        accuracy = 100 - float(paper["ImageNet top-5 error"][published_name])
        classifier = replace(PRETRAINING["mini"][1], backbone=backbone)
        classifiers.append(Cell(backbone, classifier, {"top1": accuracy}))
        for head, row in (("conv1x1", "segmentation, 1×1 head"), ("gcn", "segmentation, GCN + BR")):
            config = network(scale, head, k, refine=head == "gcn")
            weights = f"data/results/{CLASSIFIERS}/{backbone}-seed0/weights.safetensors"
            model = replace(config.model, backbone=backbone, weights=weights)
            name = f"{backbone}+{head if head == 'conv1x1' else f'gcn{k}-br'}"
            scores = {"miou": float(paper[row][published_name])}
            segmenters.append(Cell(name, replace(config, model=model), scores))
    plain, plain_full, gcn, gcn_full = (cell.name for cell in segmenters)
    claims = (
        Claim(gcn, plain),
        Claim(gcn_full, plain_full),
        Claim(Claim(gcn, plain), Claim(gcn_full, plain_full)),
    )
    return PaperTable(
        6, "GCN in the backbone", (*classifiers, *segmenters), ("top1", "miou"), claims
    )


_TABLES: dict[int, Callable[[Scale], PaperTable]] = {
    1: _table1,
    2: _table2,
    3: _table3,
    4: _table4,
    5: _table5,
    6: _table6,
}


def _head_weights(kind: str, kernel_size: int, mid_channels: int | None = None) -> int:
    """Weights of a head on the paper's res-5; nothing is allocated."""
    with torch.device("meta"):
        return count_weights(make_head(kind, 2048, 21, kernel_size, mid_channels))


def with_seed(config: Run, seed: int) -> Run:
    """The same run with another seed, and on the backbone that was pretrained with that seed, if it is one of Table 6's."""
    config = replace(config, training=replace(config.training, seed=seed))
    if backbone := table_backbone(config):
        weights = re.sub(r"-seed\d+/", f"-seed{seed}/", str(backbone))
        config = replace(config, model=replace(config.model, weights=weights))
    return config


def table_backbone(config: RunConfig | PretrainConfig) -> PurePosixPath | None:
    """The weights that a network starts from, if Table 6 has pretrained them."""
    if isinstance(config, PretrainConfig) or config.model.weights is None:
        return None
    path = PurePosixPath(config.model.weights)
    return path if path.parts[-3:-2] == (CLASSIFIERS,) else None
