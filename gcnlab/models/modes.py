"""Run a network in evaluation mode, and leave everything as it was.

A network may do in its forward what it likes: count in a buffer, clamp its weights, draw random numbers.
What it changes is put back, so that asking for scores changes nothing that the caller has.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

_held = threading.local()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Batch norm and dropout in evaluation mode inside the block.

    After it, each module has its own mode again, all parameters and buffers have their values, and the random
    state is as it was (PyTorch's, NumPy's and Python's). Blocks may be nested: the outermost one puts back.
    """
    models = _held.__dict__.setdefault("models", set())
    if id(model) in models:
        yield model
        return
    modes = {module: module.training for module in model.modules()}
    models.add(id(model))
    try:
        with _tensors_kept(model), _random_state_kept():
            model.eval()
            yield model
    finally:
        models.discard(id(model))
        for module, training in modes.items():
            module.training = training


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """What the block sets as attributes of the modules is taken back after it.

    For runs that are only traced: a module that caches a mask would keep a tensor without values.
    """
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)


@contextmanager
def _tensors_kept(model: nn.Module) -> Iterator[None]:
    """Parameters and buffers keep their places and values."""
    places = [
        (holder, dict(holder))
        for module in model.modules()
        for holder in (module._parameters, module._buffers)
    ]
    tensors = {
        tensor: tensor.detach().clone()
        for _, held in places
        for tensor in held.values()
        if tensor is not None and not is_lazy(tensor)
    }
    try:
        yield
    finally:
        for holder, held in places:
            if any(is_lazy(tensor) for tensor in held.values() if tensor is not None):
                continue  # the first run gives it its shape
            holder.clear()
            holder.update(held)
        with torch.no_grad():
            for tensor, value in tensors.items():
                if not torch.equal(tensor, value):
                    tensor.copy_(value)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """The random state is put back.

    In a thread of its own (the explorer's) only if that thread drew numbers: another thread may draw meanwhile, and
    would get the same numbers twice.
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
