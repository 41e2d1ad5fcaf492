"""What an occluder is filled with: a number, or something made of the image itself.

A constant such as 0 adds edges around the window, and may be a colour that the network has seldom
seen. Four fills differ in what they take away and in what they add:

    a number    the same value in all channels; 0 is the mean colour of the normalised data set
    "mean"      the mean colour of this image: one value per channel
    "blur"      the image without its details: the large shapes and colours stay, without edges
    "noise"     random pixels with the mean and the standard deviation of this image per channel

Every fill is an image of the same size as the clean one, and a window is a part of it. So the value
of an occluded pixel depends on its place, but not on the window that covers it.

**Blur.** A Gaussian whose standard deviation σ is half of the window's longer side w: a pattern of
period w keeps exp(−π²/2) = 0.7 % of its contrast. The weights are cut off at a distance of 4 σ, and
the image is continued beyond its border by reflection (… b a | a b …). The result is that of
`scipy.ndimage.gaussian_filter(channel, w / 2, mode="reflect")`.

**Noise.** The numbers come from a generator of its own with a fixed seed: two calls for the same
image give the same noise, whatever the window, the device and the global random state are.
"""

import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.receptive.settings import fill_of

SEED = 0
"""Seed of the noise."""

CUT = 4
"""Distance, in standard deviations, at which the weights of the blur are cut off."""


def fill_image(
    image: Float[Tensor, "channels height width"],
    fill: int | float | str,
    window: tuple[int, int],
) -> Float[Tensor, "channels height width"]:
    """The image from which the windows are filled, with the type and the device of `image`.

    Args:
        image: the clean image.
        fill: a number, "mean", "blur" or "noise".
        window: (height, width) of the occluder, in pixels; only "blur" depends on it.

    Returns:
        The image; do not write to it, since its pixels may share memory.

    Raises:
        ValueError: `fill` is neither a number nor one of the names, or is a number that the type of
            the image cannot hold.
    """
    fill = fill_of(fill)
    if isinstance(fill, float):
        largest = torch.finfo(image.dtype).max
        if abs(fill) > largest:
            raise ValueError(
                f"fill {fill:g} is too large for an image of {image.dtype}, up to {largest:g}"
            )
        return image.new_full((1, 1, 1), fill).expand(image.shape)
    pixels = image.detach().cpu().double()  # rounded once, at the end
    mean = pixels.mean((1, 2), keepdim=True)
    if fill == "blur":
        down, across = (blurring(n, max(window) / 2) for n in pixels.shape[1:])
        return (down @ pixels @ across.T).to(image)
    if fill == "noise":
        generator = torch.Generator().manual_seed(SEED)
        noise = torch.randn(pixels.shape, generator=generator, dtype=pixels.dtype)
        return (mean + pixels.std((1, 2), correction=0, keepdim=True) * noise).to(image)
    return mean.to(image).expand(image.shape)


def blurring(length: int, sigma: float) -> Float[Tensor, "length length"]:
    """The weights of a Gaussian blur along one axis: blurred = weights @ values.

    Each row sums to 1, and, because of the reflection at the border, so does each column: the mean
    of the values stays the same.

    Args:
        length: number of values.
        sigma: standard deviation, in pixels.
    """
    reach = int(CUT * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    weights = torch.softmax(-(steps.double() ** 2) / (2 * sigma**2), 0)
    place = (torch.arange(length)[:, None] + steps) % (2 * length)
    place = torch.minimum(place, 2 * length - 1 - place)  # the second half runs backwards
    return torch.zeros(length, length, dtype=torch.float64).scatter_add_(
        1, place, weights.expand(length, -1)
    )
