"""Occlude one image for many networks at once that share a frozen backbone.

Most of the time of a valid field goes into the backbone. Networks that differ only in what follows
it get the same feature maps, so these are computed once per window. What follows is computed only
around the unit: the logits of one pixel depend on a small part of the score maps, and a part of a
score map on the features within half a kernel of it.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import Pixel
from gcnlab.models import SegmentationNet
from gcnlab.models.logits import device_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.models.segmenter import per_level
from gcnlab.receptive.atlas import hash_of
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.receptive.fills import fill_image
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.settings import AtlasSettings
from gcnlab.training.checkpoint import fingerprint

REACH = {False: 2, True: 6}
"""With boundary refinement or without → how far around a unit of res-5 the score maps influence its
pixels, in units of res-5, rounded up. A deconvolution reads one neighbour on each side, a refinement
two; both at every level down to the image."""


def backbone_key(model: SegmentationNet) -> tuple:
    """Equal for networks whose frozen backbones compute the same; unique for all others."""
    if not model.frozen_backbone:
        return (id(model),)
    return (type(model.backbone).__name__, fingerprint(model.backbone.state_dict()))


Features = Callable[[Float[Tensor, "batch 3 height width"]], Sequence[Float[Tensor, "batch _ _ _"]]]
"""Images → the maps of res-2 to res-5."""


def compiled_backbone(backbone: nn.Module) -> Features:
    """The backbone, compiled with its weights as constants: batch norm is folded into the
    convolutions, and activations are computed with them. It needs a C++ compiler, and computes with
    the weights that it has now. Call it without gradients, on one size of batch."""
    return torch.compile(backbone, dynamic=False, options={"freezing": True})


class Joined(nn.Module):
    """Networks with equal backbones (see `backbone_key`) as one network, whose backbone runs once.

    Its classes are those of the first network, then those of the second, and so on.
    """

    def __init__(self, models: Sequence[SegmentationNet]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        features = self.models[0].backbone(images)
        return torch.cat([m.decode(features, images.shape[-2:]) for m in self.models], 1)


@torch.no_grad()
def tables_together(
    models: Sequence[SegmentationNet],
    image: Float[Tensor, "3 height width"],
    settings: AtlasSettings,
    batch_size: int = 8,
    backbone: Features | None = None,
) -> list[AtlasTable]:
    """For each network, the numbers of `gcnlab.receptive.FieldAtlas`, by the plain method.

    Windows that leave the image as it is, such as those in padding, are not run.

    Args:
        models: networks with equal backbones (see `backbone_key`), whose logits have the size of
            the image.
        image: the networks' input.
        settings: the occluder, some classes, and the pixels to keep.
        batch_size: number of images at once.
        backbone: computes what the networks' backbones compute; None is that of the first network.
    """
    size, backbone = tuple(image.shape[-2:]), models[0].backbone if backbone is None else backbone
    image, kinds = image.to(device_of(models[0])), list(settings.target)
    clean, tables = [], []
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluation_mode(model))
        features = backbone(image.repeat(batch_size, 1, 1, 1))  # one size, for a compiled backbone
        for model in models:
            logits = model.decode([f[:1] for f in features], size)[0, :, :: settings.every]
            logits = logits[..., :: settings.every].cpu()
            clean.append(logits[kinds].double())
            tables.append(
                AtlasTable.empty(settings, size, clean[-1], logits.argmax(0), size, hash_of(image))
            )
        grid = tables[0].grid
        place = {(i, j): (slice(*grid.rows[i]), slice(*grid.columns[j])) for i, j in grid.windows()}
        filling = fill_image(image, settings.fill, grid.window)
        changing = [w for w, at in place.items() if (image[:, *at] != filling[:, *at]).any()]
        for start in range(0, len(changing), batch_size):
            batch = changing[start : start + batch_size]
            images = image.repeat(batch_size, 1, 1, 1)
            for one, window in zip(images, batch):
                one[:, *place[window]] = filling[:, *place[window]]
            features = [f[: len(batch)] for f in backbone(images)]
            for model, before, table in zip(models, clean, tables):
                logits = model.decode(features, size)[..., :: settings.every, :: settings.every]
                table.put(batch, before - logits[:, kinds].double().cpu())
        for table in tables:
            table.done.fill_(True)
    return tables


@torch.no_grad()
def drops_together(
    models: Sequence[SegmentationNet],
    kernel_sizes: Sequence[int | tuple[int, ...]],
    image: Float[Tensor, "3 height width"],
    pixel: Pixel,
    grid: OcclusionGrid,
    fill: int | float | str = 0.0,
    batch_size: int = 32,
    backbone: Features | None = None,
) -> list[Float[Tensor, "rows columns classes"]]:
    """For each network, the drop of every class's logit at a pixel for each window of a grid.

    Equal to `Occlusion.drops` of the plain method up to rounding. Windows on pixels that have the
    value of the window anyway, such as padding, change nothing and are not run.

    Args:
        models: networks with equal backbones (see `backbone_key`).
        kernel_sizes: k of each network's heads.
        image: the networks' input.
        pixel: (row, column) in the image, at whose size the logits are.
        grid: positions of the window.
        fill: what the window is filled with: a number, or a name (`gcnlab.receptive.fills`).
        batch_size: number of images at once: the clean one, and occluded ones.
        backbone: computes what the networks' backbones compute; None is that of the first network.
    """
    size, backbone = tuple(image.shape[-2:]), models[0].backbone if backbone is None else backbone
    image = image.to(device_of(models[0]))
    windows = [(slice(*grid.rows[i]), slice(*grid.columns[j])) for i, j in grid.windows()]
    filling = fill_image(image, fill, grid.window)
    changing = [
        n for n, place in enumerate(windows) if (image[:, *place] != filling[:, *place]).any()
    ]
    found = [torch.zeros(len(windows), m.num_classes, dtype=torch.float64) for m in models]
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluation_mode(model))
        for start in range(0, len(changing), batch_size - 1):
            batch = changing[start : start + batch_size - 1]
            images = image.repeat(batch_size, 1, 1, 1)  # one size, for a compiled backbone
            for one, number in zip(images[1:], batch):
                one[:, *windows[number]] = filling[:, *windows[number]]
            features = [f[: len(batch) + 1] for f in backbone(images)]
            for drops, model, k in zip(found, models, kernel_sizes):
                logits = logits_at(model, k, features, pixel, size).double().cpu()
                drops[batch] = logits[:1] - logits[1:]
    return [drops.reshape(*grid.shape, -1) for drops in found]


def logits_at(
    model: SegmentationNet,
    kernel_size: int | tuple[int, ...],
    features: Sequence[Float[Tensor, "batch _ _ _"]],
    pixel: Pixel,
    size: tuple[int, int],
) -> Float[Tensor, "batch classes"]:
    """The logits at one pixel of the image, from the features of the whole image.

    Args:
        model: in evaluation mode.
        kernel_size: k of its heads.
        features: the maps of res-2 to res-5.
        pixel: (row, column) in the image.
        size: height and width of the image.
    """
    strides = model.backbone.strides
    refined = any(True for _ in model.refine_heads.parameters())
    reach, coarse = REACH[refined], features[-1].shape[-2:]
    low = [max(0, p // strides[-1] - reach) for p in pixel]
    high = [min(n, p // strides[-1] + reach + 1) for n, p in zip(coarse, pixel)]
    score_maps = []
    sizes = per_level("kernel_size", kernel_size, len(features))
    for feature, head, refine, stride, k in zip(
        features, model.heads, model.refine_heads, strides, sizes
    ):
        factor = strides[-1] // stride
        first = [start * factor for start in low]
        last = [min(end * factor, n) for end, n in zip(high, feature.shape[-2:])]
        before = [min(start, k // 2) for start in first]
        rows, columns = (
            slice(start - margin, end + k // 2) for start, margin, end in zip(first, before, last)
        )
        scored = head(feature[..., rows, columns])
        rows, columns = (
            slice(margin, margin + end - start) for margin, start, end in zip(before, first, last)
        )
        score_maps.append(refine(scored[..., rows, columns]))
    part = [
        min(end * strides[-1], n) - start * strides[-1] for start, end, n in zip(low, high, size)
    ]
    row, column = (p - start * strides[-1] for p, start in zip(pixel, low))
    return model.merge(score_maps, part)[..., row, column]
