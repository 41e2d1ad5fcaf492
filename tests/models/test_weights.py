import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gcnlab.models import build_backbone, build_classifier
from gcnlab.models.weights import read_state_dict, state_dict_in, without_prefixes


@pytest.fixture(scope="module")
def state():
    return build_classifier("mini", 3).state_dict()


def assert_loaded(backbone, state):
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "_orig_mod.",
        "model.",
        "backbone.",
        "encoder.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "model.encoder.",
        "module.model.backbone.",
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors"])
def test_what_wrappers_put_before_the_names_is_taken_off(state, tmp_path, prefix, ending):
    path = tmp_path / f"weights{ending}"
    named = {prefix + name: value for name, value in state.items()}
    save_file(named, path) if ending == ".safetensors" else torch.save(named, path)
    assert_loaded(build_backbone("mini", path), state)


def test_the_real_wrappers():
    """Files written by the other libraries themselves."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    wrapped = nn.DataParallel(torch.compile(network))
    part = nn.Sequential(torch.compile(network[0]), network[1])
    for other in (nn.DataParallel(network), torch.compile(network), wrapped, part):
        names = list(without_prefixes(other.state_dict(), "there"))
        assert names == list(network.state_dict())


WRAPPERS = {
    "a plain dict": lambda s: s,
    "Lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 3},
    "torchvision's references": lambda s: {
        "model": s,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2), "step": torch.zeros(())}}},
        "args": argparse.Namespace(lr=0.1, out=Path("runs/a")),
        "epoch": 3,
    },
    "many scripts": lambda s: {"model_state_dict": s, "best": np.float64(71.5), "loss": 0.1},
    "a running mean": lambda s: {"ema": s},
    "timm": lambda s: {"arch": "mini", "state_dict": {f"module.{k}": v for k, v in s.items()}},
    "a dict in a dict": lambda s: {"checkpoint": {"model": s, "step": 1}, "format": "x"},
    "parameters": lambda s: {
        k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()
    },
}


@pytest.mark.parametrize("what", WRAPPERS)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_found_in_a_checkpoint(state, tmp_path, what, zipped):
    path = tmp_path / "checkpoint.ckpt"
    torch.save(WRAPPERS[what](state), path, _use_new_zipfile_serialization=zipped)
    assert_loaded(build_backbone("mini", path), state)


def test_a_prefix_of_some_names_stays():
    one = torch.zeros(1)
    assert set(without_prefixes({"module.a": one, "b": one}, "there")) == {"module.a", "b"}
    assert set(without_prefixes({"models.a": one}, "there")) == {"models.a"}
    assert set(without_prefixes({"backbone.a": one, "heads.a": one}, "x")) == {
        "backbone.a",
        "heads.a",
    }


def test_a_file_is_known_by_its_content(state, tmp_path):
    """People rename files."""
    torch.save(dict(state), tmp_path / "torch.safetensors")
    save_file(state, tmp_path / "safetensors.pth")
    for path in tmp_path.iterdir():
        assert_loaded(build_backbone("mini", str(path)), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_copied(state, tmp_path, dtype):
    path = tmp_path / "weights.pth"
    other = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(other, path)
    backbone = build_backbone("mini", path)
    assert backbone.conv1.weight.dtype == torch.float32
    assert torch.equal(backbone.conv1.weight, other["conv1.weight"].float())


def test_old_files_without_counters_are_taken(state, tmp_path):
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    torch.save({k: v.half() for k, v in state.items()}, tmp_path / "half.pth")  # counters, too
    for path in tmp_path.iterdir():
        build_backbone("mini", path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_named(state, tmp_path, value):
    spoilt = {k: v.clone() for k, v in state.items()}
    spoilt["layer2.0.bn1.running_var"][1] = value
    path = tmp_path / "diverged.pth"
    torch.save(spoilt, path)
    with pytest.raises(ValueError, match=r"diverged\.pth: layer2\.0\.bn1\.running_var has NaN"):
        build_backbone("mini", path)


def test_a_double_that_is_infinite_in_single_precision_is_refused(state, tmp_path):
    wide = state["conv1.weight"].double()
    wide[0, 0, 0, 0] = 1e200
    torch.save(state | {"conv1.weight": wide}, tmp_path / "wide.pth")
    with pytest.raises(ValueError, match=r"wide\.pth: conv1\.weight has NaN or infinite"):
        build_backbone("mini", tmp_path / "wide.pth")


def test_what_is_left_out_is_not_looked_at(state, tmp_path):
    """The classifier's last layer is not part of a backbone."""
    torch.save(state | {"fc.weight": torch.full((3, 512), torch.nan)}, tmp_path / "fc.pth")
    assert_loaded(build_backbone("mini", tmp_path / "fc.pth"), state)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet101", "the classifier resnet101 of 5 classes"),
        ("resnet34", "the classifier resnet34 of 5 classes"),
        ("resnet50_gcn", "the classifier resnet50_gcn of 5 classes"),
    ],
)
def test_another_network_is_recognised(tmp_path, name, words):
    path = tmp_path / "other.pth"
    torch.save(build_classifier(name, 5).state_dict(), path)
    with pytest.raises(ValueError, match=rf"other\.pth: these weights .*{words}"):
        build_backbone("resnet50", path)


@pytest.mark.slow
def test_shapes_have_to_be_equal_and_not_only_after_squeeze(state):
    from gcnlab.models.backbones import load_backbone_state

    backbone = build_backbone("mini")
    for shape in ((1, 16), (16, 1), (16, 1, 1)):
        other = state | {"bn1.weight": state["bn1.weight"].reshape(shape)}
        with pytest.raises(ValueError, match=r"bn1\.weight: .* in the file, \(16,\) in the netw"):
            load_backbone_state(backbone, other, "x")
    for empty in (torch.zeros(0), torch.zeros(())):
        with pytest.raises(ValueError, match=r"bn1\.bias: \((0,)?\) in the file"):
            load_backbone_state(backbone, state | {"bn1.bias": empty}, "x")


def test_a_refusal_changes_nothing(state):
    from gcnlab.models.backbones import load_backbone_state

    backbone = build_backbone("mini")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    with pytest.raises(ValueError, match="NaN"):
        load_backbone_state(backbone, state | {"bn1.bias": torch.full((16,), torch.nan)}, "x")
    assert_loaded(backbone, before)


def test_several_sets_of_weights_are_refused_with_their_keys(state):
    for keys in (("model", "model_ema"), ("state_dict", "state_dict_ema"), ("student", "teacher")):
        with pytest.raises(ValueError, match=f"'{keys[0]}', '{keys[1]}'"):
            state_dict_in(dict.fromkeys(keys, state), "there")
    with pytest.raises(ValueError, match=r"'a\.model', 'b'"):
        state_dict_in({"a": {"model": state}, "b": state}, "there")


def test_read_state_dict_stays_importable_from_backbones(state, tmp_path):
    from gcnlab.models import backbones

    assert backbones.read_state_dict is read_state_dict
    torch.save(state, tmp_path / "a.pth")
    assert read_state_dict(tmp_path / "a.pth").keys() == state.keys()
