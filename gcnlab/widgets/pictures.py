"""An explorer that consists of rows of pictures (`gcnlab.widgets.picture`)."""

from itertools import chain

from gcnlab.widgets.base import Explorer, describe
from gcnlab.widgets.picture import Picture
from gcnlab.widgets.snapshot import Still


class PictureExplorer(Explorer):
    """Pictures that a background thread updates to answer `question`, which has a pixel."""

    def __init__(self):
        self._latest = 0.0
        super().__init__()

    @property
    def rows(self) -> list[list[Picture]]:
        """The pictures, by rows of the layout."""
        raise NotImplementedError

    @property
    def stills(self) -> list[list[Still]]:
        return [[picture.still for picture in row] for row in self.rows]

    def _fail(self, generation: int, error: Exception) -> None:
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
