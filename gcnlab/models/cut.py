"""Cut a backbone after one of its feature maps, to train only what follows it.

A backbone that can be cut has a method `stages`: for each of its four maps, the modules that
compute it from the map before (from the image, for the first), in the order in which they are
called.
"""

from collections.abc import Sequence

from torch import nn

from gcnlab.annotations import Float, Tensor

STRIDES = (4, 8, 16)
"""Strides of the maps after which a backbone can be cut, in pixels."""


def first_stages(backbone: nn.Module, maps: int) -> list[nn.Module]:
    """The modules that compute the first `maps` feature maps.

    Raises:
        ValueError: the backbone cannot be cut.
    """
    return [module for stage in _stages(backbone)[:maps] for module in stage]


def first_maps(
    backbone: nn.Module, image: Float[Tensor, "batch 3 height width"], maps: int
) -> list[Float[Tensor, "batch _ _ _"]]:
    """Compute only the first `maps` feature maps.

    Raises:
        ValueError: the backbone cannot be cut.
    """
    if maps == len(backbone.channels):
        return backbone(image)
    return _run(_stages(backbone)[:maps], image)


def continue_from(
    backbone: nn.Module, maps: Sequence[Float[Tensor, "batch _ _ _"]]
) -> list[Float[Tensor, "batch _ _ _"]]:
    """Compute the remaining feature maps from the first ones; return all four.

    Args:
        maps: the first one to four maps. Height and width of the image are multiples of 32 pixels.

    Raises:
        ValueError: the backbone cannot be cut.
    """
    if len(maps) == len(backbone.channels):
        return list(maps)
    return [*maps, *_run(_stages(backbone)[len(maps) :], maps[-1])]


def _stages(backbone: nn.Module) -> list[list[nn.Module]]:
    if not hasattr(backbone, "stages"):
        raise ValueError(
            f"frozen_stride: backbone {type(backbone).__name__} cannot be cut, because it has no "
            "method stages(); freeze the whole backbone (frozen_backbone), or nothing"
        )
    return backbone.stages()


def _run(
    stages: list[list[nn.Module]], x: Float[Tensor, "batch _ _ _"]
) -> list[Float[Tensor, "batch _ _ _"]]:
    """Run stages on each other's output; return the output of each."""
    found = []
    for stage in stages:
        for module in stage:
            x = module(x)
        found.append(x)
    return found
