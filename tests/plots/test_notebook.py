import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gcnlab.plots import show
from gcnlab.plots.notebook import small_png


@pytest.fixture
def shown(monkeypatch):
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: bundles.append(data))
    return bundles


def image(tag: str) -> dict[str, str]:
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda name, attributes: found.append((name, dict(attributes)))
    parser.feed(tag)
    ((name, attributes),) = found
    assert name == "img"
    return attributes


def test_a_shown_figure_has_its_text_and_its_picture(shown):
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2], "r")
    show(
        figure,
        """k < 7 & "GCN": the
        line rises""",
    )
    (bundle,) = shown
    attributes = image(bundle["text/html"])
    assert attributes["alt"] == 'k < 7 & "GCN": the line rises'
    assert bundle["text/plain"] == '[k < 7 & "GCN": the line rises]'
    kind, data = attributes["src"].split(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert min(picture.size) > 30
    red = np.asarray(picture) @ (1, -1, -1) > 100
    assert red.sum() > 20, "the line is drawn"


def test_colours_and_titles_of_a_shown_figure_stay():
    figure = Figure(figsize=(2, 2), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1), facecolor="#eeeeee")
    axis.imshow(np.random.default_rng(0).random((20, 20, 3)), extent=(0, 1, 0, 1))
    axis.plot(0.5, 0.5, "ro", markersize=4)
    axis.set(xlim=(0, 2), ylim=(0, 2))
    axis.text(0, 2.1, "a title", color="blue")
    picture = Image.open(io.BytesIO(small_png(figure))).convert("RGB")
    values = np.asarray(picture).astype(int)
    assert (np.abs(values - 0xEE).max(-1) <= 1).mean() > 0.4, "the grey is grey"
    assert (np.abs(values - (255, 0, 0)).max(-1) < 20).any(), "the dot is red"
    assert (np.abs(values - (0, 0, 255)).max(-1) < 20).any(), (
        "what stands outside of the figure is there"
    )


def test_a_figure_without_a_text_is_refused(shown):
    with pytest.raises(ValueError, match="needs a text alternative"):
        show(Figure(), " ")
    assert not shown
