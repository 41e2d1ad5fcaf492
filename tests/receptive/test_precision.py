"""Every tool computes in full single precision: TF32, which PyTorch allows for convolutions on a GPU, is
off while the network or its graph runs. On a GPU with TF32, exact and plain fields differ by 2 %."""

import pytest
import torch
from torch import nn

from gcnlab.receptive import (
    FieldAtlas,
    HiddenLayer,
    captum_occlusion,
    gradient_field,
    integrated_gradients,
    valid_field,
)
from gcnlab.receptive.incremental import IncrementalNet

SWITCHES = torch.backends.cuda.matmul, torch.backends.cudnn
IMAGE = torch.randn(3, 24, 32, generator=torch.Generator().manual_seed(0))


def allowed():
    return any(switch.allow_tf32 for switch in SWITCHES)


@pytest.fixture
def seen(monkeypatch):
    """Whether TF32 was allowed, each time that operations of a graph were run; the user allows it."""
    before = [switch.allow_tf32 for switch in SWITCHES]
    for switch in SWITCHES:
        switch.allow_tf32 = True
    found = []
    for name in ("_run", "_run_clean"):
        original = getattr(IncrementalNet, name)

        def watched(self, *arguments, original=original):
            found.append(allowed())
            return original(self, *arguments)

        monkeypatch.setattr(IncrementalNet, name, watched)
    yield found
    assert allowed(), "the user's setting was not put back"
    for switch, value in zip(SWITCHES, before):
        switch.allow_tf32 = value


class Watching(nn.Module):
    """A network that records whether TF32 was allowed when it was run."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))

    def forward(self, images):
        self.seen.append(allowed())
        return self.layers(images)


@pytest.mark.parametrize(
    "tool",
    [
        lambda net: valid_field(net, IMAGE, (5, 5), window=8, stride=4),
        lambda net: valid_field(net, IMAGE, (5, 5), window=8, stride=4, method="plain"),
        lambda net: valid_field(HiddenLayer(net, "layers.0"), IMAGE, (5, 5), window=8, stride=4),
        lambda net: FieldAtlas(net, IMAGE, window=8, stride=4).build(),
        lambda net: FieldAtlas(net, IMAGE, window=8, stride=4, reuse=False).build(),
        lambda net: gradient_field(net, IMAGE, (5, 5)),
        lambda net: integrated_gradients(net, IMAGE, (5, 5)),
        lambda net: captum_occlusion(net, IMAGE, (5, 5), window=8, stride=4),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_tf32_is_off_while_a_tool_runs(seen, tool, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        tool(Watching(seen))
    finally:
        torch.set_num_threads(before)
    # The capture and the export of a graph run the network, but their values are not used.
    assert seen
    assert seen.count(True) <= 2


def test_it_is_put_back_after_an_error(seen):
    with pytest.raises(ValueError, match="outside"):
        gradient_field(Watching(seen), IMAGE, (99, 5))
