"""The atlases of an explorer: one for every network and occluder that was asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn import functional as F

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.receptive import FieldAtlas
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.receptive.settings import EVERY
from gcnlab.receptive.unit import unit_at
from gcnlab.receptive.validfield import ValidField

UNITS = 64
"""Number of units along the shorter side of the image that an atlas keeps, at most; for an image of
more than 512 pixels, it keeps every eighth pixel."""

OCCLUDERS = 5
"""Number of occluders whose atlases are kept, apart from the current one."""


@dataclass(frozen=True)
class Occluder:
    """What an atlas measures: the settings that tell the atlases of one network apart.

    Attributes:
        window, stride: side of the occluder and distance between its positions, in pixels.
        fill: value of the occluder, or the name of a fill (`gcnlab.receptive.settings.FILLS`).
        target: class id; None for the class predicted at each unit.
    """

    window: int
    stride: int
    fill: int | float | str = 0.0
    target: int | None = None

    @property
    def text(self) -> str:
        """In words: "32 px every 16", "32 px every 16, target 3"."""
        text = f"{self.window} px every {self.stride}"
        if self.fill != 0:
            text += f", fill {self.fill if isinstance(self.fill, str) else f'{self.fill:g}'}"
        return text if self.target is None else f"{text}, target {self.target}"


class Atlases:
    """The atlases of several networks on one image.

    Args:
        network: returns the network of a title.
        image: the networks' input (already normalised).
    """

    def __init__(
        self, network: Callable[[str], nn.Module], image: Float[Tensor, "channels height width"]
    ):
        self._network, self._image = network, image
        self._atlases: dict[tuple[str, Occluder], FieldAtlas] = {}

    def levels(
        self, title: str, occluder: Occluder, on_progress: Callable[[float], None]
    ) -> Iterator[AtlasTable]:
        """Run the windows of an atlas that are missing.

        Args:
            on_progress: called with the share of the windows that have been run; an exception
                stops the work, and the next call goes on.

        Yields:
            The table after each level of windows; a complete one at once.
        """
        on_progress(0.0)
        key = (title, occluder)
        atlas = self._atlases.pop(key, None) or self._new(title, occluder)
        self._atlases[key], shown = atlas, None  # the latest is the last
        for share in atlas.steps():
            on_progress(share)
            if atlas.table.finest_step != shown and not atlas.complete:
                shown = atlas.table.finest_step
                yield atlas.table
        yield atlas.table

    def _new(self, title: str, occluder: Occluder) -> FieldAtlas:
        side = min(self._image.shape[-2:])
        return FieldAtlas(
            self._network(title),
            self._image,
            occluder.window,
            occluder.stride,
            occluder.fill,
            occluder.target,
            every=next((every for every in EVERY if side <= UNITS * every), EVERY[-1]),
        )

    @property
    def occluders(self) -> list[Occluder]:
        """The occluders of which there are atlases, the one that was asked for last at the end."""
        return list(dict.fromkeys(occluder for _, occluder in self._atlases))

    def forget(self, occluder: Occluder | None) -> None:
        """Drop the atlases of other occluders that are not complete, since each keeps the activations
        of the clean image, and all but the last `OCCLUDERS` others. None drops all that are not
        complete."""
        others = [own for own in self.occluders if own != occluder][-OCCLUDERS:]
        self._atlases = {
            key: atlas
            for key, atlas in self._atlases.items()
            if key[1] == occluder or (atlas.complete and key[1] in others)
        }

    def field(self, title: str, occluder: Occluder, pixel: tuple[int, int]) -> ValidField | None:
        """The field of the unit that is kept and is nearest to a pixel of the image; None if no
        level of the atlas is complete."""
        atlas = self._atlases.get((title, occluder))
        if atlas is None or atlas.table.finest_step is None:
            return None
        return atlas.field(unit_at(pixel, atlas.table.image_size, atlas.table.map_size))

    def map_size(self, title: str, occluder: Occluder) -> tuple[int, int] | None:
        """The size of a network's score map if it differs from the image's, else None."""
        atlas = self._atlases.get((title, occluder))
        if atlas is None or atlas.table.map_size == atlas.table.image_size:
            return None
        return atlas.table.map_size

    def complete(self) -> list[tuple[str, Occluder, AtlasTable]]:
        """The atlases of which all windows have been run."""
        return [(*key, atlas.table) for key, atlas in self._atlases.items() if atlas.complete]

    def note(self, title: str, occluder: Occluder) -> str:
        """What was not reused; empty if there is nothing to report."""
        atlas = self._atlases.get((title, occluder))
        return "" if atlas is None else atlas.note

    def likeliest(
        self, title: str
    ) -> tuple[Int[Tensor, "best rows columns"], Float[Tensor, "best rows columns"]] | None:
        """The likeliest classes of each unit that is kept, and their probabilities; None if the
        network has not been run."""
        atlas = self._any(title)
        return None if atlas is None else atlas.best

    def best(self, title: str, pixel: tuple[int, int]) -> tuple[list[int], list[float]] | None:
        """The same of the unit that is kept and is nearest to a pixel of the image."""
        atlas = self._any(title)
        if atlas is None:
            return None
        return atlas.best_at(unit_at(pixel, atlas.table.image_size, atlas.table.map_size))

    def prediction(self, title: str) -> Int[Tensor, "height width"] | None:
        """The class ids that a network predicts, in the size of the image, enlarged by nearest
        neighbour; None if it has not been run. (`gcnlab.predict` enlarges the logits, so its
        boundaries are smoother.)"""
        atlas = self._any(title)
        return None if atlas is None else enlarged(atlas.prediction, tuple(self._image.shape[-2:]))

    def _any(self, title: str) -> FieldAtlas | None:
        """An atlas of a network; what does not depend on the occluder is the same in all."""
        return next((atlas for (own, _), atlas in self._atlases.items() if own == title), None)


def enlarged(
    ids: Int[Tensor, "rows columns"], size: tuple[int, int]
) -> Int[Tensor, "height width"]:
    """Class ids in another size, by nearest neighbour."""
    return F.interpolate(ids[None, None].double(), size, mode="nearest")[0, 0].long()


def middle_unit(size: tuple[int, int]) -> tuple[int, int]:
    """The pixel at or above and left of the centre whose unit every atlas keeps, if the score map has
    the size of the image."""
    return tuple(n // 2 // EVERY[-1] * EVERY[-1] for n in size)
