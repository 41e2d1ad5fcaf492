"""Save and restore the parameters and buffers of a network.

A forward pass can change them in many ways: batch norm updates its statistics,
`weight.data.clamp_()` is hidden from autograd, code assigns to a buffer or to `.data`, and NumPy
writes to shared memory. Only a comparison of the bytes detects all of these, so the bytes are
copied before and compared after. Tensors that have not changed are not written, so their version
counters stay the same.

The cost is one copy of the weights, one pass over memory to copy them, and one to compare them.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from gcnlab.annotations import Tensor

CHUNK = 1 << 18
"""Bytes compared at once on the CPU; a larger tensor is compared alone."""
DEVICE_CHUNK = 1 << 26
"""Bytes compared at once on other devices, where each comparison waits for the device."""


class SavedState:
    """A copy of the parameters and buffers of a network.

    Tensors that are plain attributes are not included; PyTorch does not move or save them either.

    Raises:
        ValueError: the network has lazy layers that have never run, so they have no weights yet.
    """

    def __init__(self, model: nn.Module):
        self._places = [
            (holder, dict(holder.items()))
            for module in model.modules()
            for holder in (module._parameters, module._buffers)
            if len(holder)
        ]
        tensors = {id(t): t for _, held in self._places for t in held.values() if t is not None}
        if any(is_lazy(tensor) for tensor in tensors.values()):
            raise ValueError(
                f"{type(model).__name__} has lazy layers that have no weights yet: run it once on an image first"
            )
        real = [tensor for tensor in tensors.values() if not tensor.is_meta]
        plain = [tensor for tensor in real if _is_plain(tensor)]
        self._aliases = [(tensor, tensor.detach()) for tensor in plain]
        self._others = [(t, t.detach().clone()) for t in real if not _is_plain(t)]
        self._chunks = [_Chunk(parts) for parts in _chunks(_memory_of(plain))]

    def restore(self) -> None:
        """Restore all tensors to their places and values."""
        for holder, held in self._places:
            _restore_places(holder, held)
        with torch.inference_mode():  # allows writing to inference tensors and to weights
            for tensor, alias in self._aliases:
                if not tensor.is_set_to(alias):
                    tensor.data = alias
            for chunk in self._chunks:
                chunk.restore()
            for tensor, value in self._others:
                if not _equal(tensor, value):
                    tensor.copy_(value)


class _Chunk:
    """Some blocks of memory and a copy of them."""

    def __init__(self, parts: list[Tensor]):
        self.parts = parts
        self.value = torch.cat(parts)

    def restore(self) -> None:
        now = self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts)
        if not _same_bytes(now, self.value):
            values = self.value.split([part.numel() for part in self.parts])
            for part, value in zip(self.parts, values):
                part.copy_(value)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has its own dense memory: it is neither sparse nor a wrapper of other
    tensors.
    """
    return tensor.layout == torch.strided and not is_traceable_wrapper_subclass(tensor)


def _memory_of(tensors: list[Tensor]) -> Iterator[Tensor]:
    """The memory of tensors as bytes, each block once: tied weights and views share memory."""
    seen = set()
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.nbytes() and storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            yield torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)


def _chunks(parts: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    """Group neighbouring blocks of memory on one device, to compare each group at once."""
    chunk: list[Tensor] = []
    size = 0
    for part in parts:
        most = CHUNK if part.device.type == "cpu" else DEVICE_CHUNK
        if chunk and (chunk[0].device != part.device or size + part.numel() > most):
            yield chunk
            chunk, size = [], 0
        chunk.append(part)
        size += part.numel()
    if chunk:
        yield chunk


def _same_bytes(a: Tensor, b: Tensor) -> bool:
    if a.numel() % 8 == 0:  # compare eight bytes at a time
        a, b = a.view(torch.int64), b.view(torch.int64)
    return torch.equal(a, b)


def _equal(a: Tensor, b: Tensor) -> bool:
    try:
        return torch.equal(a, b)
    except (NotImplementedError, RuntimeError):
        return False  # not implemented for this layout: write the value


def _restore_places(holder, held: dict) -> None:
    if list(holder.keys()) == list(held) and all(
        now is before for now, before in zip(holder.values(), held.values())
    ):
        return
    if isinstance(holder, dict):
        holder.clear()
        holder.update(held)
    else:  # of TorchScript: its names are fixed
        for name, tensor in held.items():
            holder[name] = tensor
