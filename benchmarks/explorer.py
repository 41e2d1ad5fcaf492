"""Time from the mouse to the picture, in a saved page of the explorer, in a real browser.

    python -m benchmarks.explorer --out data/results/bench/explorer.json

Three networks for Shapes on one test image of 256 px, a window of 32 px every 16. The page is opened
from its file in headless Chromium, without a network connection; the screen's pictures are drawn by
the processor.

- *hover*: the mouse moves to 200 pixels of the three pictures in turn. Per move, the time from the
  browser's event to the end of the frame in which the three pictures were drawn; with the frames of
  the screen, 16.7 ms is one frame.
- *drawing*: the time of the viewer's own work in these frames.
- *painted region*: at 50 random pixels, intersection over union of the painted region with Python's
  region of the same unit, once of the page's atlas (eight bits) and once of the exact field.
- *page*: bytes of the file.

Times are wall-clock times of a machine that should do nothing else. It needs Chromium and the
package playwright.
"""

import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import gcnlab
from benchmarks.record import write_record
from gcnlab.annotations import Bool, Tensor
from gcnlab.datasets import SHAPES, Shapes
from gcnlab.experiments.command import run_command
from gcnlab.receptive import FieldAtlas
from gcnlab.widgets import VRFExplorer

NETWORKS = {"1×1": "conv1x1-seed0", "GCN, k = 7": "gcn7-seed0", "GCN, k = 15": "gcn15-seed0"}
IMAGE, SIDE = 7, 256
MOVES, CHECKED = 200, 50

WATCH = """() => {
    const viewer = document.querySelector("[data-ready]").viewer;
    const draw = viewer.draw.bind(viewer);
    window.times = { hover: [], drawing: [] };
    let event = 0;
    viewer.draw = () => {
        const start = performance.now();
        draw();
        window.times.drawing.push(performance.now() - start);
        const since = event;
        event = 0;
        // A task after the frame's callbacks runs when the frame has been painted.
        const channel = new MessageChannel();
        channel.port1.onmessage = () => {
            if (since) window.times.hover.push(performance.now() - since);
        };
        channel.port2.postMessage(0);
    };
    const moved = ({ timeStamp }) => { event = event || timeStamp; };
    viewer.panels.addEventListener("pointermove", moved, { capture: true });
}"""
FRAME = "() => new Promise((go) => requestAnimationFrame(() => setTimeout(go)))"
# The blue part of a canvas at the middle of every pixel of the image.
MIDDLES = """(canvas, side) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const at = Array.from({ length: side }, (_, i) => Math.floor(((i + 0.5) * canvas.width) / side));
    return at.map((y) => at.map((x) => data[4 * (y * canvas.width + x) + 2]));
}"""


@dataclass(frozen=True)
class ExplorerBenchmark:
    """Time the explorer in a browser, and compare its regions with Python's."""

    out: Path | None = None
    """Write figures and provenance to this JSON file."""

    def __call__(self) -> None:
        start = time.perf_counter()
        networks, image, picture, labels = example()
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder, "fields.html"), Path(folder, "white.html")
            # On a white picture, the painted region can be read off.
            for path, shown in zip(paths, (picture, picture * 0 + 255)):
                options = {"labels": labels if shown is picture else None, "classes": SHAPES}
                explorer = VRFExplorer(networks, image, shown, **options)
                explorer.save(path)
                explorer.close()
            result = {"page_bytes": paths[0].stat().st_size}
            result |= in_browser(*paths, networks, image)
        for name, value in result.items():
            print(f"{name}: {value}")
        write_record(result, self.out, start)


def example() -> tuple[dict[str, nn.Module], Tensor, Tensor, Tensor]:
    """The networks, their input, the picture and its labels."""
    runs = {title: gcnlab.load(name, "cpu") for title, name in NETWORKS.items()}
    picture, labels = Shapes("test", image_size=SIDE)[IMAGE]
    image = next(iter(runs.values())).normalization(picture)
    return {title: run.model.eval() for title, run in runs.items()}, image, picture, labels


