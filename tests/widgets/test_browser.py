"""The explorer in a real browser: in JupyterLab with a kernel, and in a saved page without one.

The page's own pixels are compared with Python's regions. The network's sums are exact in any order,
so they have to be equal.
"""

import math
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
import torch
from models import Quarter, Summing, integer_image
from PIL import Image

from gcnlab.receptive import FieldAtlas, gradient_field, region
from gcnlab.receptive.unit import unit_at
from gcnlab.widgets import VRFExplorer, save_page

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
    image, torch.full_like(image, 255).byte(), window=8, stride=4, pixel=(20, 30),
)
explorer
""".replace("import sys", "import sys, torch", 1)

# The values of a canvas at the middle of every pixel of the image, [red of the first row, …].
MIDDLES = """(canvas, [height, width]) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const rows = Array.from({ length: height }, (_, i) => Math.floor(((i + 0.5) * canvas.height) / height));
    const columns = Array.from({ length: width }, (_, j) => Math.floor(((j + 0.5) * canvas.width) / width));
    return rows.map((y) => columns.map((x) => data[4 * (y * canvas.width + x) + 2]));
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
    page.locator('.frame[data-state="done"]').nth(1).wait_for()
    yield page
    context.close()


@pytest.fixture(scope="module")
def saved(browser, tmp_path_factory):
    """The page of an explorer that was saved, opened from its file, and the explorer."""
    models = {name: Summing(radius) for name, radius in RADII.items()}
    white = torch.full_like(IMAGE, 255).byte()
    explorer = VRFExplorer(models, IMAGE, white, window=8, stride=4, pixel=(20, 30))
    explorer.wait()
    path = tmp_path_factory.mktemp("saved") / "fields.html"
    explorer.ask(window=16, stride=8).wait()
    explorer.ask(window=8, stride=4).wait()
    explorer.save(path)
    explorer.close()
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, offline=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.errors.append(request.url))
    page.goto(path.as_uri())
    page.errors = [found for found in page.errors if found != path.as_uri()]
    page.locator('[data-ready="true"]').wait_for()
    yield page
    assert [found for found in page.errors if not found.startswith(("data:", "blob:"))] == []
    context.close()


