"""Weights, settings, devices and arguments that are wrong: one line each, which names the cause and the fix."""

import io
import os
import pickle
import subprocess
import sys
import threading
import types
import warnings
import zipfile
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision.models import ResNet50_Weights

from gcnlab.datasets import Shapes
from gcnlab.devices import default_device
from gcnlab.evaluation import evaluate_classifier
from gcnlab.loading import check_picklable
from gcnlab.models import GlobalConvBlock, SegmentationNet, build_backbone, make_head
from gcnlab.models.backbones import build_classifier
from gcnlab.models.upsampling import make_upsampler
from gcnlab.receptive import gradient_field
from gcnlab.receptive.grid import OcclusionGrid
from gcnlab.receptive.regions import centred, region
from gcnlab.receptive.unit import check_image
from gcnlab.training import (
    DataConfig,
    ModelConfig,
    PretrainConfig,
    RunConfig,
    Schedule,
    TrainingConfig,
    load_classifier,
    load_run,
    train,
)
from gcnlab.training.checkpoint import save_checkpoint
from gcnlab.training.state import load_initial
from tests.bad_input.refusal import refused

pytestmark = pytest.mark.slow

TINY = RunConfig(
    ModelConfig(kernel_size=3),
    DataConfig(image_size=32, train_images=2),
    TrainingConfig(epochs=1, batch_size=2),
)
CONV = nn.Conv2d(3, 2, 1)


def weights():
    return build_classifier("mini", 3).state_dict()


def network(classes=3, kernel_size=3):
    return SegmentationNet("mini", classes, kernel_size=kernel_size)


def read(folder: Path, content: object, name: str = "w.pth"):
    """Write `content` as a weights file, and read it for a backbone."""
    path = folder / name
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    return build_backbone("mini", path)


def changed(name: str, value: torch.Tensor) -> dict:
    return weights() | {name: value}


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and there are files
        return torch.quantize_per_tensor(torch.ones(16), 0.1, 0, torch.qint8)


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and there are files
        torch.jit.save(torch.jit.trace(CONV, torch.zeros(1, 3, 4, 4)), buffer)
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(2))
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("weights.pth", "x")
    return buffer.getvalue()


def half_of_a_file(folder: Path) -> bytes:
    torch.save(weights(), folder / "whole.pth")
    return (folder / "whole.pth").read_bytes()[:20_000]


def initial(folder: Path, model: nn.Module, state: object):
    torch.save(state, folder / "w.pth")
    return load_initial(model, folder / "w.pth")


def run_folder(folder: Path, name: str, content: object) -> Path:
    torch.save(content, folder / name)
    return folder


def as_users_call(function, *arguments, **options):
    """Call without the tests' type checker, which rejects wrong types before our own checks."""
    return unwrap(function)(*arguments, **options)


def made(cls, **values):
    """Create a dataclass without the type checker."""
    settings = object.__new__(cls)
    unwrap(cls.__init__)(settings, **values)
    return settings


class Images(Dataset):
    """A data set of the given items."""

    def __init__(self, items, function=None):
        self.items, self.function = items, function

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def labelled(*sizes):
    return Images([(torch.zeros(3, *s), torch.zeros(s, dtype=torch.uint8)) for s in sizes])


def trained(items, config=TINY, **options):
    dataset = items if isinstance(items, Dataset) else Images(items)
    options = {"device": "cpu", "progress": False} | options
    return train(config, dataset=dataset, **options)


def defined_in_a_notebook(monkeypatch) -> object:
    """An instance of a class of a main program that has no file."""
    main = types.ModuleType("__main__")
    main.Mine = type("Mine", (Images,), {"__module__": "__main__"})
    monkeypatch.setitem(sys.modules, "__main__", main)
    return main.Mine([])


