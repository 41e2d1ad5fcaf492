"""Measure speed: clocks, alternating rounds, the device's peak, a breakdown of the time.

On a CPU everything runs on one thread, and the clock is the processor time of this process, which
other programs on the machine disturb little. On a GPU it is the wall clock, and the device is
synchronised before each reading.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg

PARTS = {
    "optimiser": ("foreach", "fused_sgd", "fused_adam", "Optimizer", "linalg_vector_norm"),
    "convolutions": ("conv", "gemm", "aten::mm", "aten::addmm", "aten::bmm"),
    "batch norm": ("batch_norm",),
    "generated code": ("fused", "CompiledFunction", "Torch-Compiled", "graph_"),
}
"""Part of the time → words in operator names. An operator counts for the first part that matches,
else for "the rest"."""


@contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """On a CPU, use one thread inside the block."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Mean duration of `repeats` calls, in seconds."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    _synchronize(device)
    begun = clock()
    for _ in range(repeats):
        work()
    _synchronize(device)
    return (clock() - begun) / repeats


def alternate(
    works: dict[str, Callable[[], object]], device: torch.device, rounds: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds per call of each work, round by round, after one warm-up call; the works take
    turns."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work, device, repeats))
    return times


def compare(times: dict[str, list[float]], images: int, base: str = "plain") -> dict[str, dict]:
    """Images per second of each variant, and the ratio to `base`; both from the medians."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        name: {"images_per_second": images / value, "times_plain": medians[base] / value}
        for name, value in medians.items()
    }


def matrix_peak(device: torch.device, dtype: torch.dtype, rounds: int = 5) -> float:
    """Floating-point operations per second of a large matrix product: the best of `rounds`."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    with tf32_as_convolutions(device):
        a @ b
        return 2 * n**3 / min(seconds(lambda: a @ b, device, 3) for _ in range(rounds))


@contextmanager
def tf32_as_convolutions(device: torch.device) -> Iterator[None]:
    """On a GPU, let fp32 matrix products use TF32 inside the block if convolutions may use it.

    By default PyTorch allows TF32 for convolutions only, so a peak measured without it would not be
    the peak of convolutions.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    if device.type == "cuda":
        matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        if device.type == "cuda":
            matmul.allow_tf32 = before


def breakdown(work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Shares of the time of one call, by `PARTS`. On a GPU these are shares of the device's time,
    and "idle" is one of them."""
    on_gpu = device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    work()
    _synchronize(device)
    with torch.profiler.profile(activities=kinds) as profile:
        begun = time.perf_counter()
        work()
        _synchronize(device)
        wall = 1e6 * (time.perf_counter() - begun)
    return shares(profile.key_averages(), wall if on_gpu else None)


def shares(events: Iterable[FunctionEventAvg], wall: float | None = None) -> dict[str, float]:
    """Shares of the events' time, by `PARTS`.

    The profiler lists a GPU kernel as an event in addition to the operator that launched it, and an
    annotation (a step of the optimiser) spans its kernels on both devices. The device's time is
    therefore the sum over the operators only.

    Args:
        wall: wall time of the call in microseconds, on a GPU; the time that no operator used is
            "idle". None: the events are those of a CPU.
    """
    parts = dict.fromkeys((*PARTS, "the rest"), 0.0)
    for event in events:
        part = next((p for p, words in PARTS.items() if any(w in event.key for w in words)), None)
        if wall is None:
            parts[part or "the rest"] += event.self_cpu_time_total
        elif event.device_type == DeviceType.CPU and not event.is_user_annotation:
            parts[part or "the rest"] += event.self_device_time_total
    whole = sum(parts.values()) if wall is None else max(wall, sum(parts.values()))
    found = {part: value / whole for part, value in parts.items()}
    if wall is not None:
        found["idle"] = 1 - sum(found.values())
    return found


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
