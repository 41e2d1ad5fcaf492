"""The plain way: the whole network is run for every occluded image. Slow, and right for any network.

Images go through the network in batches. A network may mix the images of a batch (batch norm in training mode
that `eval()` does not reach, a slice of the batch), or take one image only: then each is run by itself.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import nn

from gcnlab.annotations import Float, Tensor
from gcnlab.models.logits import device_of, dtype_of, logits_of
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive.unit import check_scores
from gcnlab.receptive.windows import Windows


class PlainNet:
    """A network and an image, for changes of that image.

    Args:
        model: maps images to score maps; run in evaluation mode and left as it was.
        image: (channels, height, width), what the model takes.

    Attributes:
        note: what had to be done to get the scores, or is wrong with them, in words; empty if nothing.
    """

    def __init__(self, model: nn.Module, image: Float[Tensor, "channels height width"]):
        self.model, self.note = model, ""
        self._apart: dict[int | float, bool] = {}  # by fill: whether images go in batches
        self.image = image.to(device_of(model), dtype_of(model) or image.dtype)

    @cached_property
    def scores(self) -> Float[Tensor, "classes rows columns"]:
        """Score map of the clean image, on the CPU, in at least single precision.

        Raises:
            TypeError: the model does not return a score map.
            ValueError: the scores are not finite.
        """
        scores = self.run(self.image[None])[0]
        check_scores(scores)
        return scores

    def changes(
        self,
        windows: Windows,
        members: list[tuple[int, int]],
        pixel: tuple[int, int],
        fill: int | float,
        batch_size: int,
    ) -> Iterator[tuple[list[tuple[int, int]], Float[Tensor, "changes classes"]]]:
        """What the scores at `pixel` change by when windows of the image are filled.

        Args:
            members: (row, column), in the grid of windows, of those to fill.
            batch_size: images at once, at most.

        Yields:
            A batch of `members`, and for each of them changed − clean of every class.

        Raises:
            ValueError: a change is not finite.
        """
        row, column = pixel
        if batch_size > 1 and fill not in self._apart:
            self._apart[fill] = self._are_apart(fill)
        at_once = batch_size if batch_size > 1 and self._apart[fill] else 1
        for start in range(0, len(members), at_once):
            batch = members[start : start + at_once]
            scores = self.run(self.occluded(windows, batch, fill))[:, :, row, column]
            check_changes(scores, windows, batch, fill)
            yield batch, scores.double() - self.scores[:, row, column].double()

    def occluded(
        self, windows: Windows, members: list[tuple[int, int]], fill: int | float
    ) -> Float[Tensor, "changes channels height width"]:
        """The image, once for each member, with that window filled."""
        images = self.image.repeat(len(members), 1, 1, 1)
        for image, (i, j) in zip(images, members):
            image[:, slice(*windows.rows[i]), slice(*windows.columns[j])] = fill
        return images

    def run(self, images: Tensor) -> Float[Tensor, "batch classes rows columns"]:
        """Scores of some images, on the CPU, in single precision at least."""
        # no_grad: a network may cache what it computes, or use autograd inside, which inference_mode forbids.
        with evaluation_mode(self.model), torch.no_grad():
            scores = logits_of(self.model, images)
        return scores.to("cpu", torch.promote_types(scores.dtype, torch.float32))

    def _are_apart(self, fill: int | float) -> bool:
        """Whether each image of a batch has the scores that it has alone; what is wrong goes into the note."""
        name = type(self.model).__name__
        try:
            both = self.run(torch.stack([self.image, torch.full_like(self.image, fill)]))
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # it is made for one image; what is wrong with that one will be said
            both = None
        with evaluation_mode(self.model), torch.no_grad():  # in one block random numbers go on
            _, again = (logits_of(self.model, self.image[None])[0] for _ in range(2))
        again = again.to(self.scores)
        if not self.alike(again, self.scores):
            self.note = (
                f"{name} gives the same image other scores each time: every window is run by itself, with the "
                "same random numbers"
            )
        elif both is None:
            self.note = f"{name} takes one image at a time: every window is run by itself"
        elif not self.alike(both[0], self.scores):
            self.note = f"{name} mixes the images of a batch: every window is run by itself"
        else:
            return True
        return False

    def alike(self, one: Tensor, other: Tensor) -> bool:
        """Whether two score maps differ by rounding alone."""
        return bool((one - other).abs().max() <= self.rounding * other.abs().max())

    @property
    def rounding(self) -> float:
        """Differences up to this share of the largest score count as rounding: the square root of eps."""
        return torch.finfo(self.image.dtype).eps ** 0.5


def check_changes(
    changes: Tensor, windows: Windows, members: list[tuple[int, int]], fill: int | float
) -> None:
    """Raise ValueError, naming the first window, if its scores or changes are not finite."""
    good = torch.isfinite(changes).all(1)
    if not good.all():
        i, j = members[int(good.int().argmin())]
        (top, bottom), (left, right) = windows.rows[i], windows.columns[j]
        raise ValueError(
            f"the model's scores are not finite (NaN or infinite) with rows {top} … {bottom - 1}, columns "
            f"{left} … {right - 1} filled with {fill}: try another fill"
        )
