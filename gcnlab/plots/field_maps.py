"""Plot what an atlas tells of all pixels of an image, and of all objects of a data set."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from gcnlab.annotations import Float, Tensor
from gcnlab.experiments.atlas_results import PARTS
from gcnlab.experiments.depth_profiles import Interval
from gcnlab.plots.style import STYLES, figure_style
from gcnlab.receptive.atlas_maps import FieldMaps

LABELS = {
    "area": "area of the field (%)",
    "radius": "radius of the field (px)",
    "coverage": "covered of the object (%)",
    "context": "field outside of the object (%)",
    "offset": "offset of the field's centre (px)",
}
"""Map of `gcnlab.receptive.FieldMaps` → label of its colour bar."""

SHARES = ("area", "coverage", "context")
"""Maps of shares, 0 … 1, which are shown in percent."""


def plot_field_maps(
    image: Float[Tensor, "3 height width"],
    maps: dict[str, FieldMaps],
    names: Sequence[str] | None = None,
) -> Figure:
    """Plot maps that describe the field of every pixel: one row per network, one column per map.

    A column has one scale, so its maps can be compared. The image is shown in grey where a map has
    no value.

    Args:
        image: RGB in 0 … 1.
        maps: title → the maps of one network on this image (`gcnlab.receptive.field_maps`).
        names: the maps to show, of `LABELS`; None for all that are there.

    Raises:
        ValueError: `maps` is empty, or a map is unknown or missing.
    """
    if not maps:
        raise ValueError("there are no maps to plot")
    if names is None:
        names = [n for n in LABELS if all(getattr(m, n) is not None for m in maps.values())]
    for name in names:
        if name not in LABELS:
            raise ValueError(f"unknown map {name!r}; choose one of {', '.join(LABELS)}")
        for title, one in maps.items():
            if getattr(one, name) is None:
                raise ValueError(f"{title} has no {name}: pass the objects to field_maps")
    height, width = image.shape[-2:]
    with figure_style():
        size = 2.3 * (1 + len(names)), 2.1 * len(maps) * height / width + 0.5
        figure = Figure(figsize=size)
        axes = figure.subplots(len(maps), 1 + len(names), squeeze=False)
        grey = image.mean(0).clamp(0, 1).numpy()
        for row, title in zip(axes, maps):
            row[0].imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
            row[0].set_title(title)
        for column, name in zip(axes.T[1:], names):
            shown = [_percent(getattr(one, name), name) for one in maps.values()]
            scale = _scale(shown, name)
            for axis, values, one in zip(column, shown, maps.values()):
                axis.imshow(
                    grey, cmap="gray", vmin=-1, vmax=1
                )  # bright, so that the map stands out
                drawn = axis.imshow(
                    np.ma.masked_invalid(values),
                    cmap="viridis",
                    norm=scale,
                    extent=_extent(one),
                    interpolation="nearest",
                )
            bar = figure.colorbar(
                drawn, ax=column.tolist(), location="bottom", fraction=0.06, shrink=0.9
            )
            bar.set_label(LABELS[name], fontsize=8)
        for axis in axes.flat:
            axis.axis("off")
    return figure


def plot_depth_profiles(
    panels: dict[str, dict[str, Sequence[Interval]]],
) -> Figure:
    """Plot means against the depth in the object, from edge to middle: one panel per measure, one
    line per network, with a band of the 95 % confidence interval.

    Args:
        panels: label of the vertical axis → network → the mean of each part of the depth
            (`gcnlab.experiments.depth_profiles.profile`).

    Raises:
        ValueError: `panels` is empty.
    """
    if not panels:
        raise ValueError("there are no profiles to plot")
    places = (np.arange(PARTS) + 0.5) / PARTS
    with figure_style():
        figure = Figure(figsize=(3.2 * len(panels), 2.8))
        for axis, (label, networks) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items()
        ):
            for number, (name, profile) in enumerate(networks.items()):
                style = STYLES[number % len(STYLES)]
                (line,) = axis.plot(places, [p.mean for p in profile], style, label=name)
                low, high = [p.low for p in profile], [p.high for p in profile]
                axis.fill_between(places, low, high, color=line.get_color(), alpha=0.15, lw=0)
            axis.set(ylabel=label, xlabel="depth in the object\n(0 edge … 1 middle)", xlim=(0, 1))
        figure.axes[0].legend()
    return figure


def _extent(maps: FieldMaps) -> tuple[float, float, float, float]:
    """Left, right, bottom, top in the image, such that the middle of each cell is its unit's pixel
    (which matplotlib has at whole numbers)."""
    ends = []
    for axis in (0, 1):
        places = maps.centres[..., axis].transpose(0, axis)[:, 0].double()
        half = (places[-1] - places[0]).item() / max(len(places) - 1, 1) / 2 or 0.5
        ends.append((places[0].item() - half, places[-1].item() + half))
    (top, bottom), (left, right) = ends
    return left, right, bottom, top


def _percent(values: Tensor, name: str) -> np.ndarray:
    return values.double().numpy() * (100 if name in SHARES else 1)


def _scale(shown: list[np.ndarray], name: str) -> mpl.colors.Normalize:
    """From 0 to the largest value; to 100 % for shares of an object or of a field."""
    if name in ("coverage", "context"):
        return mpl.colors.Normalize(0, 100)
    known = np.concatenate([values[np.isfinite(values)] for values in shown])
    return mpl.colors.Normalize(0, max(known.max(initial=0), 1e-9))
