"""The precision of a GPU is set inside a block only."""

import pytest
import torch

from gcnlab.devices import without_tf32

SWITCHES = torch.backends.cuda.matmul, torch.backends.cudnn


@pytest.fixture
def switches():
    """Functions to set and read PyTorch's switches of TF32; they are put back after the test."""
    before = [switch.allow_tf32 for switch in SWITCHES]

    def write(values):
        for switch, value in zip(SWITCHES, values):
            switch.allow_tf32 = value

    yield write, lambda: tuple(switch.allow_tf32 for switch in SWITCHES)
    write(before)


@pytest.mark.parametrize("before", [(True, False), (False, True), (True, True)])
def test_tf32_is_off_inside_the_block_and_back_after_an_error(before, switches):
    write, read = switches
    write(before)
    inside = []

    def fail():
        with without_tf32():
            inside.append(read())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (inside, read()) == ([(False, False)], before)
