"""A graph from one pass: it equals the export's, and the pass gives up where it might not."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gcnlab.receptive.graph
from gcnlab.models import SegmentationNet
from gcnlab.models.logits import logits_of
from gcnlab.models.modes import evaluation_mode, restored_attributes
from gcnlab.receptive.capture import capture
from gcnlab.receptive.graph import Graph, NotTraceable
from gcnlab.receptive.nodes import evaluate
from gcnlab.receptive.recorder import Unclear
from tests.receptive.networks import random_network
from tests.receptive.others import OTHERS, build

SIZE = (1, 3, 12, 15)


class Network(nn.Module):
    """A network that computes `function(self, image)`."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function, self.kept = function, None
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, x):
        return self.function(self, x)


def captured(net: nn.Module, image: torch.Tensor):
    with evaluation_mode(net), restored_attributes(net):
        return capture(net, image)


def exported_graph(net: nn.Module, image: torch.Tensor, monkeypatch) -> Graph:
    with monkeypatch.context() as patch:
        patch.setattr(gcnlab.receptive.graph, "_captured", lambda model, image: None)
        return Graph(net, image)


def run(graph: Graph, image: torch.Tensor) -> torch.Tensor:
    values = {**graph.constants, graph.image: image}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operation in graph.operations:
            values[operation.node] = evaluate(operation.node, values)
    return values[graph.output]


