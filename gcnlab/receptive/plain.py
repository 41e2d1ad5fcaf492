"""The plain method: run the whole network for every occluded image. Slow, and right for any
network.

Images go through the network in batches. If a network mixes the images of a batch (batch norm in
training mode that `eval()` does not reach, a slice of the batch), or takes one image only, each
image is run separately.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.devices import without_tf32
from gcnlab.models.logits import device_of, dtype_of, logits_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.fills import fill_image
from gcnlab.receptive.grid import OcclusionGrid, Window
from gcnlab.receptive.unit import check_finite


class PlainNet:
    """A whole network, run on one image and its occluded versions.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: (channels, height, width), the model's input.

    Attributes:
        memory_format: of the occluded images in memory.
        note: a restriction that the network imposed (images run separately, random logits); empty
            if there was none.
    """

    def __init__(self, model: nn.Module, image: Float[Tensor, "channels height width"]):
        self.model, self.note = model, ""
        self.memory_format = torch.contiguous_format
        self._batches: dict[float | str, bool] = {}  # by fill: whether images can go in batches
        self._filling: tuple[tuple, Tensor] | None = None  # the latest, with its fill and window
        self.image = image.to(device_of(model), dtype_of(model) or image.dtype)

    @cached_property
    def score_map(self) -> Float[Tensor, "classes rows columns"]:
        """Logits of the clean image, on the CPU, in at least single precision.

        Raises:
            TypeError: the model does not return a score map.
            ValueError: the logits are not finite.
        """
        logits = self.run(self.image[None])[0]
        check_finite(logits)
        return logits

    def changes(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        pixel: tuple[int, int],
        fill: int | float | str,
        batch_size: int,
    ) -> Iterator[tuple[list[Window], Float[Tensor, "changes classes"]]]:
        """Compute the change of the logits at `pixel` when windows of the image are filled.

        Args:
            windows: the windows of the grid to fill, one at a time.
            batch_size: largest number of images per batch.

        Yields:
            A batch of `windows`, and for each of them changed − clean of every class.

        Raises:
            ValueError: a change is not finite.
        """
        row, column = pixel
        clean = self.score_map[:, row, column].double()
        # Read at the unit before the copy to the CPU: a batch of score maps is large.
        read = lambda logits: logits[:, :, row, column]  # noqa: E731
        for batch, logits in self.readings(grid, windows, read, fill, batch_size):
            yield batch, logits.double() - clean

    def readings(
        self,
        grid: OcclusionGrid,
        windows: list[Window],
        read: Callable[[Tensor], Tensor],
        fill: int | float | str,
        batch_size: int,
    ) -> Iterator[tuple[list[Window], Float[Tensor, "changes *_"]]]:
        """Run the network with windows of the image filled, and read a part of each score map.

        Args:
            windows, fill, batch_size: see `changes`.
            read: takes a batch of score maps on the model's device; the first axis of its result
                is that of the batch.

        Yields:
            A batch of `windows`, and what `read` returns for them, on the CPU, in at least single
            precision.

        Raises:
            ValueError: a value that was read is not finite.
        """
        if batch_size > 1 and fill not in self._batches:
            self._batches[fill] = self._takes_batches(self.filling(grid, fill))
        size = batch_size if batch_size > 1 and self._batches[fill] else 1
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            found = self._on_cpu(read(self._logits(self.occluded(grid, batch, fill))))
            _check_finite_changes(found.flatten(1), grid, batch, fill)
            yield batch, found

    def occluded(
        self, grid: OcclusionGrid, windows: list[Window], fill: int | float | str
    ) -> Float[Tensor, "changes channels height width"]:
        """One copy of the image for each window, with that window filled."""
        images, filling = self.image.repeat(len(windows), 1, 1, 1), self.filling(grid, fill)
        images = images.contiguous(memory_format=self.memory_format)
        for image, (i, j) in zip(images, windows):
            place = slice(*grid.rows[i]), slice(*grid.columns[j])
            image[:, *place] = filling[:, *place]
        return images

    def filling(
        self, grid: OcclusionGrid, fill: int | float | str
    ) -> Float[Tensor, "channels height width"]:
        """The image that windows are filled from (`gcnlab.receptive.fills`); the latest is kept."""
        key, kept = (fill, grid.window), self._filling
        if kept is None or kept[0] != key:
            kept = self._filling = key, fill_image(self.image, fill, grid.window)
        return kept[1]

    def run(self, images: Tensor) -> Float[Tensor, "batch classes rows columns"]:
        """Logits of some images, on the CPU, in at least single precision."""
        return self._on_cpu(self._logits(images))

    def _logits(self, images: Tensor) -> Float[Tensor, "batch classes rows columns"]:
        # no_grad, since a network may cache tensors or use autograd inside: inference_mode forbids
        # both.
        with evaluation_mode(self.model), torch.no_grad(), without_tf32():
            return logits_of(self.model, images)

    def _on_cpu(self, logits: Tensor) -> Tensor:
        return logits.to("cpu", torch.promote_types(logits.dtype, torch.float32))

    def _takes_batches(self, filling: Tensor) -> bool:
        """Whether each image of a batch gets the logits that it gets alone; if not, the note says
        why."""
        name = type(self.model).__name__
        try:
            both = self.run(torch.stack([self.image, filling]))
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # the network takes one image; an error of that one is raised later
            both = None
        with (
            evaluation_mode(self.model),
            torch.no_grad(),
            without_tf32(),
        ):  # in one block, so that random numbers differ
            _, again = (logits_of(self.model, self.image[None])[0] for _ in range(2))
        again = again.to(self.score_map)
        if not self.equal(again, self.score_map):
            self.note = (
                f"{name} computes different logits for the same image each time: every window is run "
                "separately, with the same random numbers"
            )
        elif both is None:
            self.note = f"{name} takes one image at a time: every window is run separately"
        elif not self.equal(both[0], self.score_map):
            self.note = f"{name} mixes the images of a batch: every window is run separately"
        else:
            return True
        return False

    def equal(self, one: Tensor, other: Tensor) -> bool:
        """Whether two score maps differ by rounding errors only."""
        return bool((one - other).abs().max() <= self.rounding * other.abs().max())

    @property
    def rounding(self) -> float:
        """Differences up to this share of the largest logit count as rounding errors: the square
        root of eps."""
        return torch.finfo(self.image.dtype).eps ** 0.5


def _check_finite_changes(
    logits: Tensor, grid: OcclusionGrid, windows: list[Window], fill: int | float | str
) -> None:
    """Raise ValueError with the first window whose logits are not finite."""
    good = torch.isfinite(logits).all(1)
    if not good.all():
        i, j = windows[int(good.int().argmin())]
        (top, bottom), (left, right) = grid.rows[i], grid.columns[j]
        raise ValueError(
            f"the model's logits are not finite (NaN or infinite) with rows {top} … {bottom - 1}, columns "
            f"{left} … {right - 1} filled with {fill!r}: try another fill"
        )
