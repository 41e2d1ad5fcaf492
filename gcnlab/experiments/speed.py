"""Measuring speed: clocks, alternating rounds, the device's peak, where a step's time goes.

On a CPU everything runs on one thread and the clock is the processor time of this process, which another program on
the machine disturbs little; on a GPU it is the wall clock, with the device waited for.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.utils.flop_counter import FlopCounterMode

PARTS = {
    "optimiser": ("foreach", "fused_sgd", "fused_adam", "Optimizer", "linalg_vector_norm"),
    "convolutions": ("conv", "gemm", "aten::mm", "aten::addmm", "aten::bmm"),
    "batch norm": ("batch_norm",),
    "generated code": ("fused", "CompiledFunction", "Torch-Compiled", "graph_"),
}
"""Where time goes, by words in the names of operators; the first that fits, else "the rest"."""


@contextmanager
def measured_alone(device: torch.device) -> Iterator[None]:
    """One thread inside the block, on a CPU."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Of one call, as the mean of `repeats` calls."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    _wait(device)
    begun = clock()
    for _ in range(repeats):
        work()
    _wait(device)
    return (clock() - begun) / repeats


def alternate(
    works: dict[str, Callable[[], object]], device: torch.device, rounds: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each, round by round, after a call that warms up."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work, device, repeats))
    return times


def compare(times: dict[str, list[float]], images: int, base: str = "plain") -> dict[str, dict]:
    """Images per second of each, and how many times that of `base`, both by medians."""
    middle = {name: statistics.median(values) for name, values in times.items()}
    return {
        name: {"images_per_second": images / value, "times_plain": middle[base] / value}
        for name, value in middle.items()
    }


def matrix_peak(device: torch.device, dtype: torch.dtype, rounds: int = 5) -> float:
    """Floating-point operations a second of a large matrix product: the best of a few."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    with products_as_convolutions(device):
        a @ b
        return 2 * n**3 / min(seconds(lambda: a @ b, device, 3) for _ in range(rounds))


@contextmanager
def products_as_convolutions(device: torch.device) -> Iterator[None]:
    """On a GPU, matrix products of fp32 inside the block may use TF32 if convolutions may: PyTorch allows it to these
    alone, and a peak without it would not be the convolutions'."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    if device.type == "cuda":
        matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        if device.type == "cuda":
            matmul.allow_tf32 = before


def operations(build: Callable[[], nn.Module], inputs: Callable[[], object], backward: bool) -> int:
    """Floating-point operations of convolutions and matrix products in one pass.

    Nothing is computed: what `build` and `inputs` make has shapes alone.
    """
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):
        model, given = build(), inputs()
        with counter:
            outputs = model(given)
            if backward:
                maps = outputs if isinstance(outputs, list) else [outputs]
                torch.autograd.backward([scores.sum() for scores in maps])
    return counter.get_total_flops()


def breakdown(work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Shares of the time of one call, by `PARTS`; on a GPU the device's time, and with it its idle share."""
    on_gpu = device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    work()
    _wait(device)
    with torch.profiler.profile(activities=kinds) as profile:
        begun = time.perf_counter()
        work()
        _wait(device)
        wall = 1e6 * (time.perf_counter() - begun)
    return shares(profile.key_averages(), wall if on_gpu else None)


def shares(events: Iterable[FunctionEventAvg], wall: float | None = None) -> dict[str, float]:
    """Shares of the events' time, by `PARTS`.

    A GPU's kernels are events of their own beside the operator that launched them, and an annotation (a step of the
    optimiser) spans the kernels under it on both devices: the device's time is that of the operators alone.

    Args:
        wall: microseconds that a GPU was waited for: its time is counted then, and "idle" is what is left of these.
            None counts a CPU's.
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


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