class Viewer:
    """An explorer in a page: read what it shows and use its controls."""

    def __init__(self, page, precision):
        self.page, self.precision = page, precision
        self.fields = {}

    def place(self, picture, row, column):
        """Where on the page the middle of a pixel is."""
        canvas = self.page.locator(".frame canvas").nth(picture)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        height, width = IMAGE.shape[1:]
        x = box["x"] + (column + 0.5) / width * box["width"]
        return x, box["y"] + (row + 0.5) / height * box["height"]

    def point(self, picture, row, column):
        self.page.mouse.move(*self.place(picture, row, column))

    def click(self, picture, row, column):
        self.page.mouse.click(*self.place(picture, row, column))

    def release(self):
        if (button := self.control("button", "Release pins")).is_enabled():
            button.click()

    def control(self, role, name):
        return self.page.get_by_role(role, name=name, exact=True)

    def choose_fields(self, *names):
        """Choose the methods of the rows."""
        summary = self.page.locator(".several summary")
        if self.page.locator(".several[open]").count() == 0:
            summary.click()
        for box in self.page.locator(".several label").all():
            if box.inner_text().strip() in names:
                box.locator("input").check()
        for box in self.page.locator(".several label").all():
            if box.inner_text().strip() not in names:
                box.locator("input").uncheck()
        self.page.locator(".several[open]").wait_for()
        summary.click()

    def settle(self, pixel):
        """Wait until the text names the pixel and all pictures show it."""
        self.page.locator(".where", has_text=f"row {pixel[0]}, column {pixel[1]}").wait_for()
        self.page.locator('.frame[data-state="done"]').nth(1).wait_for()
        self.page.evaluate("() => new Promise((go) => requestAnimationFrame(() => setTimeout(go)))")

    def facts(self):
        """The table, by network."""
        rows = self.page.locator(".facts tr").all_inner_texts()
        head, *lines = [row.split("\t") for row in rows]
        return {name: dict(zip(head[1:], values)) for name, *values in lines}

    def field(self, radius, pixel, window):
        """What Python says: the exact field, or that of the atlas in eight bits."""
        key = radius, window
        if key not in self.fields:
            atlas = FieldAtlas(Summing(radius), IMAGE, window, window // 2, every=1)
            self.fields[key] = FieldAtlas.build(atlas)
            self.fields[key].table = atlas.table.stored_as(self.precision)
        return self.fields[key].field(pixel)

    def check_at_last(self, *args, **options):
        """The same when the kernel has answered."""
        end = time.monotonic() + PATIENCE / 1000
        while True:
            try:
                return self.check(*args, **options)
            except (AssertionError, KeyError):
                if time.monotonic() > end:
                    raise

    def check(self, pixel, threshold=0.8, rule="mass", window=8, head="logit"):
        """Every pixel of the painted regions, and the facts, are those of Python."""
        self.settle(pixel)
        canvases = self.page.locator(".frame canvas")
        facts = self.facts()
        rows, columns = np.indices(IMAGE.shape[1:])
        # The dot hides what is below it.
        seen = (abs(rows - pixel[0]) > 3) | (abs(columns - pixel[1]) > 3)
        for number, (name, radius) in enumerate(RADII.items()):
            field, own = self.field(radius, pixel, window), facts.get(name) or facts[f"{name} · A"]
            region = field.region(threshold, rule).numpy()
            painted = np.array(canvases.nth(number).evaluate(MIDDLES, list(IMAGE.shape[1:]))) > 160
            assert (painted == region)[seen].all(), f"{name} is not that of {pixel}"
            assert own["image covered"] == f"{math.floor(100 * region.mean() + 0.5)} %"
            assert own["radius"] == f"{math.floor(field.radius() + 0.5)} px"
            assert own[head] == f"{field.score:.2f}"


@pytest.fixture(params=["in JupyterLab", "in a saved page"])
def viewer(request):
    page = request.getfixturevalue("page" if request.param == "in JupyterLab" else "saved")
    viewer = Viewer(page, "float32" if request.param == "in JupyterLab" else "int8")
    viewer.release()
    return viewer


def test_the_first_pictures(viewer):
    viewer.point(0, 20, 30)
    viewer.check((20, 30))


def test_every_picture_follows_the_mouse(viewer):
    viewer.point(0, 20, 20)
    for picture, pixel in ((0, (7, 50)), (1, (41, 3)), (0, (24, 32)), (1, (0, 63))):
        viewer.point(picture, *pixel)
        viewer.check(pixel)


def test_corners_and_scaled_pages(viewer):
    viewer.page.evaluate("document.body.style.zoom = 0.8")
    viewer.point(0, 47, 63)
    viewer.check((47, 63))
    viewer.page.evaluate("document.body.style.zoom = 1")
    viewer.point(1, 0, 0)
    viewer.check((0, 0))


def test_two_hundred_moves_end_on_the_last(viewer):
    for i in range(200):
        viewer.point(i % 2, 5 + 7 * i % 40, 3 + 11 * i % 60)
    viewer.check((5 + 7 * 199 % 40, 3 + 11 * 199 % 60))


def test_a_pin_holds_and_two_pins_show_the_difference(viewer):
    viewer.click(0, 20, 20)
    viewer.point(1, 40, 40)
    viewer.check((20, 20))
    viewer.click(1, 40, 40)
    viewer.page.locator(".where", has_text="B: row 40, column 40").wait_for()
    near = Viewer.facts(viewer)
    for name, radius in RADII.items():
        for pin, pixel in (("A", (20, 20)), ("B", (40, 40))):
            field = viewer.field(radius, pixel, 8)
            assert near[f"{name} · {pin}"]["logit"] == f"{field.score:.2f}"
        difference = viewer.field(radius, (20, 20), 8).discrepancy
        difference = (difference - viewer.field(radius, (40, 40), 8).discrepancy).numpy()
        number = list(RADII).index(name)
        canvas = viewer.page.locator(".frame canvas").nth(number)
        blue = np.array(canvas.evaluate(MIDDLES, list(IMAGE.shape[1:])))
        # The map is blue where B has more, and red, with little blue, where A has.
        strong = np.abs(difference) > 0.5 * np.abs(difference).max()
        hidden = np.zeros_like(strong)
        for row, column in ((20, 20), (40, 40)):
            hidden[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5] = True
        strong &= ~hidden
        assert strong.any()
        assert ((blue > 80) == (difference < 0))[strong].all()
    viewer.page.keyboard.press("Escape")
    viewer.check((20, 20))
    viewer.page.keyboard.press("Escape")
    viewer.point(0, 10, 10)
    viewer.check((10, 10))


def test_the_keyboard_moves_pins_and_releases(viewer):
    viewer.point(0, 20, 20)
    frame = viewer.page.locator(".frame").first
    frame.focus()
    viewer.page.keyboard.press("ArrowDown")
    viewer.page.keyboard.press("Shift+ArrowRight")
    viewer.check((21, 30))
    label = frame.get_attribute("aria-label")
    assert "Row 21, column 30" in label
    assert frame.evaluate("frame => getComputedStyle(frame).outlineStyle") == "solid"
    viewer.page.keyboard.press("Enter")
    viewer.page.keyboard.press("ArrowUp")
    viewer.check((20, 30))
    assert viewer.control("button", "Release pins").is_enabled()
    viewer.page.keyboard.press("Escape")
    assert viewer.control("button", "Release pins").is_disabled()


def test_threshold_and_rule(viewer):
    viewer.point(0, 20, 20)
    slider = viewer.control("slider", "threshold")
    slider.focus()
    viewer.page.keyboard.press("ArrowLeft")
    viewer.check((20, 20), 0.75)
    viewer.control("combobox", "region").select_option("share of the maximum")
    viewer.check((20, 20), 0.2, "maximum")
    viewer.control("combobox", "region").select_option("share of the mass")
    viewer.check((20, 20), 0.8)


def test_every_control_has_a_name_and_is_reached_by_tab(viewer):
    viewer.point(0, 20, 20)
    controls = {"view": "combobox", "region": "combobox", "threshold": "slider", "Pin": "button"}
    for name, role in (controls | {"side by side": "checkbox"}).items():
        assert viewer.control(role, name).count() == 1, name
    viewer.control("combobox", "view").focus()
    reached = 0
    for _ in range(40):
        viewer.page.keyboard.press("Tab")
        inside = "() => { let a = document.activeElement; while (a?.shadowRoot?.activeElement) a = a.shadowRoot.activeElement; return a?.className }"
        reached += viewer.page.evaluate(inside) == "frame"
        if reached == 2:
            break
    assert reached == 2


def test_another_occluder_in_a_saved_page(saved):
    viewer = Viewer(saved, "int8")
    viewer.release()
    viewer.point(0, 24, 40)
    viewer.control("combobox", "occluder").select_option("16 px every 8")
    viewer.check((24, 40), window=16)
    viewer.control("combobox", "occluder").select_option("8 px every 4")
    viewer.check((24, 40))


def test_one_network_at_a_time_on_a_phone(saved):
    saved.set_viewport_size({"width": 390, "height": 800})
    viewer = Viewer(saved, "int8")
    shown = saved.locator(".panel:visible")
    expect = saved.locator(".panel:visible b")
    saved.wait_for_function("document.querySelectorAll('.gcnlab-page').length === 1")
    viewer.control("slider", "network").wait_for()
    assert shown.count() == 1
    assert expect.inner_text() == "near"
    viewer.control("slider", "network").focus()
    saved.keyboard.press("ArrowRight")
    saved.locator(".panel:visible b", has_text="far").wait_for()
    saved.set_viewport_size({"width": 1300, "height": 1000})
    saved.locator(".panel:visible").nth(1).wait_for()


def test_another_occluder_and_method_in_jupyterlab(page):
    viewer = Viewer(page, "float32")
    viewer.release()
    viewer.point(0, 24, 40)
    viewer.choose_fields("gradient")
    wanted = region(gradient_field(Summing(3), IMAGE, (24, 40))).numpy()
    rows, columns = np.indices(wanted.shape)
    seen = (abs(rows - 24) > 3) | (abs(columns - 40) > 3)
    end, painted = time.monotonic() + PATIENCE / 1000, ~wanted
    while (painted != wanted)[seen].any() and time.monotonic() < end:
        viewer.settle((24, 40))
        canvas = page.locator(".frame canvas").first
        viewer.control("combobox", "view").select_option("region")
        painted = np.array(canvas.evaluate(MIDDLES, list(wanted.shape))) > 160
    assert (painted == wanted)[seen].all()
    viewer.choose_fields("valid")
    viewer.check_at_last((24, 40))
    viewer.control("slider", "stride").focus()
    page.keyboard.press("End")  # the largest stride, and an occluder as large
    viewer.control("slider", "occluder size").focus()
    while page.locator("label.window output").inner_text() != "8 px":
        page.keyboard.press("ArrowLeft")
    viewer.control("slider", "stride").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    viewer.check_at_last((24, 40))


def test_the_code_and_the_picture_of_a_saved_page(saved, tmp_path):
    viewer = Viewer(saved, "int8")
    viewer.release()
    viewer.point(0, 24, 40)
    viewer.check((24, 40))
    viewer.control("button", "Copy as code").click()
    code = saved.locator(".code").inner_text()
    assert "field = gcnlab.valid_field(model, image, (24, 40), window=8, stride=4)" in code
    found = {"model": Summing(3), "image": IMAGE}
    exec(code, found)
    assert (found["region"] == found["field"].region()).all()
    with saved.expect_download() as download:
        viewer.control("button", "Save PNG").click()
    download.value.save_as(tmp_path / "fields.png")
    with Image.open(tmp_path / "fields.png") as picture:
        assert picture.width > 2 * saved.locator(".frame canvas").first.evaluate("c => c.width")


def test_numbers_are_saved_in_jupyterlab(page, tmp_path):
    viewer = Viewer(page, "float32")
    viewer.release()
    viewer.point(0, 24, 40)
    with page.expect_download() as download:
        viewer.control("button", "Save NPZ").click()
    download.value.save_as(tmp_path / "fields.npz")
    with np.load(tmp_path / "fields.npz") as file:
        assert file["titles"].tolist() == list(RADII)
        assert file["fields"].shape == (1, 2, *IMAGE.shape[1:])


def test_a_hidden_layer_in_jupyterlab(page):
    viewer = Viewer(page, "float32")
    viewer.release()
    viewer.point(0, 24, 40)
    viewer.control("combobox", "layer").select_option("conv")
    page.locator(".facts th", has_text="channel").wait_for()
    viewer.check_at_last((24, 40), head="activation")
    viewer.control("combobox", "layer").select_option("output (logits)")
    page.locator(".facts th", has_text="class").first.wait_for()
    viewer.check_at_last((24, 40))


def test_another_picture_in_jupyterlab(page, tmp_path):
    viewer = Viewer(page, "float32")
    viewer.release()
    Image.new("RGB", (24, 24), (255, 0, 0)).save(tmp_path / "red.png")
    page.locator("input[type=file]").set_input_files(tmp_path / "red.png")
    page.locator(".frame[data-state=done]").nth(1).wait_for()
    viewer.control("combobox", "picture").locator("option", has_text="red").wait_for(
        state="attached"
    )
    page.locator('.frame[style*="24 / 24"]').nth(1).wait_for()
    (tmp_path / "notes.txt").write_text("hello")
    page.locator("input[type=file]").set_input_files(tmp_path / "notes.txt")
    page.locator(".said.error", has_text="notes.txt: damaged, or not an image").wait_for()
    viewer.control("button", "previous picture").click()
    page.locator('.frame[style*="64 / 48"]').nth(1).wait_for()
    viewer.point(0, 24, 40)
    viewer.check_at_last((24, 40))


@pytest.mark.parametrize(("every", "size"), [(4, (48, 64)), (2, (45, 70)), (8, (96, 44))])
def test_every_pixel_has_the_unit_that_python_says(browser, tmp_path, every, size):
    """A score map of a quarter of the size."""
    image = integer_image(*size)
    atlas = FieldAtlas(Quarter(), image, 16, 16, every=every).build()
    save_page(tmp_path / "page.html", {"quarter": atlas}, torch.zeros(3, *size).byte())
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.locator('[data-ready="true"]').wait_for()
    found = page.evaluate(
        """([height, width]) => {
            const [atlas] = document.querySelector("[data-ready]").viewer.atlases.values();
            const rows = Array.from({ length: height }, (_, i) => i);
            const columns = Array.from({ length: width }, (_, j) => j);
            return rows.map((i) => columns.map((j) => atlas.unit([i, j])));
        }""",
        list(size),
    )
    page.close()
    rows, columns = (list(at) for at in atlas.units)
    for i in range(size[0]):
        for j in range(size[1]):
            unit = atlas.nearest(unit_at((i, j), size, atlas.table.map_size))
            wanted = rows.index(unit[0]) * len(columns) + columns.index(unit[1])
            assert found[i][j] == wanted, (i, j)
