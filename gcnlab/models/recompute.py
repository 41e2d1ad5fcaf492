"""Activation checkpointing: recompute residual blocks in the backward pass instead of keeping them.

The feature maps inside a block take several times the memory of its output; only the outputs are
kept. Batch norm would see the second computation as another batch and update its running statistics
twice, so they are held fixed during it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# Names of the residual blocks of a ResNet; of timm's EfficientNet and MobileNet, whose stages are in
# `blocks`; of its ConvNeXt and Swin, whose stages hold `blocks`; and of its RegNet.
_BLOCK = re.compile(
    r"(.*\.)?(layer[1-4]\.\d+|network\.blocks\.\d+\.\d+|(stages|layers)_\d\.blocks\.\d+|s[1-4]\.b\d+)"
)


@contextmanager
def recomputed(model: nn.Module) -> Iterator[None]:
    """Inside this context, backward passes recompute the residual blocks of `model`.

    Raises:
        ValueError: the network has no residual blocks.
    """
    blocks = [module for name, module in model.named_modules() if _BLOCK.fullmatch(name)]
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
            del block.forward  # restores the method of the class


def _contexts(norms: list[nn.Module]):
    return nullcontext(), fixed_statistics(norms)


@contextmanager
def fixed_statistics(norms: list[nn.Module]) -> Iterator[None]:
    """Batch norm normalises with its batch and leaves the running statistics as they are."""
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:  # SyncBatchNorm needs a counter
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before):
            norm.momentum, norm.num_batches_tracked = momentum, batches
