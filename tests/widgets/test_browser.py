"""The explorer in a real browser: JupyterLab, headless Chromium, clicks, keys, a slider.

The page's own pixels are compared with what the pure functions give. The network's sums are exact in
any order, so they have to be equal.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
from models import Summing, integer_image

from gcnlab.receptive import valid_field
from gcnlab.widgets.painting import paint

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
IMAGE = integer_image()
RADII = {"near": 3, "far": 9}
PATIENCE = 120_000
"""Milliseconds: a loaded machine is slow, not wrong."""

NOTEBOOK = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from models import Summing, integer_image
from gcnlab.widgets import VRFExplorer

image = integer_image()
explorer = VRFExplorer(
    {{name: Summing(radius) for name, radius in {RADII}.items()}},
    image, (image * 60).byte(), window=8, stride=4, pixel=(20, 30),
)

def log(change):
    with open("asked.txt", "a") as file:
        question, generation = explorer.question, explorer._worker.generation
        print(*question.pixel, question.threshold, generation, file=file)

for picture in explorer.pictures.values():
    picture.observe(log, "pixel")
explorer._controls.fields["threshold"].observe(log, "value")
explorer
"""

# What the <img> shows, as numbers: [height, width, red, green, blue, red, …].
PIXELS = """image => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.height, canvas.width, ...data.filter((_, i) => i % 4 < 3)];
}"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        reason = "no chromium is installed: the explorer was not tried in a browser"
        if os.environ.get("GCNLAB_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with one notebook, and its folder."""
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "explore.ipynb")
    settings = home / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token="]
    variables = {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    with open(home / "log.txt", "w") as log:
        server = subprocess.Popen(
            command, env=os.environ | variables, cwd=folder, stdout=log, stderr=log
        )
    try:
        _wait_for(address, server, home / "log.txt")
        yield address, folder
    finally:
        server.terminate()  # the server ends its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(address, server, log):
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/status", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def page(browser, lab):
    """JupyterLab after Run All, with the explorer's first pictures."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{lab[0]}/lab/tree/explore.ipynb")
    # Earlier the kernel would miss the command.
    page.get_by_text("| Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".gcnlab-frame").nth(1).wait_for()
    yield page
    context.close()


class Explorer:
    """The page: read its state and use its controls."""

    def __init__(self, page, folder):
        self.page, self.log = page, folder / "asked.txt"

    def place(self, picture, row, column):
        """Where on the page the middle of a pixel is."""
        frame = self.page.locator(".gcnlab-frame").nth(picture)
        frame.scroll_into_view_if_needed()
        box = frame.bounding_box()
        height, width = IMAGE.shape[1:]
        x = box["x"] + (column + 0.5) / width * box["width"]
        return x, box["y"] + (row + 0.5) / height * box["height"]

    def click(self, picture, row, column):
        self.page.mouse.click(*self.place(picture, row, column))

    def asked(self):
        """(row, column), threshold and generation of everything that reached the kernel."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [((int(r), int(c)), float(t), int(g)) for r, c, t, g in map(str.split, lines)]

    def settle(self, pixel, generation=None):
        """Wait until both pictures show the result for a pixel, and no work is in progress."""
        done = f'.gcnlab-picture[data-busy="false"][data-pixel="{pixel[0]},{pixel[1]}"]'
        if generation is not None:
            done += f'[data-generation="{generation}"]'
        self.page.wait_for_function(
            """done => {
                const shown = [...document.querySelectorAll(done)];
                const images = shown.map((picture) => picture.querySelector("img"));
                return shown.length === 2 && images.every((image) => image.complete)
                    && new Set(shown.map((picture) => picture.dataset.generation)).size === 1;
            }""",
            arg=done,
        )

    def check(self, pixel, threshold=0.8):
        """The pictures are those of this pixel, to the last value."""
        self.settle(pixel)
        images = self.page.locator(".gcnlab-frame img")
        for number, radius in enumerate(RADII.values()):
            field = valid_field(Summing(radius), IMAGE, pixel, None, 8, 4, method="plain")
            wanted = paint((IMAGE * 60).byte(), field.discrepancy, field.region(threshold, "mass"))
            height, width, *values = images.nth(number).evaluate(PIXELS)
            shown = np.array(values, np.uint8).reshape(height, width, 3)
            assert (shown == wanted).all(), f"picture {number} is not that of {pixel}"


@pytest.fixture(scope="module")
def explorer(page, lab):
    explorer = Explorer(page, lab[1])
    explorer.settle((20, 30))
    return explorer


def test_first_pictures(explorer):
    explorer.check((20, 30))


def test_two_clicks_give_the_exact_pixel_and_its_picture(explorer):
    explorer.click(0, 7, 50)
    explorer.check((7, 50))
    assert explorer.asked()[-1][0] == (7, 50)
    explorer.click(1, 41, 3)
    explorer.check((41, 3))
    assert explorer.asked()[-1][0] == (41, 3)


def test_corners_and_scaled_pages(explorer):
    explorer.page.evaluate("document.body.style.zoom = 0.8")
    explorer.click(0, 47, 63)
    explorer.check((47, 63))
    explorer.page.evaluate("document.body.style.zoom = 1")
    explorer.click(1, 0, 0)
    explorer.check((0, 0))


def test_arrow_keys_move_the_pixel(explorer):
    explorer.click(0, 20, 20)
    explorer.check((20, 20))
    explorer.page.keyboard.press("ArrowDown")
    explorer.page.keyboard.press("Shift+ArrowRight")
    explorer.check((21, 30))
    label = explorer.page.locator(".gcnlab-frame").first.get_attribute("aria-label")
    assert "Row 21, column 30" in label
    ring = explorer.page.locator(".gcnlab-frame").first
    assert ring.evaluate("frame => getComputedStyle(frame).outlineStyle") == "solid"


# Which control or picture has the focus.
FOCUSED = """() => {
    const active = document.activeElement;
    const pictures = [...document.querySelectorAll(".gcnlab-picture")];
    const picture = pictures.indexOf(active.closest(".gcnlab-picture"));
    if (picture >= 0) return `picture ${picture}`;
    const control = active.closest(".gcnlab-controls > *");
    return control && [...control.classList].find((name) => name.startsWith("gcnlab-")).slice(7);
}"""


def test_tab_reaches_every_control_and_picture(explorer):
    explorer.click(0, 20, 20)
    explorer.check((20, 20))
    keyboard = explorer.page.keyboard
    explorer.page.locator(".gcnlab-method select").focus()
    order = []
    while "picture 1" not in order and len(order) < 30:
        if (focused := explorer.page.evaluate(FOCUSED)) not in order:
            order.append(focused)
        if focused == "picture 0":
            keyboard.press("Shift+ArrowDown")
            keyboard.press("ArrowLeft")
        keyboard.press("Tab")
    controls = ["method", "target", "view", "window", "stride", "quantity", "rule", "threshold"]
    assert order == [*controls, "picture 0", "picture 1"]
    explorer.check((30, 19))


def test_arrow_keys_move_a_slider(explorer):
    explorer.click(0, 20, 20)
    explorer.check((20, 20))
    before, changed = explorer.asked()[-1][1], len(explorer.asked())
    explorer.page.locator(".gcnlab-threshold .noUi-handle").focus()
    explorer.page.keyboard.press("ArrowRight")
    end = time.monotonic() + PATIENCE / 1000
    while len(explorer.asked()) == changed and time.monotonic() < end:
        explorer.page.wait_for_timeout(50)
    _, threshold, generation = explorer.asked()[-1]
    assert threshold == pytest.approx(before + 0.05)
    explorer.settle((20, 20), generation)
    explorer.check((20, 20), threshold)
    explorer.page.keyboard.press("ArrowLeft")
    explorer.settle((20, 20), generation + 1)
    explorer.check((20, 20), before)


def test_a_dragged_pixel_and_a_dragged_slider(explorer):
    explorer.click(0, 10, 10)
    explorer.settle((10, 10))
    mouse = explorer.page.mouse
    mouse.move(*explorer.place(0, 10, 10))
    mouse.down()
    mouse.move(*explorer.place(0, 22, 33), steps=8)
    mouse.up()
    explorer.check((22, 33))
    handle = explorer.page.locator(".gcnlab-threshold .noUi-handle")
    track = explorer.page.locator(".gcnlab-threshold .noUi-target").bounding_box()
    start = handle.bounding_box()
    middle = start["y"] + start["height"] / 2
    mouse.move(start["x"] + start["width"] / 2, middle)
    mouse.down()
    mouse.move(track["x"] + 0.6 * track["width"], middle, steps=8)
    mouse.up()
    readout = explorer.page.locator(".gcnlab-threshold .widget-readout")
    end = time.monotonic() + PATIENCE / 1000
    while f"{explorer.asked()[-1][1]:.2f}" != readout.inner_text() and time.monotonic() < end:
        explorer.page.wait_for_timeout(50)  # the slider's last value is on its way
    _, threshold, generation = explorer.asked()[-1]
    assert 0.5 < threshold < 0.75
    explorer.settle((22, 33), generation)
    explorer.check((22, 33), threshold)


def test_a_burst_of_fifty_clicks_ends_on_the_last(explorer):
    threshold = explorer.asked()[-1][1] if explorer.asked() else 0.8
    clicks = [(5 + 7 * i % 40, 3 + 11 * i % 60) for i in range(50)]
    places = [explorer.place(i % 2, *pixel) for i, pixel in enumerate(clicks)]
    for x, y in places:
        explorer.page.mouse.click(x, y)
    explorer.check(clicks[-1], threshold)
    assert explorer.asked()[-1][0] == clicks[-1]
    explorer.page.wait_for_timeout(500)  # nothing older comes after it
    explorer.check(clicks[-1], threshold)
