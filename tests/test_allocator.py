"""Kept memory is not requested again: the test counts page faults and measures no time."""

import subprocess
import sys

import pytest

from gcnlab.allocator import keep_freed_memory

pytestmark = pytest.mark.slow

FAULTS = """
import resource
import torch
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # until the heap has settled
    torch.ones(2**24)  # 64 MB, touched and freed
before = faults()
for _ in range(10):
    torch.ones(2**24)
print(faults() - before)
"""


def faults(first=""):
    """Page faults of ten tensors of 64 MB, one after the other, in a separate process."""
    code = FAULTS.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
def test_freed_memory_is_taken_again_without_a_page_fault():
    kept = "from gcnlab.allocator import keep_freed_memory; assert keep_freed_memory()"
    assert faults(kept) < 0.1 * faults()


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
@pytest.mark.parametrize(
    "call",
    [
        "train(config, progress=False, device='cpu')",
        "evaluate(task.build_model(), task.evaluation_set(), progress=False)",
    ],
)
def test_training_and_evaluation_keep_what_they_free(call):
    first = f"""
import gcnlab.datasets.shapes
from gcnlab.evaluation import evaluate
from gcnlab.training import DataConfig, ModelConfig, RunConfig, Segmentation, TrainingConfig, train
gcnlab.datasets.shapes.SPLITS["val"] = 1
config = RunConfig(ModelConfig(kernel_size=3), DataConfig(image_size=32, train_images=2), TrainingConfig(epochs=1, batch_size=2))
task = Segmentation(config)
{call}
"""
    assert faults(first) < 0.1 * faults()


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
