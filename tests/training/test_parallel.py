"""One run on several processes: the gradients, losses and weights of one process with all the images."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from gcnlab.evaluation.processes import OWN_STORE, process
from gcnlab.training import (
    DataConfig,
    Execution,
    ModelConfig,
    RunConfig,
    RunStopped,
    TrainingConfig,
    load_checkpoint,
    load_run,
    train,
)
from gcnlab.training.loop import backward
from gcnlab.training.parallel import across_processes, launch

CONFIG = RunConfig(
    ModelConfig(kernel_size=3, frozen_norm=True),
    DataConfig(image_size=32, train_images=8),
    TrainingConfig(
        epochs=3, batch_size=4, seed=3, checkpoint_steps=1, optimizer="sgd", precision="fp32"
    ),
)
PLAIN = torch.amp.GradScaler("cpu", enabled=False)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight images, from wholly labelled to almost and wholly void."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator)
    targets = torch.randint(0, 5, (8, 32, 32), generator=generator)
    for number in range(8):
        targets[number, : 4 * number] = 255
    targets[7] = 255
    return images.to(memory_format=torch.channels_last), targets


def gradients(accumulation: int = 1) -> tuple[float, dict[str, torch.Tensor]]:
    """This process's share of the loss, and the gradients."""
    torch.manual_seed(0)
    model = CONFIG.build_model().to(memory_format=torch.channels_last)
    for parameter in model.parameters():  # refinements start at zero, whose gradients tell little
        parameter.data += 0.01 * torch.randn(parameter.shape)
    rank, world = process()
    images, targets = (values[rank::world] for values in batch())
    network = across_processes(model, torch.device("cpu"))
    loss = backward(network, CONFIG, images, targets, torch.float32, PLAIN, accumulation)
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


def worker(rank: int, folder: str) -> None:
    """In a group of four, and then the first two in one of two."""
    torch.set_num_threads(1)
    for world in (4, 2):
        if rank < world:
            store = f"file://{folder}/store{world}"
            distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
            torch.save({n: gradients(n) for n in (1, 2)}, f"{folder}/{rank}of{world}.pt")
            distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gradients")
    multiprocessing.spawn(worker, (str(folder),), nprocs=4)
    return folder


def assert_same_gradients(ours: dict, alone: dict) -> None:
    assert ours.keys() == alone.keys()
    assert max(gradient.abs().max() for gradient in alone.values()) > 1e-2
    for name in alone:
        torch.testing.assert_close(ours[name], alone[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("world", [2, 4])
def test_gradients_of_several_processes_are_those_of_one(found, world):
    loss, alone = gradients()
    ours = [torch.load(found / f"{rank}of{world}.pt") for rank in range(world)]
    for accumulation in (1, 2):
        assert sum(f[accumulation][0] for f in ours) == pytest.approx(loss, rel=1e-6)
        for f in ours:
            assert_same_gradients(f[accumulation][1], alone)


@pytest.mark.parametrize("accumulation", [2, 3, 4])
def test_parts_have_the_gradients_of_the_whole(accumulation):
    loss, alone = gradients()
    in_parts, found = gradients(accumulation)
    assert in_parts == pytest.approx(loss, rel=1e-6)
    assert_same_gradients(found, alone)


def test_a_mean_of_parts_means_would_be_wrong():
    """What the tests above can see: an image's mean is over its own labelled pixels."""
    (images, targets), whole = batch(), gradients()[0]
    torch.manual_seed(0)
    model = CONFIG.build_model()
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape)
    means = [CONFIG.loss(model(i[None]), t[None]).item() for i, t in zip(images, targets)]
    assert abs(sum(means) / 8 - whole) > 0.05 * whole


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Folder of a run on two processes that `train` started."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as torchrun has it
        train(CONFIG, folder, progress=False, device="cpu", execution=Execution(processes=2))
    return folder


def test_train_starts_processes_and_ends_with_the_weights_of_one(two):
    alone, ours = train(CONFIG, progress=False, device="cpu"), load_run(two, "cpu")
    assert ours.losses == pytest.approx(alone.losses, rel=1e-5)
    for (name, a), b in zip(alone.model.named_parameters(), ours.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6, msg=name)
    assert load_checkpoint(two / "checkpoint.pt")["processes"] == 2


def test_an_error_of_a_process_is_one_line(tmp_path):
    few = replace(CONFIG, training=replace(CONFIG.training, batch_size=1))
    with pytest.raises(RunStopped, match=r"1 images a step are too few for 2 processes$"):
        train(few, tmp_path, progress=False, device="cpu", execution=Execution(processes=2))


SCRIPT = """
import os, signal, sys
import torch
from gcnlab.training import *
CONFIG = RunConfig(
    ModelConfig(kernel_size=3, frozen_norm=True), DataConfig(image_size=32, train_images=8),
    TrainingConfig(
        epochs=3, batch_size=4, seed=3, checkpoint_steps=1, optimizer="sgd", precision="fp32"
    ),
)
def die(step, steps, loss):
    if step == 4 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    train(CONFIG, sys.argv[1], progress=False, device="cpu", on_step=die)
"""


def test_torchrun_goes_on_from_the_last_checkpoint_when_a_process_dies(tmp_path, two):
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "--max-restarts", "1", "--standalone", str(script), str(out)],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | {"OMP_NUM_THREADS": "1", OWN_STORE: "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "SIGKILL" in done.stderr or f"exitcode: {-signal.SIGKILL}" in done.stderr
    ours = load_checkpoint(out / "checkpoint.pt")["model"]
    theirs = load_checkpoint(two / "checkpoint.pt")["model"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_restart_by_torchrun_needs_a_store_of_its_own(monkeypatch):
    for name, value in {"MAX_RESTARTS": "1", "USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=f"--max-restarts 1 needs {OWN_STORE}=1"):
        train(CONFIG, progress=False, device="cpu")


def test_signals_are_handled_as_before_once_processes_have_ended(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    launch(1, 0, print, "one process")
    assert {number: signal.getsignal(number) for number in before} == before
