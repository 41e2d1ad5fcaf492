"""A picture in the notebook in which a pixel can be selected (`picture.js` is the browser part)."""

import threading
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from gcnlab.annotations import UInt8
from gcnlab.widgets.painting import Segment, png, svg_path
from gcnlab.widgets.snapshot import Still
from gcnlab.widgets.worker import Lock

HERE = Path(__file__).parent


class Picture(anywidget.AnyWidget):
    """A picture with outlines, a red dot at the selected pixel, and a few facts below.

    A click, a drag or the arrow keys (with Shift by ten pixels) move the dot. `pixel` is the exact
    (row, column) at any size of the picture. The mouse wheel, or + and −, asks for a larger or
    smaller object. The wheel with Shift, or R and Shift+R, asks to rotate it.

    Attributes:
        title: text above the picture.
        size: (height, width) in pixels.
        png: the picture, of this size; empty if there is none yet.
        region, item: outlines of the region and of the object, as SVG paths in pixels.
        pixel: (row, column) of the dot; empty for no dot.
        moment: time of the last selection, in milliseconds of the browser's clock.
        facts: pairs (name, value), shown below the picture.
        note, error: texts below the facts; empty for none.
        progress: fraction of the work that is done, 0 … 1.
        busy: whether the picture is being computed.
        pending: whether there is no answer to show yet; the picture is dimmed.
        grown, turned: how often the user has asked for a larger object, or to rotate it, minus how
            often for the opposite.
        generation: number of the request whose result is shown.
    """

    _esm = HERE / "picture.js"
    _css = HERE / "picture.css"

    title = traitlets.Unicode().tag(sync=True)
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(1, 1)).tag(sync=True)
    png = traitlets.Bytes().tag(sync=True)
    region = traitlets.Unicode().tag(sync=True)
    item = traitlets.Unicode().tag(sync=True)
    pixel = traitlets.List(traitlets.Int()).tag(sync=True)
    moment = traitlets.Float(0.0).tag(sync=True)
    facts = traitlets.List().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    progress = traitlets.Float(0.0).tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    pending = traitlets.Bool(False).tag(sync=True)
    grown = traitlets.Int(0).tag(sync=True)
    turned = traitlets.Int(0).tag(sync=True)
    generation = traitlets.Int(0).tag(sync=True)

    def __init__(self, lock: Lock | None = None, **traits):
        # Set these before the traits, which the browser's thread can change as soon as they exist.
        self.guard = lock or threading.RLock()
        self.raster, self.segments = None, {"region": [], "item": []}
        super().__init__(**traits)

    @property
    def still(self) -> Still:
        """What the picture shows."""
        pixel = tuple(self.pixel) or None
        return Still(self.title, self.raster, self.segments, pixel, self.facts, self.error)

    def set_state(self, sync_data: dict) -> None:
        """Receive changes from the browser, with the lock, because another thread shows results."""
        with self.guard:
            super().set_state(sync_data)

    def show(
        self,
        raster: UInt8[np.ndarray, "height width 3"] | None = None,
        region: list[Segment] | None = None,
        item: list[Segment] | None = None,
        **traits,
    ) -> None:
        """Change the picture and its texts in one message to the browser.

        Args:
            raster: the picture.
            region, item: the outlines.
            traits: values of other attributes.
        """
        with self.guard, self.hold_sync():
            if raster is not None:
                self.raster = raster
                self.size = raster.shape[:2]
                self.png = png(raster)
            for name, segments in (("region", region), ("item", item)):
                if segments is not None:
                    self.segments[name] = segments
                    setattr(self, name, svg_path(segments))
            for name, value in traits.items():
                setattr(self, name, value)
