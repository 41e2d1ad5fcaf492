"""Plot the progress of a training run, afterwards or live in a notebook."""

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
    """Plot the running mean of the training loss against the step, with one line per run.

    Args:
        losses: title → loss of every step.
        smooth: number of steps in the running mean.
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
    """Plot the learning rate against the step, with one line per schedule.

    Args:
        rates: title → learning rate of every step.
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
    """Plot the mean training loss of each epoch, with one line per network.

    A line is one run, or the mean of several runs with a band from the lowest to the highest.

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
    """Plot the IoU of each class as bars, with one colour per network.

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
    """A loss curve in a notebook that is updated while `train(…, on_step=LiveLoss("GCN"))` runs.

    The curve of a resumed run starts at the step where the run was interrupted.

    Args:
        title: title of the figure.
        every: seconds between updates.
    """

    def __init__(self, title: str = "", every: float = 2.0):
        self.title = title
        self.every = every
        self.losses: list[float] = []
        self._drawn = 0.0
        self._shown = _UpdatedOutput()

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
            f"Loss of {self.title or 'the run'} up to step {step} of {steps}: from {mean[0]:.2f} to {mean[-1]:.2f}.",
        )


class LivePredictions:
    """Validation images with predictions, updated in a notebook at every checkpoint.

    Use it as `train(…, execution=Execution(samples=3), on_samples=LivePredictions())`. Each row has
    the image, its labels and the prediction; small images are enlarged by an integer factor.
    """

    def __init__(self):
        self._shown = _UpdatedOutput()

    def __call__(self, step: int, picture: UInt8[Tensor, "3 height width"]) -> None:
        png = io.BytesIO()
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        times = max(1, 480 // image.width)
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
        image.save(png, format="png")
        self._shown.show(
            png.getvalue(), f"Images, their labels and the predictions after step {step}."
        )


class _UpdatedOutput:
    """A picture in the output of a cell, which each new picture replaces."""

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
    """Draw and return the running mean of `smooth` steps; `before` is the step before the first
    loss.
    """
    values = np.asarray(losses, dtype=float)
    window = max(1, min(smooth, len(values)))
    mean = np.convolve(values, np.ones(window) / window, mode="valid")
    axis.plot(before + np.arange(window, len(values) + 1), mean, label=label)
    return mean
