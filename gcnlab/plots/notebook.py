"""How a figure gets into a notebook: as a small picture, with a text for those who do not see it."""

import base64
import html
import io
import sys

from matplotlib.figure import Figure
from PIL import Image


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, with a text that says what there is to see in it.

    Screen readers read the text; where there are no pictures at all it stands in their place. A figure that a cell merely returns has
    none: Jupyter drops the texts of plain PNG outputs, so that this one is written as HTML.

    Args:
        figure: of this package, or any of matplotlib's.
        alt: what the figure shows and what follows from it, in a sentence or two; not "a plot of".

    Raises:
        ValueError: `alt` is empty.
    """
    from IPython.display import display

    display(picture_with_text(small_png(figure), alt), raw=True)


def picture_with_text(png: bytes, alt: str) -> dict[str, str]:
    """What IPython's `display(…, raw=True)` takes to show a PNG with its text (see `show`)."""
    if not alt.strip():
        raise ValueError("a figure needs a text (alt) for those who do not see it")
    text = " ".join(alt.split())
    data = base64.b64encode(png).decode("ascii")
    tag = f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'
    return {"text/html": tag, "text/plain": f"[{text}]"}


def small_png(figure: Figure) -> bytes:
    """The figure as a PNG of 256 colours: a third of the size, and a notebook keeps every picture."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", bbox_inches="tight")
    # By coverage, not by frequency: the dot is small, and red. Then refined (kmeans): large areas keep their own colour.
    colours = Image.open(full).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    colours.save(small, format="png", optimize=True)
    return small.getvalue()


def show_figures_in_notebook() -> None:
    """Let Jupyter show a returned figure as a picture, as `%matplotlib inline` does.

    Without a running IPython nothing happens. The figures of this package do not go through pyplot,
    which would otherwise arrange it.
    """
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"}, bbox_inches="tight")
