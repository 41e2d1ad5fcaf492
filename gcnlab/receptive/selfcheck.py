"""Kept activations held against the plain way, on a few windows spread over the image.

What is reused rests on what is known of some hundred operations. A mistake there would give a wrong field that
looks like a right one; so the first field of a network is checked.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.receptive.plain import PlainNet

CHECKED = 4
"""Windows of the first field of a network that are also run the plain way."""


SHARE = 1e-4
"""By which share of a class's largest change the two ways may differ."""

ROUNDING = 100
"""How many eps of a class's largest score they may differ by in addition."""


@dataclass(frozen=True)
class Check:
    """The exact way held against the plain one, see `Occlusion.check`.

    Attributes:
        windows: how many were run both ways.
        difference: the largest difference between the two ways, in units of the score, over these windows and the
            clean score map. It is that of the class whose difference is largest relative to its tolerance.
        tolerance: the largest difference at which they count as equal: 1e-4 of that class's largest change, plus
            100 eps of its largest score.
    """

    windows: int
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance


def hold_against_plain(
    scores: Float[Tensor, "classes rows columns"],
    changes: np.ndarray,
    plain: PlainNet,
    images: Float[Tensor, "windows channels height width"],
    pixel: tuple[int, int],
) -> Check:
    """Compare scores from kept activations with those of the whole network.

    Args:
        scores: of the clean image.
        changes: changed − clean at `pixel`, (windows, classes).
        plain: the whole network.
        images: the occluded ones.
        pixel: (row, column) on the score map.
    """

    eps = torch.finfo(plain.image.dtype).eps

    def compared(clean: Tensor, changed: Tensor) -> Check:
        theirs = (changed - clean)[:, :, pixel[0], pixel[1]].double().numpy()
        known = np.isfinite(changes) & np.isfinite(theirs)  # the others are left to the plain way
        ours, theirs = np.where(known, changes, 0), np.where(known, theirs, 0)
        # Class by class: the scores of one may be a thousand times those of another.
        apart = (scores - clean).abs().amax((1, 2)).double().numpy()
        off = np.maximum(np.abs(ours - theirs).max(0), apart)
        largest = clean.abs().amax((1, 2)).double().numpy()
        tolerance = SHARE * np.abs(theirs).max(0) + ROUNDING * eps * largest
        worst = int((off / np.maximum(tolerance, 1e-300)).argmax())
        return Check(len(images), float(off[worst]), float(tolerance[worst]))

    try:
        clean, *changed = plain.run(torch.cat([plain.image[None], images]))
        found = compared(clean, torch.stack(changed))
        if found.agrees:
            return found
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # it does not take a batch
        pass
    # Once more without a batch, whose images the network may mix.
    changed = torch.cat([plain.run(image[None]) for image in images])
    return compared(plain.run(plain.image[None])[0], changed)
