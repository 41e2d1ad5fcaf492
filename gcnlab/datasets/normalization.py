"""Normalisation of images: subtract the mean and divide by the standard deviation of each channel.

Settings name a normalisation, so this module imports torch only when an image is normalised.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Normalization:
    """(image − mean) / std per channel, for RGB images with values in 0 … 1.

    Attributes:
        mean: one value per channel.
        std: one value per channel.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __call__(self, image: "torch.Tensor") -> "torch.Tensor":
        """Normalise an image of shape (…, 3, height, width).

        Args:
            image: uint8 in 0 … 255, or floats in 0 … 1.

        Returns:
            The normalised image, float32, in a new tensor.
        """
        import torch

        factor = 255.0 if image.dtype == torch.uint8 else 1.0
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        scale, shift = (1 / (factor * std)).to(image.device), (mean / std).to(image.device)
        # The only new tensor; the rest is computed in place.
        pixels = image.as_subclass(torch.Tensor).to(torch.float32, copy=True)
        return pixels.mul_(scale).sub_(shift)

    def invert(self, image: "torch.Tensor") -> "torch.Tensor":
        """Map a normalised image of shape (…, 3, height, width) back to values in 0 … 1."""
        mean = image.new_tensor(self.mean)[:, None, None]
        std = image.new_tensor(self.std)[:, None, None]
        return (image * std + mean).clamp(0, 1)


NORMALIZATIONS = {
    "imagenet": Normalization(),  # mean and deviation of torchvision's ImageNet weights
    "mean": Normalization(
        std=(1.0, 1.0, 1.0)
    ),  # the paper subtracts the mean and divides by nothing
}


def weights_normalization(weights: Any) -> Normalization:
    """The normalisation that published weights were trained with.

    Args:
        weights: a member of an enum of torchvision; or weights of timm, with `mean` and `std`.
    """
    preset = weights if hasattr(weights, "mean") else weights.transforms()
    return Normalization(tuple(preset.mean), tuple(preset.std))
