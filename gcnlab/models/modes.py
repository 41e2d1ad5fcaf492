"""Run a network in evaluation mode and restore its state afterwards.

The forward pass of a network may count in a buffer, clamp its weights or draw random numbers. Its
parameters, buffers and modes are restored, and so is the random state. Tensors that are plain
attributes are not restored.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gcnlab.models.saved_state import SavedState

_lock = threading.RLock()
_networks: dict[int, "_Network"] = {}
"""Networks with an open block, in any thread, by id."""
_modes: dict[int, list] = {}
"""The modules of these networks, by id: [mode before, number of open networks that hold it]."""


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Put a network into evaluation mode for the duration of a `with` block.

    When the block ends, also after an error, the network has its parameters and buffers with their
    values again, each module has its own mode, and the global random state (of PyTorch, NumPy and
    Python) is restored: a network that draws random numbers draws the same ones the next time.

    Blocks may be nested and may be open in several threads at once; the last one to end restores
    the state. A nested block starts from the state at the start of the first block, so that the
    result for an image does not depend on images that ran before. Do not train a network while a
    block is open.

    Raises:
        ValueError: the network has lazy layers that have never run.
    """
    with _random_state_kept():
        with _lock:
            network = _networks.get(id(model)) or _Network(model)
            _networks[id(model)] = network
            network.blocks += 1
        try:
            with _lock:
                network.to_evaluation()
            yield model
        finally:
            with _lock:
                network.used = True
                network.blocks -= 1
                if not network.blocks:
                    del _networks[id(model)]
                    network.restore()


class _Network:
    """The saved state of a network while blocks are open for it.

    Attributes:
        blocks: number of open blocks.
        used: whether a block has ended since the last restore: the network may have changed.
        inside: its state in evaluation mode. Some networks change their weights when they change
            mode (LoRA adds its factors to them).
    """

    def __init__(self, model: nn.Module):
        self.model, self.blocks, self.used = model, 0, False
        self.modules = list(model.modules())
        self.before = self.inside = SavedState(model)
        self.attributes: list[tuple[nn.Module, dict]] = []
        for module in self.modules:
            _modes.setdefault(id(module), [module.training, 0])[1] += 1

    def to_evaluation(self) -> None:
        """Restore the state of the first block, also if the network's forward has changed the mode."""
        if self.used:
            self.inside.restore()
            self.used = False
        if not any(module.training for module in self.modules):
            return
        own = [module for module in self.modules if type(module).train is not nn.Module.train]
        before = [(module, dict(module.__dict__)) for module in own]
        self.model.eval()
        if own and not self.attributes:
            self.attributes = [(module, _changed(module, values)) for module, values in before]
            self.inside = SavedState(self.model)

    def restore(self) -> None:
        """Restore weights, buffers, modes, and the attributes that the change of mode has changed."""
        try:
            self.before.restore()
        finally:
            for module, attributes in self.attributes:
                module.__dict__.update(attributes)
            for module in self.modules:
                known = _modes[id(module)]
                known[1] -= 1
                if not known[1]:
                    del _modes[id(module)]
                    if module.training != known[0]:
                        module.training = known[0]


def _changed(module: nn.Module, before: dict) -> dict:
    """The attributes whose value has changed, with their values from before."""
    now = module.__dict__
    return {
        name: value
        for name, value in before.items()
        if name != "training" and now.get(name) is not value
    }


@contextmanager
def restored_attributes(model: nn.Module) -> Iterator[None]:
    """Restore the attributes of all modules, and their lists, dicts and sets, when the block ends.

    Tracing needs this: a module that caches a mask would otherwise keep a tensor without values.
    """
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    containers = {
        id(value): (value, value.copy())
        for _, attributes in before
        for value in attributes.values()
        if type(value) in (list, dict, set)
    }
    try:
        yield
    finally:
        for module, attributes in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
        for value, content in containers.values():
            value.clear()
            value.extend(content) if isinstance(value, list) else value.update(content)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Restore the random state when the block ends.

    Outside the main thread (in the explorer) it is restored only if a PyTorch operation of the
    thread drew numbers; draws from NumPy or Python alone are not noticed. Otherwise another thread
    that draws in the meantime would get the same numbers twice.
    """
    if threading.current_thread() is not threading.main_thread():
        drawing = _Drawing()
        before = _random_state()
        try:
            with drawing:
                yield
        finally:
            if drawing.drew:
                _set_random_state(before)
        return
    before = _random_state()
    try:
        yield
    finally:
        _set_random_state(before)


class DispatchMode(TorchDispatchMode):
    """A mode that sees every operation, without loading PyTorch's compiler.

    By default PyTorch keeps its compiler away from such a mode, and imports it for that at the
    first operation, which takes seconds.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Drawing(DispatchMode):
    """Records whether an operation of this thread draws random numbers."""

    drew = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.drew = True
        return func(*args, **(kwargs or {}))


def _random_state() -> tuple:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    numpy_state = np.random.get_state()  # noqa: NPY002 (a network may use the global state)
    return torch.get_rng_state(), gpus, numpy_state, random.getstate()


def _set_random_state(state: tuple) -> None:
    cpu, gpus, numpy_state, python = state
    torch.set_rng_state(cpu)
    if gpus is not None:
        torch.cuda.set_rng_state_all(gpus)
    np.random.set_state(numpy_state)  # noqa: NPY002
    random.setstate(python)
