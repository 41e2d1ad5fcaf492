"""The benchmark compares like with like, counts right, and writes what it says."""

import json
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg

from benchmarks import train
from benchmarks.head_cost import HeadCostBenchmark, Heads, plot_head_cost
from benchmarks.infer import InferBenchmark
from benchmarks.memory import peak_mb, peak_mb_of
from benchmarks.plain import PlainNet
from benchmarks.throughput import Throughput
from benchmarks.timing import compare, shares, tf32_as_convolutions
from benchmarks.train import TrainBenchmark, training_steps
from gcnlab.experiments.network_cost import count_operations
from gcnlab.models import SegmentationNet

pytestmark = pytest.mark.slow


def test_the_plain_network_is_the_same_network():
    ours = SegmentationNet("resnet18", 5, kernel_size=7, upsample="bilinear").eval()
    plain = PlainNet(5, 7, "resnet18").eval()
    for parameter in ours.parameters():  # refinements start at zero
        parameter.data += 0.01 * torch.randn(parameter.shape)
    plain.stem[0].load_state_dict(ours.backbone.conv1.state_dict())
    plain.stem[1].load_state_dict(ours.backbone.bn1.state_dict())
    for number, stage in enumerate(plain.stages, start=1):
        stage.load_state_dict(getattr(ours.backbone, f"layer{number}").state_dict())
    for theirs, head in zip(plain.gcn, ours.heads):
        theirs.left1.weight, theirs.left2.weight = (c.weight for c in head.branch_a)
        theirs.right1.weight, theirs.right2.weight = (c.weight for c in head.branch_b)
    refinements = [*ours.refine_heads, *ours.refine_sums, *ours.refine_outputs]
    for theirs, refine in zip(plain.refine, refinements, strict=True):
        theirs.conv1.weight, theirs.conv2.weight = (
            refine.residual[0].weight,
            refine.residual[2].weight,
        )
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(plain(images), ours(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("k", [3, 7])
def test_operations_are_those_of_the_formula(k):
    def count(kind, backward):
        features = lambda: [torch.empty(1, 8, 10, 12, requires_grad=True)]  # noqa: E731
        return count_operations(lambda: Heads(kind, k, (8,)), features, backward)

    places, n = 10 * 12, 21
    gcn = 2 * places * 2 * k * (8 + n) * n  # two operations a multiply-add
    dense = 2 * places * k * k * 8 * n
    assert count("gcn", False) == gcn
    assert count("conv", False) == dense
    assert count("gcn", True) == 3 * gcn  # gradients of the input and of the weights
    assert count("conv", True) == 3 * dense


def test_ratios_are_those_of_the_medians():
    table = compare({"plain": [4.0, 1.0, 2.0], "gcnlab": [1.0, 1.0, 9.0]}, images=8)
    assert table["plain"] == {"images_per_second": 4.0, "times_plain": 1.0}
    assert table["gcnlab"] == {"images_per_second": 8.0, "times_plain": 2.0}


def event(key, device_type=DeviceType.CPU, annotation=False, cpu=0.0, device=0.0):
    found = FunctionEventAvg()
    found.key, found.device_type, found.is_user_annotation = key, device_type, annotation
    found.self_cpu_time_total, found.self_device_time_total = cpu, device
    return found


EVENTS = [
    event("aten::cudnn_convolution", cpu=10.0, device=60.0),
    event("sm90_xmma_fprop_implicit_gemm", DeviceType.CUDA, device=60.0),
    event("aten::_fused_sgd_", cpu=4.0, device=20.0),
    event("multi_tensor_apply_kernel", DeviceType.CUDA, device=20.0),
    event("Optimizer.step#SGD.step", annotation=True, cpu=6.0, device=20.0),
    event("Optimizer.step#SGD.step", DeviceType.CUDA, annotation=True, device=20.0),
    event("cudaLaunchKernel", cpu=20.0),
]
"""80 µs of a GPU: a convolution of 60, and an optimiser of 20."""


def test_time_on_a_gpu_is_counted_once():
    found = {part: share for part, share in shares(EVENTS, wall=100.0).items() if share}
    assert found == pytest.approx({"convolutions": 0.6, "optimiser": 0.2, "idle": 0.2})
    assert shares(EVENTS, wall=50.0)["idle"] == pytest.approx(0)  # streams side by side


def test_time_on_a_cpu_is_all_events_own():
    found = {part: share for part, share in shares(EVENTS).items() if share}
    assert found == pytest.approx({"convolutions": 0.25, "optimiser": 0.25, "the rest": 0.5})


@pytest.fixture
def rules():
    """PyTorch's switches of TF32, for convolutions and for matrix products; put back afterwards."""
    convolutions, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, matmul.allow_tf32
    yield convolutions, matmul
    convolutions.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize("allowed", [True, False])
def test_a_gpus_peak_in_fp32_follows_the_rule_of_its_convolutions(rules, allowed):
    convolutions, matmul = rules
    convolutions.allow_tf32, matmul.allow_tf32 = allowed, not allowed
    with tf32_as_convolutions(torch.device("cuda")):
        assert matmul.allow_tf32 == allowed
    assert matmul.allow_tf32 != allowed
    with tf32_as_convolutions(torch.device("cpu")):
        assert matmul.allow_tf32 != allowed


def test_only_our_step_searches_the_fastest_algorithms(monkeypatch):
    seen = []

    def recorded(net):
        net.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))
        return net

    ours, plain = train.our_network, train.PlainNet
    monkeypatch.setattr(train, "our_network", lambda *given: recorded(ours(*given)))
    monkeypatch.setattr(train, "PlainNet", lambda *given: recorded(plain(*given)))
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(0, 21, (2, 64, 64))
    for step in training_steps(images, labels, "resnet18", compiled=False).values():
        step()
    assert seen == [False, True]
    assert not torch.backends.cudnn.benchmark


