"""The browser part of the resize explorer's pictures, in a real browser with a model of its own."""

import json
from pathlib import Path

import pytest
from test_browser import browser  # noqa: F401

import gcnlab.widgets.picture
from gcnlab.widgets.picture import Picture

pytestmark = pytest.mark.slow

SCRIPT = Path(gcnlab.widgets.picture.__file__).with_suffix(".js")
PAGE = """
import("data:text/javascript;base64," + btoa(unescape(encodeURIComponent(SOURCE)))).then((part) => {
  const values = VALUES;
  const listeners = [];
  window.values = values;
  window.model = {
    get: (name) => values[name],
    set: (name, value) => (values[name] = value),
    save_changes: () => listeners.forEach((listener) => listener()),
    on: (event, listener) => event === "change" && listeners.push(listener),
    off: () => {},
  };
  const el = document.createElement("div");
  document.body.append(el);
  part.default.render({ model: window.model, el });
  window.ready = true;
});
"""


@pytest.fixture
def page(browser):  # noqa: F811
    picture = Picture(title="1×1", size=(64, 64), pixel=[30, 20])
    synced = {name: getattr(picture, name) for name in picture.trait_names(sync=True)}
    values = {
        name: value for name, value in synced.items() if isinstance(value, int | float | str | list)
    }
    values |= {"size": [64, 64], "png": None}
    values = {name: value for name, value in values.items() if not name.startswith("_")}
    picture.close()
    page = browser.new_page(viewport={"width": 400, "height": 500})
    page.set_content(
        f"<style>{SCRIPT.with_suffix('.css').read_text()}</style>"
        "<style>body { margin: 20px; height: 3000px } .gcnlab-picture { width: 200px }</style>"
    )
    script = PAGE.replace("VALUES", json.dumps(values)).replace(
        "SOURCE", json.dumps(SCRIPT.read_text())
    )
    page.add_script_tag(content=script)
    page.wait_for_function("window.ready")
    yield page
    page.close()


def value(page, name):
    return page.evaluate(f"values[{name!r}]")


def test_wheel_and_keys_change_the_object(page):
    frame = page.locator(".gcnlab-frame").bounding_box()
    page.mouse.move(frame["x"] + 50, frame["y"] + 50)
    page.mouse.move(frame["x"] + 60, frame["y"] + 50)
    page.mouse.wheel(0, -100)
    page.wait_for_function("values.grown === 1")
    page.mouse.wheel(0, 60)  # half a notch …
    page.mouse.wheel(0, 60)
    page.mouse.wheel(0, 90)  # … until the sum is two
    page.wait_for_function("values.grown === -1")
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Shift")
    page.wait_for_function("values.turned === 1")
    assert page.evaluate("scrollY") == 0
    page.locator(".gcnlab-frame").focus()
    for key in ("+", "+", "=", "-", "r", "r", "R", "ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    assert (value(page, "grown"), value(page, "turned")) == (1, 2)
    assert value(page, "pixel") == [31, 30]
    for key in ("Control+=", "x"):
        page.keyboard.press(key)
    assert (value(page, "grown"), value(page, "turned")) == (1, 2)


def test_scrolling_the_page_goes_on_over_a_picture(page):
    """A picture that comes under the resting mouse does not catch the wheel."""
    page.evaluate("document.body.style.paddingTop = '300px'")
    page.mouse.move(100, 200)
    for _ in range(4):
        page.mouse.wheel(0, 60)
    page.wait_for_function("scrollY === 240")
    box = page.locator(".gcnlab-frame").bounding_box()
    assert box["y"] < 200 < box["y"] + box["height"]
    page.mouse.wheel(0, 60)
    page.wait_for_function("scrollY === 300")
    assert value(page, "grown") == 0


def test_a_picture_without_an_answer_is_dimmed_and_its_name_tells_the_keys(page):
    def opacity():
        return float(
            page.evaluate("getComputedStyle(document.querySelector('.gcnlab-frame img')).opacity")
        )

    assert opacity() == 1
    page.evaluate("model.set('pending', true), model.save_changes()")
    assert opacity() == pytest.approx(0.4)
    name = page.locator(".gcnlab-frame").get_attribute("aria-label")
    assert name == (
        "1×1. Row 30, column 20. Arrow keys move the pixel, with Shift by ten pixels. Plus and minus "
        "change the object's size. For shapes, R rotates the object."
    )
