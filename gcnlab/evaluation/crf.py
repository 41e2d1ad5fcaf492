"""Dense CRF: class probabilities that follow the image's edges (Krähenbühl & Koltun, NIPS 2011).

Every pair of pixels i, j with different labels has the cost

    k(i, j) = w_s · exp(−|p_i − p_j|² / 2θ_s²)  +  w_a · exp(−|p_i − p_j|² / 2θ_a² − |I_i − I_j|² / 2θ_c²)

where p are positions in pixels and I colours in 0 … 255. The first term is the smoothness term; the
second, the appearance term, connects pixels that are near each other and have similar colours. As
in the authors' program, each term is normalised by the square root of its sum over the neighbours
of either pixel, so that the weights do not depend on the number of neighbours. The unary cost of a
pixel is −log of its probability. A few iterations of mean-field inference give probabilities again.
The paper (section 4.2, Tables 7 and 9) post-processes with a dense CRF and gives no parameters. The
defaults are those of Krähenbühl & Koltun's program, and `gcnlab crf` searches others.

The filtering uses the authors' code in the package pydensecrf2 (extra `crf`), which is compiled
when it is installed.
"""

import torch

from gcnlab.annotations import Float, Tensor, UInt8
from gcnlab.datasets.normalization import Normalization
from gcnlab.evaluation.settings import CRF


def refine_probabilities(
    image: UInt8[Tensor, "3 height width"],
    probabilities: Float[Tensor, "classes height width"],
    crf: CRF | None = None,
) -> Float[Tensor, "classes height width"]:
    """Class probabilities after the CRF, on the CPU.

    Args:
        image: the image in its original colours, not normalised.
        probabilities: class probabilities, which sum to 1 at each pixel.
        crf: parameters; None for the defaults.

    Raises:
        ValueError: the package is not installed, the sizes differ, or the values of a pixel are not
            probabilities.
    """
    import numpy as np

    crf = crf or CRF()
    dense = _package()
    classes, height, width = probabilities.shape
    if image.shape[-2:] != probabilities.shape[-2:]:
        raise ValueError(
            f"image {tuple(image.shape[-2:])} and probabilities {(height, width)} differ in size"
        )
    given = probabilities.detach().cpu().to(torch.float32, copy=True)
    if not (given >= 0).all() or not torch.allclose(
        given.sum(0), torch.ones(height, width), atol=1e-3
    ):
        raise ValueError(
            "a CRF refines probabilities: the values of each pixel must be ≥ 0 and sum to 1"
        )
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
    """Undo the normalisation of an image: its colours, 0 … 255, as the CRF takes them."""
    return (255 * normalization.invert(image.float())).round().to(torch.uint8)


def _package():
    try:
        import pydensecrf.densecrf as dense
    except ModuleNotFoundError as error:
        raise ValueError(
            "the dense CRF needs the package pydensecrf2, which is not installed: "
            "pip install 'gcnlab[crf]' (a C++ compiler builds it in about a minute)"
        ) from error
    return dense