def test_a_peak_is_that_of_the_call():
    device = torch.device("cpu")
    kept = torch.ones(10, 1024, 1024)  # 40 MB that are there before
    assert 70 < peak_mb_of(lambda: torch.ones(20, 1024, 1024), device) < 100
    assert peak_mb_of(lambda: kept.sum(), device) < 20


@pytest.mark.parametrize(
    ("system", "taken"), [("darwin", 300 * 1024**2), ("freebsd14", 300 * 1024)]
)
def test_a_peak_without_proc_is_in_the_systems_unit(monkeypatch, system, taken):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=taken))
    assert peak_mb() == 300


def test_rounds_are_checked():
    with pytest.raises(ValueError, match="--rounds must be at least 1"):
        Throughput(rounds=0)


@pytest.mark.parametrize("benchmark", [TrainBenchmark, InferBenchmark])
def test_a_tiny_benchmark_writes_what_it_measured(tmp_path, benchmark, capsys):
    path = tmp_path / "bench.json"
    benchmark(path, "cpu", compiled=False, size=64, rounds=1, backbone="resnet18")()
    record = json.loads(path.read_text())
    assert set(record["variants"]) == {"plain", "gcnlab"}
    for name, row in record["variants"].items():
        (seconds,) = record["seconds_all_rounds"][name]
        assert row["images_per_second"] == pytest.approx(1 / seconds)
        achieved = record["operations_per_image"] * row["images_per_second"]
        peak = record["matrix_peak"]["float32" if name == "plain" else record["precision"]]
        assert row["share_of_peak"] == pytest.approx(achieved / peak)
        assert sum(row["time_in"].values()) == pytest.approx(1)
        assert row["time_in"]["convolutions"] > 0.1
    assert record["provenance"]["threads"] >= 1
    assert "images/s" in capsys.readouterr().out


def test_cost_against_k_and_its_figure(tmp_path):
    path = tmp_path / "cost.json"
    settings = HeadCostBenchmark(path, "cpu", (3, 5, 9), 64, channels=(8, 8, 8, 8), rounds=1)
    result = settings()
    written = json.loads(path.read_text())
    assert [row["k"] for row in written["rows"]] == [3, 5, 9, 3, 5, 9]
    operations = np.array([row["operations"] for row in written["rows"]], float)
    k = np.array([3, 5, 9])
    np.testing.assert_allclose(operations[:3] / operations[0], k / 3)
    np.testing.assert_allclose(operations[3:] / operations[3], (k / 3) ** 2)
    figure = plot_head_cost(result)
    for axis, key in zip(figure.axes, ("seconds", "memory_mb"), strict=True):
        drawn = [line.get_ydata() for line in axis.get_lines() if line.get_linestyle() == "None"]
        measured = [
            [row[key] for row in result["rows"] if row["kind"] == kind] for kind in ("gcn", "conv")
        ]
        np.testing.assert_array_equal(drawn, measured)
