"""What an occlusion measures at the unit: the logit, the margin or the probability of a class.

With z the logits at the unit and c the class:

- "logit": z_c, as in Zhou et al. and in Captum. It can drop although the prediction gets more
  certain, when the logits of the other classes drop even more.
- "margin": z_c − max z_j over the other classes j. It is positive exactly where c is predicted. The
  best other class is chosen for each image, clean or occluded, so an occluder that makes any other
  class win makes the margin negative.
- "probability": the softmax of z at c. It does not change where the network is certain, since the
  softmax is then close to 0 or 1.

All three are computed from the same logits, so one pass over the windows serves all of them.
"""

import torch

from gcnlab.annotations import Float, Tensor
from gcnlab.arguments import shown
from gcnlab.receptive.settings import QUANTITIES


def value_of(
    logits: Float[Tensor, "*batch classes"], target: int, quantity: str
) -> Float[Tensor, "*batch"]:
    """The quantity of the class `target`.

    Raises:
        ValueError: the quantity is unknown, or it compares classes and there is only one.
    """
    if quantity not in QUANTITIES:
        raise ValueError(f"unknown quantity {shown(quantity)}; choose {', '.join(QUANTITIES)}")
    if quantity == "logit":
        return logits[..., target]
    if logits.shape[-1] < 2:
        raise ValueError(
            f'the quantity "{quantity}" compares classes, but the network has one: use "logit"'
        )
    if quantity == "probability":
        return logits.softmax(-1)[..., target]
    others = torch.cat([logits[..., :target], logits[..., target + 1 :]], -1)
    return logits[..., target] - others.amax(-1)


def drop_of(
    clean: Float[Tensor, "classes"],
    drops: Float[Tensor, "*windows classes"],
    target: int,
    quantity: str,
) -> Float[Tensor, "*windows"]:
    """The drop of the quantity, clean − occluded, in double precision.

    Args:
        clean: the logits at the unit, on the clean image.
        drops: the drop of every class's logit, for each window.
        target: id of the class.
        quantity: see the top of this file.

    Raises:
        ValueError: see `value_of`.
    """
    if quantity == "logit":
        return drops[..., target].double()  # without the rounding of a difference
    clean = clean.double()
    return value_of(clean, target, quantity) - value_of(clean - drops.double(), target, quantity)
