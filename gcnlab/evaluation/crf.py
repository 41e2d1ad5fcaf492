"""Dense CRF: class probabilities that follow the picture's edges (Krähenbühl & Koltun, NIPS 2011).

Every pair of pixels i, j pays for different labels

    k(i, j) = w_s · exp(−|p_i − p_j|² / 2θ_s²)  +  w_a · exp(−|p_i − p_j|² / 2θ_a² − |I_i − I_j|² / 2θ_c²)

where p are positions in pixels and I colours in 0 … 255: the first term smooths, the second binds pixels that
are near and alike. Each term is normalised as in their program, by the root of its sum over the pixels around either of the
two, so that the weights do not depend on how many those are. A pixel alone pays −log of its probability.
Mean-field inference in a few iterations gives probabilities again. The paper (section 4.2, Tables 7 and 9) post-processes with it and gives no parameter; the
defaults are those of Krähenbühl & Koltun's own program, and `gcnlab crf` searches.

The filtering is theirs, from the package pydensecrf2 (extra `crf`), which is compiled when it is installed.
"""

from dataclasses import dataclass

import torch

from gcnlab.annotations import Float, Tensor, UInt8
from gcnlab.datasets.normalization import Normalization
from gcnlab.settings import check


@dataclass(frozen=True)
class CRF:
    """Parameters of the dense CRF."""

    iterations: int = 10
    """Of mean field; 0 leaves the probabilities as they are."""
    smooth_weight: float = 3.0
    """w_s, of the term that smooths; 0 leaves it out."""
    smooth_std: float = 3.0
    """θ_s, in pixels."""
    appearance_weight: float = 10.0
    """w_a, of the term that binds alike pixels; 0 leaves it out."""
    appearance_std: float = 60.0
    """θ_a, in pixels."""
    color_std: float = 20.0
    """θ_c, in grey levels of 255."""
    floor: float = 1e-5
    """Least probability; smaller ones are raised to it, so that no class is out of the question."""

    def __post_init__(self):
        def check_value(name: str, good: bool, expected: str) -> None:
            check(f"crf.{name}", good, f"{expected}, not {getattr(self, name)}")

        check_value("iterations", self.iterations >= 0, "0 or more")
        for name in ("smooth_weight", "appearance_weight"):
            check_value(name, getattr(self, name) >= 0, "0 or positive")
        for name in ("smooth_std", "appearance_std", "color_std"):
            check_value(name, getattr(self, name) > 0, "positive")
        check_value("floor", 0 < self.floor < 1, "in (0, 1)")


def refine_probabilities(
    image: UInt8[Tensor, "3 height width"],
    probabilities: Float[Tensor, "classes height width"],
    crf: CRF | None = None,
) -> Float[Tensor, "classes height width"]:
    """Class probabilities after the CRF, on the CPU.

    Args:
        image: the picture in its own colours, not normalised.
        probabilities: of the classes, each pixel's sum 1.
        crf: parameters; None for the defaults.

    Raises:
        ValueError: the package is not installed, sizes differ, or a pixel's values are no
            probabilities.
    """
    import numpy as np

    crf = crf or CRF()
    dense = _package()
    classes, height, width = probabilities.shape
    if image.shape[-2:] != probabilities.shape[-2:]:
        raise ValueError(
            f"the image has {tuple(image.shape[-2:])} pixels and the probabilities {(height, width)}"
        )
    given = probabilities.detach().cpu().to(torch.float32, copy=True)
    if not (given >= 0).all() or not torch.allclose(
        given.sum(0), torch.ones(height, width), atol=1e-3
    ):
        raise ValueError("a CRF refines probabilities: each pixel's must be ≥ 0 and sum to 1")
    if crf.iterations == 0:
        return given
    unary = -given.clamp(min=crf.floor).log()
    field = dense.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(classes, -1).numpy()))
    if crf.smooth_weight > 0:
        field.addPairwiseGaussian(sxy=crf.smooth_std, compat=crf.smooth_weight)
    if crf.appearance_weight > 0:
        field.addPairwiseBilateral(
            sxy=crf.appearance_std,
            srgb=crf.color_std,
            rgbim=np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy()),
            compat=crf.appearance_weight,
        )
    refined = np.array(field.inference(crf.iterations), dtype=np.float32)
    return torch.from_numpy(refined).reshape(classes, height, width)


def colors_of(
    image: Float[Tensor, "3 height width"], normalization: Normalization
) -> UInt8[Tensor, "3 height width"]:
    """The picture that a normalised image was made of, as the CRF takes it."""
    return (255 * normalization.invert(image.float())).round().to(torch.uint8)


def _package():
    try:
        import pydensecrf.densecrf as dense
    except ModuleNotFoundError as error:
        raise ValueError(
            "the dense CRF needs the package pydensecrf2, the extra `crf`, which is not installed: "
            "pip install 'gcnlab[crf]' (a C++ compiler builds it in about a minute)"
        ) from error
    return dense
