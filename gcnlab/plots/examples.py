"""Figure 6: images beside the predictions of several networks and the labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gcnlab.datasets.labels import IGNORE, LabelSet
from gcnlab.experiments.examples import Example
from gcnlab.plots.style import figure_style


def plot_examples(examples: Sequence[Example], labels: LabelSet) -> Figure:
    """Plot one row per image: the image, the prediction of each network, the labels.

    The title of a prediction is the image's score (mean IoU over its classes, in percent).

    Args:
        examples: the rows, see `gcnlab.experiments.examples`.
        labels: names and colours of the classes.

    Raises:
        ValueError: there is no example.
    """
    if not examples:
        raise ValueError("there is no example to plot")
    networks = list(examples[0].predictions)
    titles = ["image", *networks, "labels"]
    with figure_style():
        shape = np.mean([example.image.shape[1] / example.image.shape[2] for example in examples])
        figure = Figure(figsize=(2.1 * len(titles), (2.1 * shape + 0.25) * len(examples) + 0.4))
        rows = figure.subplots(len(examples), len(titles), squeeze=False)
        present: set[int] = set()
        for number, (row, example) in enumerate(zip(rows, examples)):
            maps = [*example.predictions.values(), example.truth]
            present |= {i for ids in maps for i in ids.unique().tolist()} - {IGNORE}
            row[0].imshow(example.image.permute(1, 2, 0).numpy())
            for axis, ids in zip(row[1:], maps):
                axis.imshow(labels.colorize(ids).numpy(), interpolation="nearest")
            for axis, title in zip(row, titles):
                score = f"{example.scores[title]:.0f}" if title in example.scores else ""
                axis.set_title(f"{title}  {score}".strip() if number == 0 else score)
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
            row[0].set_ylabel(_words(example))
        handles = [
            Patch(color=np.array(labels.colors[i]) / 255, label=labels.names[i])
            for i in sorted(present)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)))
    return figure


def _words(example: Example) -> str:
    """The label of a row: the case and its gain."""
    gain = "" if np.isnan(example.gain) else f"{example.gain:+.0f} points"
    return "\n".join(filter(None, (example.case, gain)))
