"""Show figures in notebooks as small pictures with a text alternative."""

import base64
import html
import io
import sys

from matplotlib.figure import Figure
from PIL import Image


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, with a text alternative that describes it.

    Screen readers read the text, and it replaces the picture where pictures are not shown. The
    figure is written as HTML, because Jupyter drops the text of PNG outputs. A figure that a cell
    only returns has no text.

    Args:
        figure: a matplotlib figure.
        alt: one or two sentences that say what the figure shows; do not start with "a plot of".

    Raises:
        ValueError: `alt` is empty.
    """
    from IPython.display import display

    display(picture_with_text(small_png(figure), alt), raw=True)


def picture_with_text(picture: bytes, alt: str, kind: str = "png") -> dict[str, str]:
    """The argument of IPython's `display(…, raw=True)` for a picture with a text alternative (see
    `show`).

    Args:
        picture: the file.
        alt: its text alternative.
        kind: format of the file: "png", "webp" or "gif".
    """
    if not alt.strip():
        raise ValueError("alt is empty: a figure needs a text alternative that says what it shows")
    text = " ".join(alt.split())
    data = base64.b64encode(picture).decode("ascii")
    tag = f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{data}">'
    return {"text/html": tag, "text/plain": f"[{text}]"}


def small_png(figure: Figure) -> bytes:
    """The figure as a PNG with 256 colours, a third of the size, because notebooks store all
    pictures.
    """
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", bbox_inches="tight")
    # Choose the colours by coverage, not by frequency, to keep the small red dot; k-means then refines
    # them, so that large areas keep their exact colour.
    colours = Image.open(full).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    colours.save(small, format="png", optimize=True)
    return small.getvalue()


def small_webp(figure: Figure) -> bytes:
    """The figure as a WebP with losses, a third of the size of `small_png`, for pages whose size
    matters."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", bbox_inches="tight")
    Image.open(full).convert("RGB").save(small, format="webp", quality=75, method=6)
    return small.getvalue()


def show_figures_in_notebook() -> None:
    """Make Jupyter display a returned figure as a picture, as `%matplotlib inline` does.

    This does nothing outside of IPython. It is needed because the plots do not use pyplot.
    """
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"}, bbox_inches="tight")
