"""Run a network in evaluation mode, and leave everything as it was.

A network may do in its forward what it likes: count in a buffer, clamp its weights, draw random numbers.
What it changes in its parameters, buffers and modes is put back, and so is the random state. Tensors stored as plain
attributes are not.
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
"""The networks that blocks are open for, in any thread, by their id."""
_modes: dict[int, list] = {}
"""The modules of all of them, by their id: the mode before, and how many networks' blocks they are in."""


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Batch norm and dropout in evaluation mode inside the block.

    After it, also after an error, all parameters and buffers are the ones that they were and have their values,
    each module has its own mode again, and the global random state is as it was (PyTorch's, NumPy's and
    Python's): a network that draws random numbers draws the same ones the next time.

    Blocks may be nested, and be open in several threads at once; the last one to end puts back. A block inside
    another one finds the network as the first such block found it: so an image is not asked of a network that other
    images have changed. A network must not be trained while a block is open.

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
    """What is known of a network while blocks are open for it.

    Attributes:
        blocks: how many are open.
        used: whether one has ended since: then the network may have changed.
        inside: what it remembers in evaluation mode. Some networks change their weights when they change their mode
            (LoRA adds its factors to them).
    """

    def __init__(self, model: nn.Module):
        self.model, self.blocks, self.used = model, 0, False
        self.modules = list(model.modules())
        self.before = self.inside = SavedState(model)
        self.attributes: list[tuple[nn.Module, dict]] = []
        for module in self.modules:
            _modes.setdefault(id(module), [module.training, 0])[1] += 1

    def to_evaluation(self) -> None:
        """As it was in the first block; also if the network's own forward has changed the mode since."""
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
        """Weights, buffers, modes; and the attributes that the change of mode has changed."""
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
    """The attributes that have another value now, with the one from before."""
    now = module.__dict__
    return {
        name: value
        for name, value in before.items()
        if name != "training" and now.get(name) is not value
    }


@contextmanager
def restored_attributes(model: nn.Module) -> Iterator[None]:
    """What the block sets as attributes of the modules, or puts into their lists, dicts and sets, is taken back.

    For runs that are only traced: a module that caches a mask would keep a tensor without values.
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
    """The random state is put back.

    Outside the main thread (in the explorer) this happens only if a PyTorch operation of the thread drew numbers; draws
    from NumPy or Python alone are not noticed. Otherwise another thread that draws meanwhile would get the same numbers twice.
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


class _Drawing(TorchDispatchMode):
    """Sees whether an operation of this thread draws random numbers."""

    drew = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.drew = True
        return func(*args, **(kwargs or {}))


def _random_state() -> tuple:
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    numpy_state = np.random.get_state()  # noqa: NPY002 (the global one is what a network may use)
    return torch.get_rng_state(), gpus, numpy_state, random.getstate()


def _set_random_state(state: tuple) -> None:
    cpu, gpus, numpy_state, python = state
    torch.set_rng_state(cpu)
    if gpus is not None:
        torch.cuda.set_rng_state_all(gpus)
    np.random.set_state(numpy_state)  # noqa: NPY002
    random.setstate(python)
