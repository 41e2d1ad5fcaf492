"""Tables 1 to 6 of the paper, each defined once: the networks, the scores and the claims.

Our networks are trained on Shapes, where only the outline tells the class, or on photographs;
`scales` defines the images and the schedule. One more table, "levels", compares three readings of a
sentence of the paper that does not say how k applies to the four levels.

A claim says that one network scores higher than another. Where the text and the figures of the
paper differ, the figures count (Table 3: GCN is ahead from k = 7 on).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from gcnlab.experiments.paper import published_table
from gcnlab.experiments.scales import SCALES, Scale
from gcnlab.training import PRETRAINING, PretrainConfig, RunConfig

Run = TypeVar("Run", RunConfig, PretrainConfig)

CLASSIFIERS = "single_shapes"
"""Subfolder of the results for the backbones that Table 6 pretrains on single shapes."""

SCORES = {
    "miou": "mIoU",
    "boundary_accuracy": "boundary",
    "internal_accuracy": "internal",
    "top1": "classified",
}
"""Name of each score → its heading in a table."""


class PaperHead(NamedTuple):
    """A head on the paper's res-5 (2048 channels, 21 classes), whose weights a table counts."""

    kind: str
    kernel_size: int
    mid_channels: int | None = None


@dataclass(frozen=True)
class Cell:
    """A network of a table.

    Attributes:
        name: its name in the table and in the name of its folder.
        config: settings of its run with seed 0: segmentation or, in Table 6, classification.
        paper: published scores in percent, by score; NaN for a score that the paper does not give.
        paper_head: the head whose weights the table counts; None if the table does not count them.
        pretrained: name of the classifier in the same table whose weights this network starts from;
            each seed starts from the classifier of the same seed. None for all others.
    """

    name: str
    config: RunConfig | PretrainConfig
    paper: dict[str, float]
    paper_head: PaperHead | None = None
    pretrained: str | None = None

    @property
    def weights(self) -> int | None:
        """Number of weights of `paper_head`; None if the table does not count them."""
        return None if self.paper_head is None else _count_weights(self.paper_head)

    def settings(
        self, seed: int, results: Path = Path("data/results")
    ) -> RunConfig | PretrainConfig:
        """Settings of the run with this seed; its backbone, if any, is under `results`."""
        config = with_seed(self.config, seed)
        if self.pretrained is None:
            return config
        weights = self.backbone_file(seed, results).as_posix()
        return replace(config, model=replace(config.model, weights=weights))

    def backbone_file(self, seed: int, results: Path) -> Path | None:
        """The weights that the run with this seed starts from; None without `pretrained`."""
        if self.pretrained is None:
            return None
        return results / CLASSIFIERS / f"{self.pretrained}-seed{seed}" / "weights.safetensors"


