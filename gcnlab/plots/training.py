"""The course of a training: a curve afterwards, or live in a notebook."""

import io
import time
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from gcnlab.annotations import Tensor, UInt8
from gcnlab.plots.notebook import picture_with_text, small_png
from gcnlab.plots.style import STYLES, draw_seeds, figure_style


def plot_losses(losses: dict[str, Sequence[float]], smooth: int = 25) -> Figure:
    """Training loss against step, one line per run, each a running mean.

    Args:
        losses: title → loss of every step.
        smooth: steps in the running mean.
    """
    with figure_style():
        figure = Figure(figsize=(5, 2.8))
        axis = figure.subplots()
        for title, values in losses.items():
            _draw(axis, values, smooth, title)
        axis.set(xlabel="step", ylabel=f"loss (mean of {smooth} steps)", ylim=(0, None))
        axis.legend()
    return figure


def plot_learning_rates(rates: dict[str, Sequence[float]]) -> Figure:
    """Learning rate against step, a line per schedule.

    Args:
        rates: title → rate of every step.
    """
    with figure_style():
        figure = Figure(figsize=(5, 2.5))
        axis = figure.subplots()
        for number, (title, values) in enumerate(rates.items()):
            axis.plot(values, STYLES[number % len(STYLES)], label=title)
        axis.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
        axis.legend()
    return figure


def plot_epochs(losses: dict[str, Sequence[float] | Sequence[Sequence[float]]]) -> Figure:
    """Mean training loss of each epoch, a line per network: of one training, or of several their mean, in a band from the
    lowest to the highest.

    Args:
        losses: title → loss of each epoch, or a list of these, one for each seed.
    """
    with figure_style():
        figure = Figure(figsize=(5, 2.8))
        axis = figure.subplots()
        for number, (title, values) in enumerate(losses.items()):
            draw_seeds(axis, values, STYLES[number % len(STYLES)], title)
        axis.set(xlabel="epoch", ylabel="mean loss", ylim=(0, None))
        axis.legend()
    return figure


def plot_class_iou(iou: dict[str, dict[str, float]]) -> Figure:
    """IoU per class as bars, one colour per network.

    Args:
        iou: network → class name → IoU in percent.
    """
    with figure_style():
        names = list(next(iter(iou.values())))
        figure = Figure(figsize=(max(5, 0.55 * len(names) * len(iou) ** 0.5), 2.8))
        axis = figure.subplots()
        width = 0.8 / len(iou)
        for number, (title, values) in enumerate(iou.items()):
            places = np.arange(len(names)) + (number - (len(iou) - 1) / 2) * width
            axis.bar(places, [values[n] for n in names], width, label=title)
        axis.set_xticks(np.arange(len(names)), names, rotation=35, ha="right")
        axis.set(ylabel="IoU (%)", ylim=(0, 100))
        if len(iou) > 1:
            axis.legend()
    return figure


class LiveLoss:
    """A loss curve that grows in a notebook while `train(…, on_step=LiveLoss("GCN"))` runs; of a run that is gone on
    with, from the step where it was broken off.

    Args:
        title: of the figure.
        every: seconds between redraws.
    """

    def __init__(self, title: str = "", every: float = 2.0):
        self.title = title
        self.every = every
        self.losses: list[float] = []
        self._drawn = 0.0
        self._shown = _Renewed()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        self.losses.append(loss)
        if step == steps or time.monotonic() - self._drawn > self.every:
            self._draw(step, steps)
            self._drawn = time.monotonic()

    def _draw(self, step: int, steps: int) -> None:
        with figure_style():
            figure = Figure(figsize=(5, 2.2))
            axis = figure.subplots()
            mean = _draw(axis, self.losses, 25, None, before=step - len(self.losses))
            axis.set(
                title=f"{self.title} step {step} of {steps}".strip(),
                xlabel="step",
                ylabel="loss",
                xlim=(0, steps),
                ylim=(0, None),
            )
        self._shown.show(
            small_png(figure),
            f"Loss of {self.title or 'the training'} up to step {step} of {steps}: from {mean[0]:.2f} to {mean[-1]:.2f}.",
        )


class LivePredictions:
    """Predictions of the val split that are renewed in a notebook with every checkpoint:
    `train(…, execution=Execution(samples=3), on_samples=LivePredictions())`.

    A row for each image: the image, its labels, the prediction; small ones enlarged by a whole number.
    """

    def __init__(self):
        self._shown = _Renewed()

    def __call__(self, step: int, picture: UInt8[Tensor, "3 height width"]) -> None:
        png = io.BytesIO()
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        times = max(1, 480 // image.width)
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
        image.save(png, format="png")
        self._shown.show(
            png.getvalue(), f"Images, their labels, and what is predicted after step {step}."
        )


class _Renewed:
    """A picture in the output of a cell, which each new one takes the place of."""

    def __init__(self):
        self._handle = None

    def show(self, png: bytes, alt: str) -> None:
        from IPython.display import display

        bundle = picture_with_text(png, alt)
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _draw(
    axis: Axes, losses: Sequence[float], smooth: int, label: str | None, before: int = 0
) -> np.ndarray:
    """Draw the running mean of `smooth` steps; return it. `before`: steps before the first loss."""
    values = np.asarray(losses, dtype=float)
    window = max(1, min(smooth, len(values)))
    mean = np.convolve(values, np.ones(window) / window, mode="valid")
    axis.plot(before + np.arange(window, len(values) + 1), mean, label=label)
    return mean
