"""Plot images with their label maps and predictions, and receptive fields as in Figure 3."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gcnlab.annotations import Float, Shaped, Tensor
from gcnlab.datasets.labels import IGNORE, LabelSet
from gcnlab.plots.style import figure_style
from gcnlab.receptive.regions import region as region_of
from gcnlab.receptive.regions import region_text


def plot_label_maps(
    image: Float[Tensor, "3 height width"],
    maps: dict[str, Shaped[Tensor, "height width"]],
    labels: LabelSet,
) -> Figure:
    """Plot an image and label maps side by side, with a legend of the classes that occur.

    Args:
        image: RGB in 0 … 1.
        maps: title → class ids.
        labels: names and colours of the classes.
    """
    with figure_style():
        columns = 1 + len(maps)
        figure = Figure(figsize=(2.6 * columns, 2.6 * _shape(image) + 0.4))
        axes = figure.subplots(1, columns, squeeze=False)[0]
        _show(axes[0], image, "image")
        present: set[int] = set()
        for axis, (title, ids) in zip(axes[1:], maps.items()):
            axis.imshow(labels.colorize(ids).numpy(), interpolation="nearest")
            axis.set_title(title)
            axis.axis("off")
            present |= set(ids.unique().tolist())
        handles = [
            Patch(color=np.array(labels.colors[i]) / 255, label=labels.names[i])
            for i in sorted(present - {IGNORE})
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(7, len(handles)))
    return figure


def plot_regions(
    image: Float[Tensor, "3 height width"],
    fields: dict[str, Float[Tensor, "height width"]],
    pixel: tuple[int, int],
    threshold: int | float | None = None,
    rule: str | None = None,
) -> Figure:
    """Plot receptive fields as in Figure 3: a bright region on the darkened image and a dot at the
    pixel.

    Args:
        image: RGB in 0 … 1.
        fields: title → discrepancy or gradient.
        pixel: (row, column) of the unit.
        threshold, rule: definition of the region (see `gcnlab.receptive.regions`). The figure
            names it.
    """
    with figure_style():
        figure = Figure(figsize=(2.6 * len(fields), 2.6 * _shape(image) + 0.3))
        for axis, (title, field) in zip(
            figure.subplots(1, len(fields), squeeze=False)[0], fields.items()
        ):
            draw_region(axis, image, region_of(field, threshold, rule), pixel, title)
        figure.supxlabel(f"bright: {region_text(threshold, rule)}", fontsize=8)
    return figure


def plot_fields(
    image: Float[Tensor, "3 height width"],
    fields: dict[str, Float[Tensor, "height width"]],
    pixel: tuple[int, int],
) -> Figure:
    """Plot the image, and each field as a heat map of its magnitude, with a red dot at the pixel.

    Args:
        image: RGB in 0 … 1.
        fields: title → discrepancy or gradient.
        pixel: (row, column) of the unit.
    """
    with figure_style():
        columns = 1 + len(fields)
        figure = Figure(figsize=(2.6 * columns, 2.6 * _shape(image) + 0.2))
        axes = figure.subplots(1, columns, squeeze=False)[0]
        _show(axes[0], image, "image")
        _dot(axes[0], pixel)
        for axis, (title, field) in zip(axes[1:], fields.items()):
            axis.imshow(field.abs().numpy(), cmap="magma")
            axis.set_title(title)
            axis.axis("off")
            _dot(axis, pixel)
    return figure


def plot_mean_fields(fields: dict[str, Float[Tensor, "_ _"]]) -> Figure:
    """Plot fields centred on their pixel (see `gcnlab.receptive.mean_field`) as heat maps side by
    side.

    Each has its own scale. The brightness is the square root of the value, so that small values
    remain visible.

    Args:
        fields: title → field; NaN is white.
    """
    with figure_style():
        figure = Figure(figsize=(2.4 * len(fields), 2.6))
        axes = figure.subplots(1, len(fields), squeeze=False)[0]
        for axis, (title, field) in zip(axes, fields.items()):
            reach = len(field) / 2
            axis.imshow(
                field.abs().sqrt().numpy(), cmap="magma", extent=(-reach, reach, reach, -reach)
            )
            axis.set_title(title)
            axis.set_xlabel("distance from the pixel (px)")
        for axis in axes[1:]:
            axis.set_yticklabels([])
    return figure


def draw_region(
    axis: Axes,
    image: Float[Tensor, "3 height width"],
    region: Shaped[Tensor, "height width"],
    pixel: tuple[int, int],
    title: str = "",
) -> None:
    """Draw one region into matplotlib axes (see `plot_regions`)."""
    shade = np.where(region.numpy(), 1.0, 0.25)[..., None]
    axis.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy() * shade)
    if region.any() and not region.all():
        axis.contour(region.numpy(), levels=[0.5], colors="white", linewidths=0.8)
    _dot(axis, pixel)
    axis.set_title(title)
    axis.axis("off")


def _shape(image: Tensor) -> float:
    """Height of an image as a multiple of its width."""
    return image.shape[-2] / image.shape[-1]


def _show(axis: Axes, image: Tensor, title: str) -> None:
    axis.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
    axis.set_title(title)
    axis.axis("off")


def _dot(axis: Axes, pixel: Sequence[int]) -> None:
    axis.plot(pixel[1], pixel[0], "o", color="red", markersize=6, markeredgecolor="white")