@dataclass(frozen=True)
class Claim:
    """`better` scores higher than `worse`. Each side is the name of a cell, or a claim, which
    stands for the difference of its two sides."""

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
        """Names of all cells that the claim compares."""
        sides = (s.cells if isinstance(s, Claim) else {s} for s in (self.better, self.worse))
        return set.union(*sides)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        number: its number in the paper, or "levels".
        title: its subject.
        cells: its networks, in the paper's order.
        scores: the scores it shows, keys of `SCORES`.
        claims: the orderings that the paper reads from it.
        seeds: least number of runs per network that a verdict on a claim needs.
    """

    number: int | str
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
        """better − worse of a claim in the paper, in points."""
        paper = {cell.name: cell.paper for cell in self.cells}

        def value(side: str | Claim) -> float:
            return paper[side][claim.score] if isinstance(side, str) else self.published_lead(side)

        return value(claim.better) - value(claim.worse)


def network(
    scale: Scale,
    head: str = "gcn",
    kernel_size: int | tuple[int, ...] = 7,
    refine: bool = False,
    mid_channels: tuple[int, ...] | None = None,
) -> RunConfig:
    """A run at this scale. All runs of a scale are equal except for the head."""
    run = SCALES[scale].run
    model = replace(
        run.model, head=head, kernel_size=kernel_size, refine=refine, mid_channels=mid_channels
    )
    return replace(run, model=model)


def with_seed(config: Run, seed: int) -> Run:
    """The same settings with another seed."""
    return replace(config, training=replace(config.training, seed=seed))


def paper_table(number: int | str, scale: Scale = "mini") -> PaperTable:
    """Table `number`, 1 to 6, or "levels".

    Raises:
        ValueError: no such table is defined, or not at this scale.
    """
    if number not in _TABLES:
        raise ValueError(f"no definition of Table {number}; choose {', '.join(map(str, _TABLES))}")
    if number not in SCALES[scale].tables:
        defined = ", ".join(map(str, SCALES[scale].tables))
        raise ValueError(f"Table {number} is not defined at the scale {scale}; choose {defined}")
    return _TABLES[number](scale)


def _table1(scale: Scale) -> PaperTable:
    paper = {row["k"]: {"miou": float(row["miou"])} for row in published_table(1)}
    cells = [Cell("conv1x1", network(scale, "conv1x1"), paper["base"])]
    cells += [
        Cell(f"gcn{k}", network(scale, kernel_size=k), paper[str(k)])
        for k in SCALES[scale].kernel_sizes
    ]
    claims = [Claim(b.name, a.name) for a, b in itertools.pairwise(cells)]
    claims += [Claim(cell.name, "conv1x1") for cell in cells[2:]]
    seeds = SCALES[scale].seeds
    return PaperTable(1, "kernel size", tuple(cells), ("miou",), tuple(claims), seeds)


def _table2(scale: Scale) -> PaperTable:
    return _gcn_against(2, "conv", "GCN against a k×k convolution", scale)


def _table3(scale: Scale) -> PaperTable:
    return _gcn_against(3, "stack", "GCN against a stack of 3×3 convolutions", scale)


def _gcn_against(number: int, kind: str, title: str, scale: Scale) -> PaperTable:
    """GCN against another head of the same k."""
    paper = {row["k"]: row for row in published_table(number)}
    cells, claims = [], []
    for k in SCALES[scale].compared:
        for head in ("gcn", kind):
            counted = PaperHead(head, k) if number == 2 else None
            scores = {"miou": float(paper[str(k)][head])}
            # A stack with k = 3 is a single convolution; the paper's figures are equal too.
            same = "conv" if (head, k) == ("stack", 3) else head
            cells.append(Cell(f"{head}{k}", network(scale, same, k), scores, counted))
        published_order = [f"gcn{k}", f"{kind}{k}"]
        if float(paper[str(k)]["gcn"]) < float(paper[str(k)][kind]):
            published_order.reverse()
        claims.append(Claim(*published_order))
    return PaperTable(number, title, tuple(cells), ("miou",), tuple(claims))


def _table4(scale: Scale) -> PaperTable:
    """Stacks of fewer weights. The paper's m = 2048, 1024 and 210 are the width of res-5, a half
    and a tenth of it; ours are the same fractions of the width of every level."""
    widths = (64, 128, 256, 512)  # of res-2 … res-5, in the mini network and in ResNet-18
    paper = {row["head"]: {"miou": float(row["miou"])} for row in published_table(4)}
    cells = []
    for m, name in ((2048, "stack7"), (1024, "stack7-half"), (210, "stack7-tenth")):
        mid_channels = None if m == 2048 else tuple(width * m // 2048 for width in widths)
        config = network(scale, "stack", 7, mid_channels=mid_channels)
        cells.append(Cell(name, config, paper[f"stack m={m}"], PaperHead("stack", 7, m)))
    cells.append(Cell("gcn7", network(scale), paper["gcn"], PaperHead("gcn", 7)))
    claims = tuple(Claim("gcn7", cell.name) for cell in cells[:-1])
    return PaperTable(4, "stacks of fewer weights, k = 7", tuple(cells), ("miou",), claims)


def _table5(scale: Scale) -> PaperTable:
    k = SCALES[scale].kernel_size
    shown = ("miou", "boundary_accuracy", "internal_accuracy")
    paper = {
        row["network"]: {score: float(row[score]) for score in shown} for row in published_table(5)
    }
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
    return PaperTable(5, "boundary and interior", cells, shown, claims, seeds)


def _table6(scale: Scale) -> PaperTable:
    """GCN inside the backbone. Both backbones are pretrained as classifiers, on single shapes
    instead of ImageNet.

    The classification score is the paper's top-5 accuracy of 1,000 classes and our top-1 accuracy
    of 6 classes.
    """
    k = SCALES[scale].kernel_size
    paper = {row["score"]: row for row in published_table(6)}
    classifiers, segmenters = [], []
    for published_name, backbone in zip(("resnet50", "resnet50_gcn"), SCALES[scale].backbones):
        accuracy = 100 - float(paper["ImageNet top-5 error"][published_name])
        classifier = replace(PRETRAINING["mini"][1], backbone=backbone)
        classifiers.append(Cell(backbone, classifier, {"top1": accuracy}))
        for head, row in (("conv1x1", "segmentation, 1×1 head"), ("gcn", "segmentation, GCN + BR")):
            config = network(scale, head, k, refine=head == "gcn")
            config = replace(config, model=replace(config.model, backbone=backbone, weights=None))
            name = f"{backbone}+{head if head == 'conv1x1' else f'gcn{k}-br'}"
            scores = {"miou": float(paper[row][published_name])}
            segmenters.append(Cell(name, config, scores, pretrained=backbone))
    plain, plain_full, gcn, gcn_full = (cell.name for cell in segmenters)
    claims = (
        Claim(gcn, plain),
        Claim(gcn_full, plain_full),
        Claim(Claim(gcn, plain), Claim(gcn_full, plain_full)),
    )
    return PaperTable(
        6, "GCN in the backbone", (*classifiers, *segmenters), ("top1", "miou"), claims
    )


def _levels(scale: Scale) -> PaperTable:
    """One k at all levels, as in the other tables; the whole map at each level; the whole map at
    res-5 alone, with k = 1 below. The paper does not say which it means."""
    k, data = SCALES[scale].kernel_size, SCALES[scale].run.data
    side = min(data.crop) if data.crop else data.image_size
    each = tuple(_largest_odd(side // stride) for stride in (4, 8, 16, 32))
    readings = ((f"gcn{k}", k), ("gcn-each-map", each), ("gcn-res5", (1, 1, 1, each[-1])))
    unknown = {"miou": math.nan}
    cells = tuple(Cell(name, network(scale, kernel_size=size), unknown) for name, size in readings)
    one, whole, last = (cell.name for cell in cells)
    claims = (Claim(one, last), Claim(whole, one), Claim(whole, last))
    return PaperTable("levels", "k at the four levels", cells, ("miou",), claims)


def _largest_odd(side: int) -> int:
    """The largest odd kernel that is not larger than a map: the paper's 15 on its map of 16×16."""
    return side - 1 + side % 2


_TABLES: dict[int | str, Callable[[Scale], PaperTable]] = {
    1: _table1,
    2: _table2,
    3: _table3,
    4: _table4,
    5: _table5,
    6: _table6,
    "levels": _levels,
}


def _count_weights(head: PaperHead) -> int:
    """Number of weights of a head on the paper's res-5. No memory is allocated for them."""
    import torch  # here, so that a table without this column is shown without PyTorch

    from gcnlab.models import make_head
    from gcnlab.models.segmenter import count_weights

    with torch.device("meta"):
        return count_weights(make_head(head.kind, 2048, 21, head.kernel_size, head.mid_channels))
