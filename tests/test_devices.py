"""The precision of a GPU is set inside a block only."""

import threading

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


def test_the_last_block_of_several_threads_sets_the_switches_back(switches):
    write, read = switches
    write((True, True))
    first_is_open, second_is_open, first_has_ended = (threading.Event() for _ in range(3))
    inside = []

    def second():
        first_is_open.wait(10)
        with without_tf32():
            second_is_open.set()
            first_has_ended.wait(10)
            inside.append(read())

    thread = threading.Thread(target=second)
    thread.start()
    with without_tf32():
        with without_tf32():
            first_is_open.set()
            second_is_open.wait(10)
        inside.append(read())
    first_has_ended.set()
    thread.join()
    assert inside == [(False, False), (False, False)]
    assert read() == (True, True)
