"""The base class of the explorers: rows of pictures, a background worker, and a static figure."""

import threading
from collections.abc import Callable
from itertools import chain

import ipywidgets
from matplotlib.figure import Figure

from gcnlab.plots.notebook import picture_with_text, small_png
from gcnlab.widgets.picture import Picture
from gcnlab.widgets.snapshot import plot_pictures
from gcnlab.widgets.worker import LatestWorker


class Explorer(ipywidgets.VBox):
    """Pictures that a background thread updates to answer `question`, which has a pixel.

    A notebook displays the explorer. A saved notebook without a kernel displays its static figure.
    """

    _worker: LatestWorker | None = None

    def __init__(self):
        self.lock, self._latest = threading.RLock(), 0.0
        self._worker = LatestWorker(self._show, self._fail, self._finish, self.lock)
        super().__init__()

    @property
    def rows(self) -> list[list[Picture]]:
        """The pictures, by rows of the layout."""
        raise NotImplementedError

    def _show(self, generation: int, result) -> None:
        """Show one result. The worker calls this with the lock, unless there is a newer request."""
        raise NotImplementedError

    def _fail(self, generation: int, error: Exception) -> None:
        """Show in all pictures that the job failed."""
        for picture in chain(*self.rows):
            picture.show(busy=False, error=describe(error), generation=generation)

    def _finish(self, generation: int) -> None:
        for picture in chain(*self.rows):
            picture.show(busy=False, progress=1.0, generation=generation)

    def _move(self, pixel: tuple[int, int]) -> None:
        """Handle the selection of a pixel."""
        raise NotImplementedError

    def _on_pixel(self, change: dict) -> None:
        picture, pixel = change["owner"], tuple(change["new"])
        with self.lock:
            if len(pixel) != 2 or pixel == self.question.pixel:
                return
            if picture.moment < self._latest:
                # A later click in another picture has arrived first.
                picture.pixel = list(self.question.pixel)
                return
            self._latest = picture.moment
            self._move(pixel)

    def _progress_of(self, picture: Picture, check: Callable[[], None]) -> Callable[[float], None]:
        """Return a function that shows progress in a picture, unless there is a newer request."""

        def on_progress(share: float) -> None:
            with self.lock:
                check()
                picture.progress = share

        return on_progress

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
            return plot_pictures(self.rows)

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = super()._repr_mimebundle_(**options) or {}
        with self.lock:
            text = " ".join(picture.text for picture in chain(*self.rows))
            still = picture_with_text(small_png(self.figure()), text)
        return bundle | {"text/html": still["text/html"]}


def describe(error: Exception) -> str:
    """The text of an error; messages that are not from this package start with the type."""
    name = type(error).__name__
    return (
        str(error) if name in ("ValueError", "NotTraceable") and str(error) else f"{name}: {error}"
    )
