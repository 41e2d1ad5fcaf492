"""Compare kept activations with the plain method, on a few windows spread over the image.

Reuse relies on the known behaviour of about a hundred operations. A mistake there would give a
wrong field that looks right, so the first field of a network is checked.
"""

from dataclasses import dataclass

import numpy as np
import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.receptive.plain import PlainNet

CHECKED = 4
"""Windows of the first field of a network that are also run by the plain method."""

SHARE = 1e-4
"""Allowed difference between the two methods, as a share of a class's largest change."""

ROUNDING = 100
"""Difference allowed in addition, in eps of a class's largest logit."""

COMMON = 10
"""And once more, in eps of the largest logit of all classes: a channel of a hidden layer may be close
to zero everywhere, but it is computed from values as large as those of the others."""


@dataclass(frozen=True)
class SelfCheck:
    """Comparison of the exact with the plain method, see `Occlusion.self_check`.

    Attributes:
        windows: number of windows that were run by both methods.
        difference: the largest difference between the two, in units of the logits, over these
            windows and the clean score map. It is that of the class with the largest difference
            relative to its tolerance.
        tolerance: the largest difference at which they count as equal: 1e-4 of that class's largest
            change, plus 100 eps of its largest logit, plus 10 eps of the largest logit of all.
    """

    windows: int
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance


def tolerance_of(
    change: float | np.ndarray, own: float | np.ndarray, largest: float, eps: float
) -> float | np.ndarray:
    """The difference up to which the two methods agree on a class.

    Args:
        change: the largest change of the class.
        own: its largest logit on the clean image.
        largest: the largest logit of all classes.
        eps: of the type of the computation.
    """
    return SHARE * change + eps * (ROUNDING * own + COMMON * largest)


def compare_with_plain(
    score_map: Float[Tensor, "classes rows columns"],
    changes: np.ndarray,
    plain: PlainNet,
    images: Float[Tensor, "windows channels height width"],
    pixel: tuple[int, int],
) -> SelfCheck:
    """Compare logits from kept activations with those of the whole network.

    Args:
        score_map: logits of the clean image.
        changes: changed − clean at `pixel`, (windows, classes).
        plain: the whole network.
        images: the occluded images.
        pixel: (row, column) on the score map.
    """

    eps = torch.finfo(plain.image.dtype).eps

    def compared(clean: Tensor, changed: Tensor) -> SelfCheck:
        theirs = (changed - clean)[:, :, pixel[0], pixel[1]].double().numpy()
        finite = np.isfinite(changes) & np.isfinite(theirs)  # the plain method runs the others
        ours, theirs = np.where(finite, changes, 0), np.where(finite, theirs, 0)
        # Class by class: the logits of one may be a thousand times those of another.
        clean_difference = (score_map - clean).abs().amax((1, 2)).double().numpy()
        difference = np.maximum(np.abs(ours - theirs).max(0), clean_difference)
        largest = clean.abs().amax((1, 2)).double().numpy()
        tolerance = tolerance_of(np.abs(theirs).max(0), largest, largest.max(), eps)
        worst = int((difference / np.maximum(tolerance, 1e-300)).argmax())
        return SelfCheck(len(images), float(difference[worst]), float(tolerance[worst]))

    try:
        clean, *changed = plain.run(torch.cat([plain.image[None], images]))
        found = compared(clean, torch.stack(changed))
        if found.agrees:
            return found
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # the network does not take a batch
        pass
    # Compare again one image at a time, since the network may mix the images of a batch.
    changed = torch.cat([plain.run(image[None]) for image in images])
    return compared(plain.run(plain.image[None])[0], changed)
