"""NumPy integers are accepted as integers; other values end in an error that names them."""

import json
from inspect import unwrap

import numpy as np
import pytest
import torch
from torch import nn

from gcnlab.arguments import class_of, finite, flag, number, pair, pixel_of, whole
from gcnlab.models import SegmentationNet, build_classifier, make_head
from gcnlab.receptive import gradient_field
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.regions import centred, mean_field
from gcnlab.training import DataConfig, Execution, ModelConfig, RunConfig, TrainingConfig

NUMPYS = [np.int64(3), np.int32(3), np.uint8(3), np.array(3), torch.tensor(3)]


def made(cls, **values):
    """Create an instance without the tests' type checker, which would reject NumPy's numbers."""
    settings = object.__new__(cls)
    unwrap(cls.__init__)(settings, **values)
    return settings


@pytest.mark.parametrize("three", NUMPYS)
def test_numpys_whole_numbers_are_taken_wherever_a_number_is(three):
    assert type(whole("k", three)) is int
    assert make_head("conv", three, three, three).weight.shape == (3, 3, 3, 3)
    assert build_classifier("mini", three).fc.out_features == 3
    net = SegmentationNet("mini", three, kernel_size=three)
    assert net.num_classes == 3
    assert type(net.num_classes) is int
    windows = OcclusionGrid((8, 8), three, (three, three))
    assert windows.window == windows.stride == (3, 3)
    field = gradient_field(nn.Conv2d(3, 4, 1), torch.randn(3, 6, 6), (three, three), three)
    assert field.nonzero().tolist() == [[3, 3]]
    assert centred(field, (three, three), three).shape == (7, 7)
    assert mean_field([(field, (three, three))], three).shape == (7, 7)


def test_one_k_per_level_may_be_an_array():
    for sizes in ([3, 5, 7, 9], (3, 5, 7, 9), np.array([3, 5, 7, 9])):
        net = SegmentationNet("mini", 2, "conv", kernel_size=sizes)
        assert [head.kernel_size[0] for head in net.heads] == [3, 5, 7, 9]


def test_settings_hold_plain_numbers():
    data = made(DataConfig, image_size=np.int64(64), crop=[np.int32(32), 48], scale=np.ones(2))
    training = made(TrainingConfig, epochs=np.int64(2), learning_rate=np.float32(0.5), power=1)
    model = made(ModelConfig, kernel_size=np.array([3, 5, 7, 9]), refine=np.bool_(False))
    config = RunConfig(model, data, training)
    assert (data.crop, data.scale, model.kernel_size) == ((32, 48), (1.0, 1.0), (3, 5, 7, 9))
    assert model.refine is False
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("value", [True, False, np.bool_(True), torch.tensor(True), 3.0, 2.5, "3"])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(ValueError, match=r"^k must be a whole number, not "):
        whole("k", value)
    for make in (
        lambda: make_head("gcn", 4, value),
        lambda: SegmentationNet("mini", value),
        lambda: OcclusionGrid((8, 8), value, 1),
        lambda: OcclusionGrid((8, 8), (4, value), 1),
        lambda: gradient_field(nn.Conv2d(3, 2, 1), torch.zeros(3, 4, 4), (0, value)),
        lambda: gradient_field(nn.Conv2d(3, 2, 1), torch.zeros(3, 4, 4), (0, 0), value),
        lambda: made(TrainingConfig, epochs=value),
        lambda: made(Execution, keep=value),
    ):
        with pytest.raises(ValueError, match=r"must be|target"):
            make()


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2), torch.tensor(2.0)])
def test_a_finite_number_becomes_a_float(value):
    found = finite("size", value, 2)
    assert (type(found), found) == (float, 2.0)
    with pytest.raises(ValueError, match=r"^size must be at least 3, not 2$"):
        finite("size", value, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 10**400, torch.tensor(np.nan)])
def test_what_is_not_finite_is_named(value):
    with pytest.raises(ValueError, match=r"^size must be a finite number, not "):
        finite("size", value)


def test_numbers_flags_pairs_and_pixels():
    assert number("rate", np.float32(0.5)) == 0.5
    assert number("rate", 2) == 2
    assert flag("refine", np.bool_(True)) is True
    assert pair("window", 4) == pair("window", [4, 4]) == (4, 4)
    assert pixel_of(torch.tensor([2, 3])) == pixel_of([np.int8(2), 3]) == (2, 3)
    assert class_of(np.uint8(2), 3) == 2
    for call in (
        lambda: number("x", True),
        lambda: finite("x", True),
        lambda: finite("x", "1"),
        lambda: finite("x", None),
        lambda: number("x", "1"),
        lambda: flag("x", 1),
        lambda: flag("x", "no"),
        lambda: pair("x", (1, 2, 3)),
        lambda: pixel_of(3),
        lambda: pixel_of("ab"),
        lambda: pixel_of((1, 2, 3)),
        lambda: class_of("disc", 3),
        lambda: class_of(-1, 3),
    ):
        with pytest.raises(ValueError, match=r"x must|pixel must|target"):
            call()
