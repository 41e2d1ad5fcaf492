import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gcnlab.plots import show


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
    assert picture.size == (100, 50)
    red = np.asarray(picture) @ (1, -1, -1) > 100
    assert red.sum() > 20, "the line is drawn"


def test_a_figure_without_a_text_is_refused(shown):
    with pytest.raises(ValueError, match="needs a text"):
        show(Figure(), " ")
    assert not shown
