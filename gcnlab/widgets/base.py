"""What the explorers share: pictures in a row, one worker behind them, a static figure of them."""

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
    """Pictures that a background thread keeps up to date with `question`, which has a pixel.

    In a notebook an explorer shows itself. Where there is no kernel, a saved notebook shows its figure.
    """

    _worker: LatestWorker | None = None

    def __init__(self):
        self.lock, self._latest = threading.RLock(), 0.0
        self._worker = LatestWorker(self._show, self._fail, self._finish, self.lock)
        super().__init__()

    @property
    def rows(self) -> list[list[Picture]]:
        """The pictures as they are laid out."""
        raise NotImplementedError

    def _show(self, generation: int, result) -> None:
        """Show one result; called by the worker, under the lock, unless there is a newer request."""
        raise NotImplementedError

    def _fail(self, generation: int, error: Exception) -> None:
        """The job itself failed: none of its pictures is to be trusted."""
        for picture in chain(*self.rows):
            picture.show(busy=False, error=describe(error), generation=generation)

    def _finish(self, generation: int) -> None:
        for picture in chain(*self.rows):
            picture.show(busy=False, progress=1.0, generation=generation)

    def _move(self, pixel: tuple[int, int]) -> None:
        """A pixel has been pointed at."""
        raise NotImplementedError

    def _pointed(self, change: dict) -> None:
        picture, pixel = change["owner"], tuple(change["new"])
        with self.lock:
            if len(pixel) != 2 or pixel == self.question.pixel:
                return
            if picture.moment < self._latest:
                # This click was overtaken by a later one in another picture.
                picture.pixel = list(self.question.pixel)
                return
            self._latest = picture.moment
            self._move(pixel)

    def _watch(self, picture: Picture, check: Callable[[], None]) -> Callable[[float], None]:
        """Shows the share of the work that is done, unless there is a newer request."""

        def watch(share: float) -> None:
            with self.lock:
                check()
                picture.progress = share

        return watch

    @property
    def idle(self) -> bool:
        """Whether everything that was asked for is shown."""
        return self._worker.idle

    def wait(self, timeout: int | float = 120):
        """Return the explorer when everything that was asked for is shown.

        A notebook cell that ends with it is saved with the finished picture.

        Raises:
            TimeoutError: it takes longer than `timeout` seconds.
        """
        self._worker.wait(timeout)
        return self

    def close(self) -> None:
        """End the thread and take the widget off the page."""
        if self._worker is not None:  # it is, if the explorer could not be made
            self._worker.close()
        super().close()

    def figure(self) -> Figure:
        """What is shown now, as a matplotlib figure."""
        with self.lock:
            return plot_pictures(self.rows)

    def _repr_mimebundle_(self, **options) -> dict:
        bundle = super()._repr_mimebundle_(**options) or {}
        with self.lock:
            text = " ".join(picture.text for picture in chain(*self.rows))
            still = picture_with_text(small_png(self.figure()), text)
        return bundle | {"text/html": still["text/html"]}


def describe(error: Exception) -> str:
    """An error in words: our own messages speak for themselves, others need their type."""
    name = type(error).__name__
    return (
        str(error) if name in ("ValueError", "NotTraceable") and str(error) else f"{name}: {error}"
    )