def in_browser(
    path: Path, white: Path, networks: dict[str, nn.Module], image: Tensor
) -> dict[str, Any]:
    """Open both pages, and measure."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise FileNotFoundError(
            "no chromium is installed: the explorer cannot be timed in a browser"
        )
    options = {"executable_path": chromium, "args": ["--no-sandbox", "--disable-gpu"]}
    with sync_playwright() as playwright, playwright.chromium.launch(**options) as browser:
        context = browser.new_context(viewport={"width": 1300, "height": 900}, offline=True)
        page = context.new_page()
        opened(page, path)
        times = hover(page)
        opened(page, white)
        agreement = painted(page, networks, image)
        return times | agreement | {"browser": f"Chromium {browser.version}"}


def opened(page: Any, path: Path) -> None:
    page.goto(path.as_uri())
    page.locator('[data-ready="true"]').wait_for()
    page.evaluate(FRAME)


def random_pixels(count: int) -> list[tuple[int, int]]:
    found = np.random.default_rng(0).integers(0, SIDE, (count, 2))
    return [(int(row), int(column)) for row, column in found]


def move(page: Any, number: int, pixel: tuple[int, int]) -> None:
    """Move the mouse to a pixel of one of the pictures."""
    box = page.locator(".frame canvas").nth(number).bounding_box()
    x, y = ((p + 0.5) / SIDE for p in (pixel[1], pixel[0]))
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def hover(page: Any) -> dict[str, float]:
    page.evaluate(WATCH)
    for i, pixel in enumerate(random_pixels(MOVES)):
        move(page, i % len(NETWORKS), pixel)
        page.evaluate(FRAME)
    times = page.evaluate("() => window.times")
    return {f"{name}_ms": spread(values) for name, values in times.items()}


def spread(values: list[float]) -> dict[str, float]:
    return {
        "count": len(values),
        "median": round(statistics.median(values), 2),
        "95 %": round(statistics.quantiles(values, n=20)[-1], 2),
        "largest": round(max(values), 2),
    }


def painted(page: Any, networks: dict[str, nn.Module], image: Tensor) -> dict[str, dict]:
    """Intersection over union of the painted regions with Python's."""
    atlases = {t: FieldAtlas(m, image, precision="int8").build() for t, m in networks.items()}
    # One field at a time, from the activations that serve one unit: not the way of the atlas.
    occlusions = {title: gcnlab.Occlusion(model, image) for title, model in networks.items()}
    ious = {"page": [], "exact": []}
    for pixel in random_pixels(CHECKED):
        move(page, 0, pixel)
        page.evaluate(FRAME)
        unit = tuple(min(range(0, SIDE, 4), key=lambda at: abs(at - p)) for p in pixel)
        # The dot and the outlines hide what is below them.
        rows, columns = np.indices((SIDE, SIDE))
        hidden = (abs(rows - unit[0]) < 8) & (abs(columns - unit[1]) < 8)
        hidden |= (rows % 16 < 2) | (rows % 16 > 13) | (columns % 16 < 2) | (columns % 16 > 13)
        for number, title in enumerate(networks):
            canvas = page.locator(".frame canvas").nth(number)
            shown = np.array(canvas.evaluate(MIDDLES, SIDE)) > 160
            own = atlases[title].field(unit).region().numpy()
            exact = occlusions[title].field(unit).region().numpy()
            for name, region in (("page", own), ("exact", exact)):
                ious[name].append(iou(shown & ~hidden, region & ~hidden))
    return {
        f"iou_with_{name}": {
            "count": len(values),
            "least": round(min(values), 4),
            "median": round(statistics.median(values), 4),
            "mean": round(statistics.mean(values), 4),
            "below 0.98": round(float(np.mean(np.array(values) < 0.98)), 4),
        }
        for name, values in ious.items()
    }


def iou(a: Bool[np.ndarray, "rows columns"], b: Bool[np.ndarray, "rows columns"]) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


if __name__ == "__main__":
    run_command(ExplorerBenchmark, "benchmarks.explorer")
