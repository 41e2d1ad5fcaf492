"""Whatever a network does in its forward pass, the caller's network is not changed."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.evaluation import predict, score_map
from gcnlab.models.modes import evaluation_mode
from gcnlab.receptive import gradient_field

IMAGE = torch.rand(3, 6, 7, generator=torch.Generator().manual_seed(0)) + 0.5


class Restless(nn.Module):
    """A convolution with a side effect."""

    def __init__(self, deed):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()
        self.register_buffer("count", torch.zeros(()))
        self.deed = deed

    def forward(self, x):
        self.deed(self, x)
        return self.drop(self.norm(self.conv(x) + self.count))


def assign_buffer(net, x):
    net.count = net.count + 1


def functional_norm(net, x):
    F.batch_norm(net.conv(x), net.norm.running_mean, net.norm.running_var, training=True)


def assign_data(net, x):
    net.conv.weight.data = net.conv.weight.data.clamp(0, 0.1)


def numpy_write(net, x):
    net.conv.weight.detach().numpy()[0] = 0


def draw(net, x):
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002


DEEDS = {
    "works on the image in place": lambda net, x: x.sub_(0.5).div_(0.25),
    "counts in a buffer": lambda net, x: net.count.add_(1),
    "replaces a buffer": assign_buffer,
    "adds a buffer": lambda net, x: net.register_buffer("seen", x.mean()),
    "updates statistics by hand": functional_norm,
    "clamps its weights behind autograd's back": lambda net, x: net.conv.weight.data.clamp_(0, 0.1),
    "replaces its weights": assign_data,
    "writes through NumPy": numpy_write,
    "draws random numbers": draw,
    "trains itself": lambda net, x: net.train(),
}
CALLS = {
    "predict": lambda net, image: predict(net, image[None]),
    "score_map": lambda net, image: score_map(net, image[None]),
    "gradient_field": lambda net, image: gradient_field(net, image, (2, 3)),
}


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def randomness():
    return torch.get_rng_state().tolist(), np.random.get_state()[1:3], random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("call", CALLS)
def test_all_that_is_the_callers_is_as_before(call, deed):
    net, image = Restless(DEEDS[deed]).train(), IMAGE.clone()
    net.norm.eval()
    before, tensors = state(net), [*net.parameters(), *net.buffers()]
    modes, numbers = [m.training for m in net.modules()], randomness()
    CALLS[call](net, image)
    assert torch.equal(image, IMAGE)
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(a is b for a, b in zip(tensors, [*net.parameters(), *net.buffers()]))
    assert [m.training for m in net.modules()] == modes
    assert str(randomness()) == str(numbers)


def test_a_network_in_training_mode_is_asked_as_in_evaluation_mode():
    net = Restless(lambda net, x: None)
    expected = net.eval()(IMAGE[None]).argmax(1)
    assert torch.equal(predict(net.train(), IMAGE[None]), expected)
    assert torch.allclose(score_map(net, IMAGE[None]), net.eval()(IMAGE[None]).softmax(1))


def test_every_image_finds_the_network_that_the_first_one_found():
    """A counter that is added to the first class's score."""

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.count += 1
            return torch.stack([self.count.expand(x[:, 0].shape), x[:, 0] * 0 + 1.5], 1)

    assert predict(Counting(), torch.stack([IMAGE] * 4)).unique().tolist() == [1]
    net = Counting()
    with evaluation_mode(net):
        assert predict(net, IMAGE[None]).unique().tolist() == [1]
        assert predict(net, IMAGE[None]).unique().tolist() == [1]


@pytest.mark.parametrize("deed", ["counts in a buffer", "replaces its weights"])
def test_also_after_an_error(deed):
    def fail(net, x):
        DEEDS[deed](net, x)
        raise KeyError("mine")

    net = Restless(fail).train()
    before = state(net)
    with pytest.raises(KeyError, match="mine"):
        predict(net, IMAGE[None])
    assert net.training
    assert net.norm.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_what_did_not_change_keeps_its_version():
    """An autograd graph made before can still run its backward pass."""
    net = Restless(lambda net, x: net.count.add_(1)).eval()
    loss, version = net(IMAGE[None]).sum(), net.conv.weight._version
    predict(net, IMAGE[None])
    loss.backward()
    assert net.conv.weight._version == version


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    net[1].weight = net[0].weight
    with evaluation_mode(net):
        net[0].weight.data.zero_()
    assert net[0].weight is net[1].weight
    assert net[0].weight.abs().sum() > 0


def test_blocks_of_two_threads_overlap():
    """The one that began first ends first: the other is still in evaluation mode, and the last puts back."""
    net = Restless(lambda net, x: None).train()
    entered, leave = threading.Event(), threading.Event()
    seen = []

    def work():
        with evaluation_mode(net):
            net.count.add_(1)
            entered.set()
            leave.wait(10)
            seen.append(net.drop.training)

    thread = threading.Thread(target=work)
    with evaluation_mode(net):
        thread.start()
        entered.wait(10)
    leave.set()
    thread.join()
    assert seen == [False]
    assert net.training
    assert net.drop.training
    assert net.count == 0


class Merging(nn.Conv2d):
    """As LoRA does: in evaluation mode the factor is part of the weight."""

    def __init__(self):
        super().__init__(3, 2, 1)
        self.merged = False

    def train(self, mode=True):
        if mode == self.merged:
            self.weight.data += -1 if mode else 1
            self.merged = not mode
        return super().train(mode)


def test_weights_that_change_with_the_mode():
    net = Merging()
    before = net.weight.detach().clone()
    expected = F.conv2d(IMAGE[None], before + 1, net.bias).argmax(1)
    assert torch.equal(predict(net, torch.stack([IMAGE, IMAGE]))[1], expected[0])
    assert torch.equal(net.weight, before)
    assert not net.merged


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_torchscript_sparse_and_inference_tensors():
    net = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    assert predict(net, IMAGE[None]).shape == (1, 6, 7)
    assert net.training
    sparse = nn.Conv2d(3, 4, 1)
    sparse.register_buffer("graph", torch.eye(3).to_sparse())
    with evaluation_mode(sparse):
        sparse.graph._values().zero_()
    assert sparse.graph.to_dense().sum() == 3
    with torch.inference_mode():
        made = nn.Conv2d(3, 4, 1)
    with evaluation_mode(made), torch.inference_mode():
        made.weight.zero_()
    with torch.no_grad():
        assert made.weight.count_nonzero() == 12


def test_a_network_on_no_device_is_left_alone():
    with evaluation_mode(nn.Conv2d(3, 4, 1, device="meta").train()) as net:
        assert not net.training
    assert net.training


def test_it_still_learns_afterwards():
    """Tensors that a network caches can still be used by autograd."""

    class Caching(nn.Conv2d):
        grid = None

        def forward(self, x):
            self.grid = torch.ones_like(x) if self.grid is None else self.grid
            return super().forward(x * self.grid)

    net = Caching(3, 4, 1)
    maps = score_map(net, IMAGE[None])
    maps *= 2  # the caller's own
    net(IMAGE[None]).sum().backward()
    assert net.weight.grad is not None
