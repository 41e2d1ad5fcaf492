"""From a field to a region, and from a region to one number: how much of an object it covers."""

import torch

from gcnlab.annotations import Bool, Float, Shaped, Tensor


def region(
    field: Float[Tensor, "height width"], threshold: float = 0.2
) -> Bool[Tensor, "height width"]:
    """Where |field| ≥ `threshold` × its maximum; nowhere, if the field is zero.

    Args:
        field: discrepancy or gradient.
        threshold: in (0, 1]. Zhou et al. and the paper name none; 0.2 is our choice.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], not {threshold}")
    size = field.abs()
    return (size >= threshold * size.max()) & (size > 0)


def coverage(region: Bool[Tensor, "height width"], mask: Shaped[Tensor, "height width"]) -> float:
    """Share of the mask's pixels that are inside the region, 0 … 1.

    Raises:
        ValueError: the shapes differ, or the mask is empty.
    """
    if region.shape != mask.shape:
        raise ValueError(
            f"region {tuple(region.shape)} and mask {tuple(mask.shape)} differ in shape"
        )
    mask = mask.to(device=region.device, dtype=torch.bool)
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to cover")
    return (region & mask).sum().item() / mask.sum().item()
