"""Networks for the tests of the widgets: small, exact, and slow or broken where a test needs it."""

import time

import torch
from torch import nn


class Summing(nn.Module):
    """Two classes: the sum of the image around the pixel, and nothing.

    All numbers are small integers, so that every machine and order of adding gives the same scores.

    Args:
        radius: of the square that is summed up.
    """

    def __init__(self, radius: int):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 2 * radius + 1, padding=radius, bias=False)
        with torch.no_grad():
            self.conv.weight[0], self.conv.weight[1] = 1, 0

    def forward(self, images):
        return self.conv(images)


class Quarter(nn.Module):
    """A network with a unit for every 4×4 pixels, whose sum it is, and with nothing as a second class."""

    def __init__(self, classes: int = 2):
        super().__init__()
        self.conv = nn.Conv2d(3, classes, 4, 4, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[0] = 1

    def forward(self, images):
        return self.conv(images)


class Slow(Summing):
    """A slow network that cannot be exported, so that every window runs it."""

    seconds = 0.002

    def forward(self, images):
        time.sleep(self.seconds + 0 * images.sum().item())
        return super().forward(images)


class Broken(nn.Module):
    """A network that returns one score per image instead of a map."""

    def forward(self, images):
        return images.mean((1, 2, 3))


class NotFinite(Summing):
    def forward(self, images):
        return super().forward(images) * float("nan")


def integer_image(height: int = 48, width: int = 64) -> torch.Tensor:
    """Values 1 … 4, other ones at every pixel's neighbours."""
    values = torch.arange(3 * height * width) * 7919 % 4 + 1
    return values.reshape(3, height, width).float()
