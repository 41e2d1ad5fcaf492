"""The base class of the explorers: a background worker and a static figure."""

import threading

import ipywidgets
from matplotlib.figure import Figure

from gcnlab.plots.notebook import picture_with_text, small_webp
from gcnlab.widgets.snapshot import Still, plot_stills
from gcnlab.widgets.worker import LatestWorker

UNFINISHED = (
    "<p>The explorer needs a kernel here: this notebook was saved before its pictures were complete. "
    "A cell that ends with <code>explorer.wait()</code> saves them.</p>"
)


class Explorer(ipywidgets.VBox):
    """A widget whose background thread answers the latest request.

    A notebook displays the explorer. A saved notebook without a kernel displays its static figure.
    """

    _worker: LatestWorker | None = None

    def __init__(self):
        self.lock = threading.RLock()
        self._worker = LatestWorker(self._show, self._fail, self._finish, self.lock)
        super().__init__()

    @property
    def stills(self) -> list[list[Still]]:
        """What the pictures show, by rows of the layout."""
        raise NotImplementedError

    def _show(self, generation: int, result) -> None:
        """Show one result. The worker calls this with the lock, unless there is a newer request."""
        raise NotImplementedError

    def _fail(self, generation: int, error: Exception) -> None:
        """Show that the request failed."""
        raise NotImplementedError

    def _finish(self, generation: int) -> None:
        """Show that the request is complete; nothing, if the results have shown it."""

    @property
    def idle(self) -> bool:
        """Whether all requests are finished and shown."""
        return self._worker.idle

    def wait(self, timeout: int | float = 120):
        """Wait until all requests are finished and shown, and return the explorer.

        A notebook cell that ends with this call is saved with the finished pictures.

        Args:
            timeout: limit in seconds.

        Raises:
            TimeoutError: the requests take longer than `timeout`.
        """
        self._worker.wait(timeout)
        return self

    def close(self) -> None:
        """Stop the thread and remove the widget from the page."""
        if self._worker is not None:  # it is None if the constructor failed
            self._worker.close()
        super().close()

    def figure(self) -> Figure:
        """The current pictures as a matplotlib figure."""
        with self.lock:
            return plot_stills(self.stills)

    def still_html(self) -> str:
        """The current pictures as an HTML image, with a text alternative that describes them."""
        with self.lock:
            text = " ".join(still.text for row in self.stills for still in row)
            return picture_with_text(small_webp(self.figure()), text, "webp")["text/html"]

    def page_part(self) -> str:
        """What a saved notebook shows without a kernel, as HTML."""
        return self.still_html()

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = super()._repr_mimebundle_(**options) or {}
        with self.lock:
            # Drawing takes a second, in which the explorer could not answer.
            return bundle | {"text/html": self.page_part() if self.idle else UNFINISHED}


def describe(error: Exception) -> str:
    """The text of an error; messages that are not from this package start with the type."""
    name = type(error).__name__
    return (
        str(error) if name in ("ValueError", "NotTraceable") and str(error) else f"{name}: {error}"
    )