def logits(net: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with evaluation_mode(net), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return logits_of(net, image)


def reads(axes: tuple | None, size: tuple[int, int]) -> list | None:
    """What each row and each column of an operation's result reads of its inputs."""
    return axes and [
        [axis.reads(i, i + 1) for i in range(n)] for pair in axes for axis, n in zip(pair, size)
    ]


def noise(*shape: int, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def no_export(model, image):
    raise AssertionError("the network was exported")


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("seed", range(40))
def test_computes_what_a_random_network_computes(seed, monkeypatch):
    monkeypatch.setattr(gcnlab.receptive.graph, "_exported", no_export)
    drawn = random_network(seed)
    graph = Graph(drawn.model, drawn.image[None])
    other = noise(1, *drawn.image.shape, dtype=drawn.image.dtype)
    assert torch.allclose(run(graph, other), logits(drawn.model, other), 1e-9, 1e-9, equal_nan=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("seed", range(12))
def test_knows_at_least_the_geometry_that_an_export_knows(seed, monkeypatch):
    """Of an operation in parts, a part may be local where the whole is not known to be."""
    drawn = random_network(seed)
    image = drawn.image[None]
    one, other = Graph(drawn.model, image), exported_graph(drawn.model, image, monkeypatch)
    assert one.unusable == other.unusable
    sizes = {operation.size for operation in other.operations if operation.local}
    assert {operation.size for operation in one.operations if operation.local} <= sizes | {
        operation.size for operation in other.operations
    }
    places = [
        {o.name.split(" ")[0] for o in graph.operations if not o.local} for graph in (one, other)
    ]
    assert places[0] <= places[1]


def test_writes_the_graph_of_an_export(monkeypatch):
    """The same operations, modules, sizes and axis maps; an export takes batch norm apart."""
    net = SegmentationNet("mini", 4, kernel_size=7).eval()
    image = torch.zeros(1, 3, 65, 97)

    def rows(graph: Graph) -> list:
        return [
            (
                o.name.replace("_native_batch_norm_legit_no_training", "batch_norm"),
                o.size,
                reads(o.axes, o.size),
            )
            for o in graph.operations
            if "getitem" not in str(o.node.target)
        ]

    assert rows(Graph(net, image)) == rows(exported_graph(net, image, monkeypatch))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_computes_what_other_networks_compute(name):
    net = build(name).double()
    size = 97 if "resnet" in name else 128
    image = noise(1, 3, size, size, dtype=torch.float64)
    try:
        graph = Graph(net, torch.zeros_like(image))
    except NotTraceable:
        return  # the plain method runs it; tests/receptive/test_others.py counts these
    assert torch.allclose(run(graph, image), logits(net, image), 1e-9, 1e-9)


def in_place(net, x):
    y = net.conv(x)
    same = y  # another name of the same tensor, which changes too
    y.relu_()
    y += x
    y.mul_(2).clamp_(max=3)
    return same + y


def input_in_place(net, x):
    return net.conv(x.mul_(2))


def counts_passes(net, x):
    net.passes += 1
    return net.conv(x) * net.passes


def fills_zeros(net, x):
    mask = torch.zeros_like(x)
    mask[:, :, 2:5] = 1
    return net.conv(x) * mask


def remembers_a_table(net, x):
    if net.kept is None:
        net.kept = torch.linspace(0, 1, x.shape[-1]).to(x)
    return net.conv(x) * net.kept


def fixed_control_flow(net, x):
    return net.conv(x) if x.shape[2] > 4 and net.conv.weight.sum() < 1e6 else x


def several_results(net, x):
    first, *_, last = net.conv(x).split(1, 1)
    values, places = net.conv(x).max(1, keepdim=True)
    return torch.cat([first, last, values + places], 1)


def half_precision(net, x):
    with torch.autocast("cpu", torch.bfloat16):
        return net.conv(x).float()


CLEAR = (in_place, input_in_place, counts_passes, fills_zeros, remembers_a_table, fixed_control_flow,
         several_results, half_precision)  # fmt: skip


@pytest.mark.parametrize("function", CLEAR)
def test_one_pass_is_enough(function, monkeypatch):
    monkeypatch.setattr(gcnlab.receptive.graph, "_exported", no_export)
    net, image = Network(function).eval(), noise(*SIZE)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = Graph(net, torch.zeros(SIZE))
    assert net.kept is None
    assert torch.allclose(run(graph, image), logits(net, image), atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def needs_a_value(net, x):
    return net.conv(x) * float(x.mean())


def branches(net, x):
    return net.conv(x) if x.mean() > 0 else x


def hides_the_branch(net, x):
    try:
        return net.conv(x) if x.mean() > 0 else x
    except Exception:
        return x


def shape_from_values(net, x):
    return net.conv(x) * x[x > 0].mean()


def count_from_values(net, x):
    return net.conv(x) * len(torch.where(x > 0)[0])


def reads_numpy(net, x):
    return net.conv(x) + torch.from_numpy(x.detach().numpy()).mean()


def reads_a_list(net, x):
    return net.conv(x) * x.flatten().tolist()[0]


def prints(net, x):
    return net.conv(x) + len(str(x))


def changes_a_part(net, x):
    y = net.conv(x)
    y[:, :, 2:4] = 0
    return y


def changes_a_view(net, x):
    y = net.conv(x)
    y.flatten(2).relu_()
    return y


def changes_under_a_view(net, x):
    y = net.conv(x)
    flat = y.flatten(2)
    y.relu_()
    return flat.view(x.shape)


def changes_hidden_memory(net, x):
    y = net.conv(x)
    y.data.relu_()
    return y


def replaces_memory(net, x):
    y = net.conv(x)
    y.data = x * 2
    return y


def fills_a_constant(net, x):
    y = torch.zeros(x.shape)
    y[:, :, 1:] = x[:, :, 1:]
    return net.conv(y)


def changes_a_constant_later(net, x):
    one = torch.ones(1)
    y = net.conv(x) + one
    one.add_(1)
    return y + one


def updates_statistics(net, x):
    return F.batch_norm(x, net.norm.running_mean, net.norm.running_var, training=True)


def writes_to_a_buffer(net, x):
    net.passes.copy_(x.mean())
    return net.conv(x) * net.passes


def draws(net, x):
    return net.conv(x) + torch.rand(1)


def keeps_a_tensor(net, x):
    if net.kept is None:
        net.kept = x.mean()
    return net.conv(x) * net.kept


def uses_autograd(net, x):
    with torch.enable_grad():
        own = x.clone().requires_grad_()
        own.square().sum().backward()
    return net.conv(x) + own.grad


def ignores_the_image(net, x):
    return net.conv(torch.ones(x.shape))


UNCLEAR = (needs_a_value, branches, hides_the_branch, shape_from_values, count_from_values, reads_numpy,
           reads_a_list, prints, changes_a_part, changes_a_view, changes_under_a_view,
           changes_hidden_memory, replaces_memory, fills_a_constant, changes_a_constant_later,
           updates_statistics, writes_to_a_buffer, draws, keeps_a_tensor, uses_autograd,
           ignores_the_image)  # fmt: skip


@pytest.mark.parametrize("function", UNCLEAR)
def test_gives_up_where_one_pass_is_not_enough(function):
    net = Network(function).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises((Unclear, RuntimeError, TypeError)):
        captured(net, torch.zeros(SIZE))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize("function", [changes_a_part, keeps_a_tensor, writes_to_a_buffer])
def test_an_unclear_network_is_exported(function):
    net, image = Network(function).eval(), noise(*SIZE)
    assert torch.allclose(run(Graph(net, image), image), logits(net, image), atol=1e-6)


@pytest.mark.parametrize("random", [draws, lambda net, x: F.dropout(net.conv(x), 0.5, True)])
def test_random_logits_are_refused(random):
    with pytest.raises(NotTraceable, match="draws random numbers"):
        Graph(Network(random).eval(), noise(*SIZE))


def test_a_tensor_that_is_kept_outside_of_the_network_gets_its_values():
    kept = {}

    def function(net, x):
        if "features" not in kept:
            kept["features"] = net.conv(x).relu_()
        return net.conv(x)

    net, image = Network(function).eval(), noise(*SIZE)
    with pytest.raises(Unclear, match="keeps a tensor"):
        captured(net, image)
    assert type(kept["features"]) is torch.Tensor
    assert torch.allclose(kept["features"], net.conv(image).relu(), atol=1e-6)


def test_features_that_a_hook_collects_have_values():
    features = []
    net, image = Network(lambda net, x: net.conv(x)).eval(), noise(*SIZE)
    net.conv.register_forward_hook(lambda module, inputs, output: features.append(output))
    graph = Graph(net, image)
    assert torch.allclose(run(graph, image), features[-1].detach(), atol=1e-6)


def test_names_the_modules_of_an_operation():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)), nn.MaxPool2d(2))
    graph = Graph(net.eval(), torch.zeros(SIZE))
    assert [o.name for o in graph.operations][1:] == [
        "0.0 (conv2d)",
        "0.1 (relu)",
        "1 (max_pool2d)",
    ]


def test_keeps_no_activations_in_memory():
    graph = Graph(SegmentationNet("mini", 4).eval(), torch.zeros(1, 3, 64, 64))
    sizes = [o.node.meta["val"].untyped_storage().size() for o in graph.operations]
    assert max(sizes) <= 4


def test_the_first_field_does_not_load_the_compiler():
    """It takes several times as long as the field: `torch._dynamo`, SymPy and what they import."""
    program = """
import sys, threading, torch
from gcnlab.models import SegmentationNet
from gcnlab.receptive import valid_field
net = SegmentationNet("mini", 4).eval()
def field():
    valid_field(net, torch.zeros(3, 64, 64), (20, 20), 1, 32, 32)
thread = threading.Thread(target=field)  # as in the explorer
thread.start(); thread.join(); field()
print(sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
