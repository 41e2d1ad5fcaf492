"""Activation checkpointing: what a residual block computes is not kept for the backward pass, but computed again.

A block's inner maps are several times its output; kept are the outputs alone. Batch norm would take the
second computation for another batch and move its running statistics twice: they stand still meanwhile.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

BLOCK = re.compile(r"(.*\.)?layer[1-4]\.\d+")
"""Names of a ResNet's residual blocks."""


@contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """The residual blocks of `model` are computed again in backward passes inside the block.

    Raises:
        ValueError: there are none.
    """
    blocks = [module for name, module in model.named_modules() if BLOCK.fullmatch(name)]
    if not blocks:
        raise ValueError("execution.recompute: the network has no residual blocks")
    for block in blocks:
        norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
        contexts = partial(_contexts, norms)
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, context_fn=contexts)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own shows again


def _contexts(norms: list[nn.Module]):
    return nullcontext(), _still(norms)


@contextmanager
def _still(norms: list[nn.Module]) -> Iterator[None]:
    """Batch norm by the statistics of its batch, which leave no trace."""
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:  # SyncBatchNorm insists on a counter
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before):
            norm.momentum, norm.num_batches_tracked = momentum, batches
