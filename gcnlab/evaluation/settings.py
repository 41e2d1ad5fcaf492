"""Settings of evaluation: inference, the dense CRF, the boundary.

This module imports no PyTorch, so that the command line can show the settings at once.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from gcnlab.settings import check

Norm = Literal["euclidean", "chebyshev", "cityblock"]
VoidRule = Literal["edge", "blank"]


@dataclass(frozen=True)
class Inference:
    """Flips, scales and tiles with which the network is run on an image. The default is one pass over the whole image."""

    flip: bool = False
    """Also run each tile flipped left to right, and flip its score map back."""
    scales: tuple[float, ...] = (1.0,)
    """Scale factors of the image, one pass each."""
    tile: tuple[int, int] | None = None
    """Height and width of the tiles, in pixels of the scaled image; None: the whole image at once.
    If the image is smaller, the tile is as large as the image."""
    overlap: float = 0.5
    """Smallest overlap of neighbouring tiles, as a share of the tile's side, in [0, 1)."""
    margin: int = 0
    """Width, in pixels, of the strip along a tile's sides whose values are not used. Sides that are
    sides of the image have none."""
    blend: Literal["linear", "mean"] = "linear"
    """Weights of overlapping tiles: linear decreases towards a tile's sides, mean is constant."""
    fuse: Literal["probabilities", "logits"] = "probabilities"
    """Average class probabilities, or the logits before the softmax."""
    pad_to: tuple[int, int] | None = None
    """Smallest height and width of the network's input, in pixels. A smaller input is padded at the
    bottom and right with 0, the mean colour, and the score map is cropped. (The paper pads VOC to
    512×512.)"""

    def __post_init__(self):
        def check_value(name: str, good: bool, expected: str) -> None:
            check(f"inference.{name}", good, f"{expected}, not {getattr(self, name)!r}")

        check("inference.scales", len(self.scales) > 0, "at least one factor")
        good = all(math.isfinite(scale) and scale > 0 for scale in self.scales)
        check_value("scales", good, "positive factors")
        check_value("tile", self.tile is None or min(self.tile) >= 1, "positive")
        check_value("overlap", 0 <= self.overlap < 1, "in [0, 1)")
        check_value("margin", self.margin >= 0, "0 or positive")
        check_value("blend", self.blend in ("linear", "mean"), "linear or mean")
        check_value("fuse", self.fuse in ("probabilities", "logits"), "probabilities or logits")
        check_value("pad_to", self.pad_to is None or min(self.pad_to) >= 1, "positive")
        if self.tile is not None:
            least = min(side - tile_step(side, self.overlap) for side in self.tile)
            expected = f"at most half of the overlap ({least} pixels)"
            check_value("margin", 2 * self.margin <= least, expected)


def tile_step(tile: int, overlap: float) -> int:
    """Largest distance between neighbouring tiles, in pixels.

    Args:
        tile: side of a tile, in pixels.
        overlap: see `Inference`.
    """
    return max(1, math.floor(tile * (1 - overlap) + 1e-9))


CITYSCAPES_CROPS = Inference(tile=(1024, 1024), overlap=0.6)
"""The paper's evaluation on Cityscapes: four crops of the 1024×2048 image, at columns 0, 341, 683,
1024."""

VOC_PADDED = Inference(pad_to=(512, 512))
"""The paper's size on VOC: images padded to 512×512, so that res-5 is 16×16 and k = 15 covers
it."""


@dataclass(frozen=True)
class CRF:
    """Parameters of the dense CRF (see `gcnlab.evaluation.crf`)."""

    iterations: int = 10
    """Iterations of mean-field inference; 0 leaves the probabilities unchanged."""
    smooth_weight: float = 3.0
    """w_s, weight of the smoothness term; 0 leaves it out."""
    smooth_std: float = 3.0
    """θ_s, in pixels."""
    appearance_weight: float = 10.0
    """w_a, weight of the appearance term; 0 leaves it out."""
    appearance_std: float = 60.0
    """θ_a, in pixels."""
    color_std: float = 20.0
    """θ_c, in grey levels of 255."""
    floor: float = 1e-5
    """Smallest probability; smaller ones are raised to it, so that every class stays possible."""

    def __post_init__(self):
        def check_value(name: str, good: bool, expected: str) -> None:
            check(f"crf.{name}", good, f"{expected}, not {getattr(self, name)}")

        check_value("iterations", self.iterations >= 0, "0 or more")
        for name in ("smooth_weight", "appearance_weight"):
            check_value(name, getattr(self, name) >= 0, "0 or positive")
        for name in ("smooth_std", "appearance_std", "color_std"):
            check_value(name, getattr(self, name) > 0, "positive")
        check_value("floor", 0 < self.floor < 1, "in (0, 1)")


@dataclass(frozen=True)
class CRFGrid:
    """Values of the dense CRF's parameters to search; every combination is tried."""

    appearance_weight: tuple[float, ...] = (3.0, 10.0)
    """w_a, weight of the appearance term."""
    appearance_std: tuple[float, ...] = (20.0, 60.0)
    """θ_a, in pixels."""
    color_std: tuple[float, ...] = (5.0, 10.0, 20.0)
    """θ_c, in grey levels of 255."""
    smooth_weight: tuple[float, ...] = (3.0,)
    """w_s, weight of the smoothness term."""
    smooth_std: tuple[float, ...] = (3.0,)
    """θ_s, in pixels."""
    iterations: tuple[int, ...] = (10,)
    """Iterations of mean-field inference."""

    def points(self) -> list[CRF]:
        """Every combination.

        Raises:
            ValueError: a value is out of range, or a parameter has none.
        """
        if empty := [name for name, values in vars(self).items() if not values]:
            raise ValueError(f"grid.{empty[0]}: give at least one value")
        return [CRF(**dict(zip(vars(self), p))) for p in itertools.product(*vars(self).values())]


@dataclass(frozen=True)
class BoundaryRule:
    """Which pixels are boundary (see `gcnlab.evaluation.boundary`)."""

    distance: int | float = 7
    """Largest distance of a boundary pixel to another label, in pixels."""
    norm: Norm = "euclidean"
    """Norm of the distance."""
    void: VoidRule = "edge"
    """Whether the border of void is a boundary (edge) or not (blank)."""

    def __post_init__(self):
        if not self.distance > 0:
            raise ValueError(f"rule.distance must be positive (in pixels), not {self.distance}")


@dataclass(frozen=True)
class BandRule:
    """Width of the band along a mask's contour (see `gcnlab.evaluation.boundary_iou`)."""

    share: float = 0.02
    """Width as a share of the image's diagonal, in (0, 1]; rounded, at least 1 pixel."""
    image_border: bool = True
    """Count the image's border as contour, as the authors' code does."""

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"band.share must be in (0, 1], not {self.share}")

    def width(self, height: int, width: int) -> int:
        """Width of the band in an image of `height` × `width`, in pixels."""
        return max(1, round(self.share * (height**2 + width**2) ** 0.5))