# What is wrong: the call, given an empty folder, and what the message has to say.
CASES = {
    # Weights: the file
    "no weights file": (lambda d: build_backbone("mini", d / "w.pth"), ["weights file", "w.pth", "does not exist"]),
    "a folder for a weights file": (
        lambda d: build_backbone("mini", run_folder(d, "weights.pth", {})),
        ["a folder", "weights.pth"],
    ),
    "a home that no shell has expanded": (
        lambda d: build_backbone("mini", "~/w.pth"),
        ["~/w.pth", "expanduser"],
    ),
    "an empty file": (lambda d: read(d, b""), ["w.pth", "empty", "again"]),
    "a page of HTML": (
        lambda d: read(d, b"\n<!DOCTYPE html><html>Sign in</html>"),
        ["w.pth", "HTML", "download"],
    ),
    "a page of HTML with the ending of safetensors": (
        lambda d: read(d, b"<html><body>404</body></html>", "w.safetensors"),
        ["w.safetensors", "HTML"],
    ),
    "a pointer of Git LFS": (
        lambda d: read(d, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n"),
        ["w.pth", "git lfs pull"],
    ),
    "a text file": (lambda d: read(d, b"epoch,loss\n1,0.5\n"), ["w.pth", "text file"]),
    "a whole network": (lambda d: read(d, nn.Sequential(CONV)), ["w.pth", "state_dict()"]),
    "a whole network in a dict": (
        lambda d: read(d, {"model": nn.Sequential(CONV)}),
        ["w.pth", "a whole network", "state_dict()"],
    ),
    "code": (lambda d: read(d, pickle.dumps(subprocess.run, 2)), ["w.pth", "more than tensors"]),
    "a TorchScript archive": (lambda d: read(d, scripted()), ["w.pth", "TorchScript"]),
    "a checkpoint of TensorFlow": (
        lambda d: read(d, b"\x00\x01\x02", "model.ckpt-10.data-00000-of-00001"),
        ["model.ckpt-10", "TensorFlow", "convert"],
    ),
    "a file of Keras": (lambda d: read(d, b"\x89HDF\r\n\x1a\n"), ["w.pth", "Keras", "convert"]),
    "arrays of NumPy": (lambda d: read(d, arrays()), ["w.pth", "NumPy", "torch.from_numpy"]),
    "another zip archive": (lambda d: read(d, archive()), ["w.pth", "unpack"]),
    "a compressed file": (lambda d: read(d, b"\x1f\x8b\x08\x00rest"), ["w.pth", "gzip"]),
    "half of a file": (lambda d: read(d, half_of_a_file(d)), ["w.pth", "damaged"]),
    "half of a safetensors": (
        lambda d: read(d, b"\x40\0\0\0\0\0\0\0{}", "w.safetensors"),
        ["w.safetensors", "damaged"],
    ),
    # Weights: what is in it
    "a list": (lambda d: read(d, [torch.zeros(1)]), ["w.pth", "expected a state dict", "a list"]),
    "an empty dict": (lambda d: read(d, {}), ["w.pth", "an empty dict"]),
    "a dict without weights": (
        lambda d: read(d, {"epoch": 3, "lr": 0.1}),
        ["w.pth", "expected a state dict", "'epoch' (int)"],
    ),
    "two sets of weights": (
        lambda d: read(d, {"model": weights(), "model_ema": weights(), "epoch": 1}),
        ["w.pth", "'model', 'model_ema'"],
    ),
    "NaN": (
        lambda d: read(d, changed("bn1.bias", torch.full((16,), torch.nan))),
        ["w.pth", "bn1.bias", "NaN"],
    ),
    "infinite": (
        lambda d: read(d, {"module." + k: v / 0 for k, v in weights().items()}),
        ["w.pth", "conv1.weight", "infinite"],
    ),
    "quantised": (
        lambda d: read(d, changed("bn1.weight", quantized())),
        ["w.pth", "bn1.weight", "qint8"],
    ),
    "whole numbers": (
        lambda d: read(d, changed("bn1.weight", torch.ones(16, dtype=torch.int8))),
        ["w.pth", "bn1.weight", "int8"],
    ),
    "complex": (
        lambda d: read(d, changed("bn1.weight", torch.ones(16, dtype=torch.complex64))),
        ["w.pth", "bn1.weight", "complex64"],
    ),
    "sparse": (
        lambda d: read(d, changed("bn1.weight", torch.ones(16).to_sparse())),
        ["w.pth", "bn1.weight", "sparse"],
    ),
    "without values": (
        lambda d: read(d, changed("bn1.weight", torch.ones(16, device="meta"))),
        ["w.pth", "bn1.weight", "no values"],
    ),
    "another shape": (
        lambda d: read(d, changed("bn1.weight", torch.ones(1, 16))),
        ["w.pth", "bn1.weight", "(1, 16)", "(16,)"],
    ),
    "a deeper network": (
        lambda d: read(d, build_classifier("resnet18", 10).state_dict()),
        ["w.pth", "resnet18", "10 classes", "layer1.1.conv1.weight"],
    ),
    "an unknown network": (
        lambda d: read(d, nn.Linear(2, 2).state_dict()),
        ["w.pth", "another network", "weight: only in the file"],
    ),
    "a segmentation network for a backbone": (
        lambda d: read(d, network().state_dict()),
        ["w.pth", "segmentation network", "backbone mini", "initial="],
    ),
    "published weights of another network": (
        lambda d: build_backbone("resnet18", ResNet50_Weights.DEFAULT),
        ["ResNet50_Weights", "resnet18"],
    ),
    "published weights misspelt": (
        lambda d: build_backbone("resnet18", "IMAGENET"),
        ["'IMAGENET'", "IMAGENET1K_V1"],
    ),
    # Weights of whole networks
    "a segmentation network of other classes": (
        lambda d: initial(d, network(7), network(21).state_dict()),
        ["w.pth", "21 classes, not 7"],
    ),
    "a classifier of other classes": (
        lambda d: initial(d, build_classifier("mini"), build_classifier("mini", 10).state_dict()),
        ["w.pth", "10 classes, not 1000"],
    ),
    "other classes in memory": (
        lambda d: load_initial(network(7), network(21).state_dict()),
        ["the initial weights", "21 classes, not 7"],
    ),
    "another k": (
        lambda d: initial(d, network(7, 3), network(7, 9).state_dict()),
        ["w.pth", "another architecture", "(7, 64, 9, 1)", "(7, 64, 3, 1)"],
    ),
    "a classifier for a segmentation network": (
        lambda d: initial(d, network(), weights()),
        ["w.pth", "classifier mini of 3 classes", "model.weights"],
    ),
    "NaN in a whole network": (
        lambda d: initial(d, network(), {k: v * torch.nan for k, v in network().state_dict().items()}),
        ["w.pth", "NaN", "backbone.conv1.weight"],
    ),
    "weights for a run": (
        lambda d: load_run(run_folder(d, "w.pth", weights()) / "w.pth"),
        ["w.pth", "not a checkpoint of gcnlab", "model.weights", "initial="],
    ),
    "a page of HTML for a run": (
        lambda d: ((d / "c.pt").write_bytes(b"<html>"), load_classifier(d / "c.pt")),
        ["c.pt", "HTML"],
    ),
    "a checkpoint of a newer version": (
        lambda d: load_initial(network(), run_folder(d, "c.pt", {"format": 99}) / "c.pt"),
        ["c.pt", "newer gcnlab"],
    ),
    "a folder that is no run's": (lambda d: load_run(d), ["no checkpoint", "not the folder of a run"]),
    "a folder of runs": (
        lambda d: (save_checkpoint({}, d / "stage2" / "checkpoint.pt"), load_run(d)),
        ["one of the runs", "stage2"],
    ),
    "a run that is nowhere": (lambda d: load_run("~/runs/a"), ["~/runs/a", "expanduser"]),
    # Devices
    "a GPU that is not there": (lambda d: default_device("cuda:77"), ["'cuda:77'", "GPU"]),
    "gpu": (lambda d: load_run(d, "gpu"), ["'gpu'", "cuda"]),
    "a misspelt device": (lambda d: train(TINY, device="cdua"), ["'cdua'", "did you mean cuda?"]),
    "a device without a name": (lambda d: default_device(""), ["''", "choose cpu"]),
    "a device without memory": (lambda d: train(TINY, device="meta"), ["'meta'", "choose cpu"]),
    # Numbers
    "an even k": (lambda d: GlobalConvBlock(4, 2, np.int64(4)), ["kernel_size", "odd", "4"]),
    "a negative k": (lambda d: make_head("conv", 4, 2, -3), ["kernel_size", "-3"]),
    "a k that is a bool": (lambda d: make_head("gcn", 4, 2, True), ["kernel_size", "True"]),
    "a k with a fraction": (lambda d: make_head("gcn", 4, 2, 3.5), ["kernel_size", "3.5"]),
    "three k for four levels": (
        lambda d: SegmentationNet("mini", 2, kernel_size=[3, 5, 7]),
        ["kernel_size", "per level (4)"],
    ),
    "an even k among four": (
        lambda d: SegmentationNet("mini", 2, kernel_size=(3, 5, 6, 7)),
        ["kernel_size", "odd", "6"],
    ),
    "a k as a string": (lambda d: SegmentationNet("mini", 2, kernel_size="7"), ["kernel_size", "'7'"]),
    "no classes": (lambda d: SegmentationNet("mini", 0), ["num_classes", "at least 1"]),
    "half a class": (lambda d: build_classifier("mini", 2.5), ["num_classes", "2.5"]),
    "a bool for classes": (lambda d: SegmentationNet("mini", True), ["num_classes", "True"]),
    "a string for refine": (
        lambda d: as_users_call(SegmentationNet.__init__, network(), "mini", 2, refine="no"),
        ["refine", "'no'"],
    ),
    "a window with a fraction": (lambda d: OcclusionGrid((8, 8), 2.5, 1), ["window", "2.5"]),
    "a window of three": (lambda d: OcclusionGrid((8, 8), (1, 2, 3), 1), ["window", "(1, 2, 3)"]),
    "a stride that is a bool": (lambda d: OcclusionGrid((8, 8), 4, True), ["stride", "True"]),
    "images of size 0": (lambda d: DataConfig(image_size=0), ["data.image_size", "32"]),
    "a size with a fraction": (
        lambda d: made(DataConfig, image_size=64.5),
        ["data.image_size", "whole number", "64.5"],
    ),
    "epochs that are a bool": (lambda d: TrainingConfig(epochs=True), ["training.epochs", "True"]),
    "a learning rate as a string": (
        lambda d: made(TrainingConfig, learning_rate="0.1"),
        ["training.learning_rate", "'0.1'"],
    ),
    "an infinite rate": (
        lambda d: TrainingConfig(learning_rate=float("inf")),
        ["training.learning_rate", "positive"],
    ),
    "a crop of one number": (lambda d: made(DataConfig, crop=32), ["data.crop", "32"]),
    "a crop of three": (lambda d: made(DataConfig, crop=(3, 4, 5)), ["data.crop", "2 values"]),
    "workers with a fraction": (
        lambda d: train(TINY, device="cpu", num_workers=1.5),
        ["num_workers", "1.5"],
    ),
    "fewer than no workers": (
        lambda d: evaluate_classifier(CONV, labelled((2, 2)), num_workers=-1),
        ["num_workers", "at least 0"],
    ),
    # Names
    "an unknown head": (lambda d: make_head("aspp", 4, 2), ["'aspp'", "conv1x1, gcn, conv, stack"]),
    "an unknown backbone": (
        lambda d: build_backbone("resnet5"),
        ["'resnet5'", "resnet152", "did you mean resnet50?"],
    ),
    "an unknown upsample": (lambda d: make_upsampler("nearest", 2), ["deconv", "bilinear"]),
    "an unknown upsample in the settings": (
        lambda d: made(ModelConfig, upsample="nearest"),
        ["model.upsample", "deconv, bilinear"],
    ),
    "an unknown head in the settings": (
        lambda d: made(ModelConfig, head="aspp"),
        ["model.head", "conv1x1, gcn, conv, stack"],
    ),
    "an unknown split": (lambda d: Shapes("dev"), ["'dev'", "train, val, test"]),
    "an unknown data set": (lambda d: made(DataConfig, dataset="ade"), ["data.dataset", "camvid"]),
    "a misspelt setting": (
        lambda d: RunConfig.from_dict({"training": {"learning_rat": 0.1}}),
        ["training.learning_rat", "did you mean training.learning_rate?"],
    ),
    "a misspelt group of settings": (
        lambda d: PretrainConfig.from_dict({"traning": {}}),
        ["traning", "did you mean training?"],
    ),
    "a value for a group of settings": (
        lambda d: RunConfig.from_dict({"model": "mini"}),
        ["model must be a dictionary", "'mini'"],
    ),
    "settings in the wrong place": (
        lambda d: made(RunConfig, model=DataConfig(), data=DataConfig(), training=TrainingConfig()),
        ["model must be a ModelConfig"],
    ),
    "a number for a stage": (
        lambda d: made(Schedule, stages=(3,), model=ModelConfig(), inference=None),
        ["stages must be a Stage", "3"],
    ),
    "a backbone without strides": (
        lambda d: SegmentationNet(CONV, 2),
        ["backbone Conv2d", ".strides", "ResNetBackbone"],
    ),
    # Pixels, classes, images
    "a class by name": (
        lambda d: as_users_call(gradient_field, CONV, torch.zeros(3, 4, 4), (0, 0), "cat"),
        ["target", "id", "'cat'"],
    ),
    "a class that is not there": (
        lambda d: gradient_field(CONV, torch.zeros(3, 4, 4), (0, 0), np.int64(2)),
        ["target 2", "0 … 1"],
    ),
    "a pixel with a fraction": (
        lambda d: gradient_field(CONV, torch.zeros(3, 4, 4), (1.5, 0)),
        ["pixel", "1.5"],
    ),
    "a pixel of one number": (
        lambda d: gradient_field(CONV, torch.zeros(3, 4, 4), 3),
        ["pixel must be (row, column)", "3"],
    ),
    "a pixel outside": (
        lambda d: centred(torch.zeros(4, 4), (np.int64(4), 0), 1),
        ["(4, 0)", "outside"],
    ),
    "a radius with a fraction": (
        lambda d: centred(torch.zeros(4, 4), (0, 0), 1.5),
        ["radius", "1.5"],
    ),
    "a threshold as a string": (
        lambda d: as_users_call(region, torch.ones(2, 2), "high"),
        ["threshold", "'high'"],
    ),
    "a picture of NumPy": (
        lambda d: as_users_call(gradient_field, CONV, np.zeros((8, 8, 3), np.uint8), (0, 0)),
        ["torch.from_numpy", ".permute(2, 0, 1)", "(height, width"],
    ),
    "an array with the right axes": (
        lambda d: check_image(np.zeros((3, 8, 8), np.float32)),
        ["torch.from_numpy"],
    ),
    "a path for an image": (lambda d: check_image(d / "a.png"), ["PosixPath", "read_image"]),
    "a batch for an image": (lambda d: check_image(torch.zeros(1, 3, 8, 8)), ["(1, 3, 8, 8)"]),
    "an image of bytes": (
        lambda d: check_image(torch.zeros(3, 8, 8, dtype=torch.uint8)),
        ["normalised", "uint8"],
    ),
    # Data sets
    "images of several sizes in a batch": (
        lambda d: trained(labelled((32, 40), (32, 48))),
        ["3×32×40", "3×32×48", "data.crop", "training.batch_size 1"],
    ),
    "images of several sizes, loaded by a process": (
        lambda d: trained(labelled((32, 40), (32, 48)), num_workers=1),
        ["data.crop", "training.batch_size 1"],
    ),
    "images of several sizes for a classifier": (
        lambda d: evaluate_classifier(CONV, labelled((8, 8), (8, 9)), 2, progress=False),
        ["3×8×8", "3×8×9"],
    ),
    "grey among colours": (
        lambda d: trained([(torch.zeros(c, 8, 8), torch.zeros(8, 8).long()) for c in (1, 3)]),
        ["1×8×8", "3×8×8"],
    ),
    "a picture of NumPy in a data set": (
        lambda d: trained([(np.zeros((8, 8, 3)), torch.zeros(8, 8))] * 2),
        ["the image", "torch.from_numpy", "permute"],
    ),
    "bytes in a data set": (
        lambda d: trained([(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8))] * 2),
        ["normalised", "uint8"],
    ),
    "no pairs in a data set": (
        lambda d: trained([torch.zeros(3, 8, 8)] * 2),
        ["(image, target)"],
    ),
    "a lambda with processes that load": (
        lambda d: trained(Images(labelled((32, 32)).items * 2, lambda x: x), num_workers=2),
        ["Images", "lambda", "num_workers=0"],
    ),
    "a lock with processes that load": (
        lambda d: trained(Images([1], threading.Lock()), num_workers=1),
        ["Images", "_thread.lock", "num_workers=0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_bad_input_is_refused_in_one_line(what, tmp_path):
    call, words = CASES[what]
    refused(lambda: call(tmp_path), *words)


def test_a_file_without_permission(tmp_path, monkeypatch):
    (tmp_path / "w.pth").write_bytes(b"x")

    def forbidden(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", forbidden)
    refused(lambda: build_backbone("mini", tmp_path / "w.pth"), "w.pth", "no permission")


def test_a_class_of_a_notebook_is_not_sent_to_processes(monkeypatch):
    mine = defined_in_a_notebook(monkeypatch)
    words = ("Mine", "notebook", "move it to a file", "num_workers=0")
    refused(lambda: check_picklable(mine, "num_workers=0"), *words)
    refused(lambda: check_picklable(Images([1], mine), "num_workers=0"), *words)
    sys.modules["__main__"].__file__ = "script.py"  # which the processes run again
    check_picklable(mine, "num_workers=0")


def test_what_can_be_sent_is():
    import multiprocessing

    lock = multiprocessing.get_context("spawn").Lock()  # goes with a process that starts
    for kept in (None, torch.zeros(2), np.zeros(2), lock, Shapes, len):
        check_picklable(Images([1], kept), "")


def test_a_gpu_beyond_the_last(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    refused(lambda: default_device("cuda:7"), "'cuda:7'", "cuda:0 … cuda:1")
    refused(lambda: default_device(torch.device("cuda", 2)), "cuda:0 … cuda:1")


PROGRAM = """
import torch
from gcnlab.training import DataConfig, ModelConfig, RunConfig, TrainingConfig, train
class Mine(torch.utils.data.Dataset):
    def __len__(self): return 2
    def __getitem__(self, i): return torch.randn(3, 32, 32), torch.zeros(32, 32, dtype=torch.uint8)
config = RunConfig(ModelConfig(kernel_size=3), training=TrainingConfig(epochs=1, batch_size=2))
train(config, dataset=Mine(), num_workers=1, progress=False, device="cpu")
"""


def run_python(*arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_program_at_a_prompt_names_the_class():
    line = run_python("-c", PROGRAM)
    assert line.startswith("ValueError: Mine was defined in a notebook or at a prompt")


def test_a_script_that_starts_itself_again_names_the_guard(tmp_path):
    (tmp_path / "script.py").write_text(PROGRAM)
    line = run_python(tmp_path / "script.py")
    assert "died at its start" in line
    assert 'if __name__ == "__main__":' in line
