"""Several processes that share a run: the gradients, weights and scores are those of one
process."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torchvision import tv_tensors

from gcnlab.datasets import LabelSet
from gcnlab.distributed import (
    OWN_STORE,
    all_reduce_sum,
    data_parallel,
    own_share,
    process_group,
    rank,
    world_size,
)
from gcnlab.evaluation import (
    BandRule,
    BoundaryRule,
    Scores,
    TopKAccuracy,
    evaluate,
    evaluate_classifier,
)
from gcnlab.training import (
    DataConfig,
    ModelConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    load_checkpoint,
    load_run,
    train,
)
from gcnlab.training.batches import Batches
from gcnlab.training.loop import backward

pytestmark = pytest.mark.slow

CONFIG = RunConfig(
    ModelConfig(kernel_size=3, frozen_norm=True),
    DataConfig(image_size=32, train_images=8),
    TrainingConfig(
        epochs=3, batch_size=4, seed=3, checkpoint_steps=1, optimizer="sgd", precision="fp32"
    ),
)
TASK = Segmentation(CONFIG)
UNSCALED = torch.amp.GradScaler("cpu", enabled=False)


# --- What each process computes


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight images, from fully labelled to almost and fully void."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator)
    targets = torch.randint(0, 5, (8, 32, 32), generator=generator)
    for number in range(8):
        targets[number, : 4 * number] = 255
    targets[7] = 255
    return images.to(memory_format=torch.channels_last), targets


def perturbed_network() -> nn.Module:
    """Refinement blocks start at zero, where most of their gradients are zero."""
    torch.manual_seed(0)
    model = TASK.build_model().to(memory_format=torch.channels_last)
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape)
    return model


def gradients(accumulation: int = 1) -> tuple[float, dict[str, torch.Tensor]]:
    """This rank's share of the loss, and the gradients."""
    model = perturbed_network()
    images, targets = (values[rank() :: world_size()] for values in batch())
    network = data_parallel(model, torch.device("cpu"))
    loss = backward(network, TASK, images, targets, torch.float32, UNSCALED, accumulation)
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


class Noise(torch.utils.data.Dataset):
    """Random images and labels of different sizes; five cannot be divided into equal shares."""

    labels = LabelSet(("a", "b", "c"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))

    def __len__(self):
        return 5

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        size = (20, 16 + index // 2)
        blocks = torch.randint(0, 4, (4, 4), generator=generator, dtype=torch.uint8)
        labels = blocks.repeat_interleave(5, 0).repeat_interleave(5, 1)[:, : size[1]].clone()
        labels[labels == 3] = 255
        return tv_tensors.Image(torch.randn(3, *size, generator=generator)), tv_tensors.Mask(labels)


def network() -> nn.Module:
    """The logits are close: summed in another order, they would change the class of some pixels."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 3, 3, padding=1))


def segmentation_scores(**arguments) -> Scores:
    return evaluate(
        network(), Noise(), BoundaryRule(1), progress=False, curve=3, band=BandRule(), **arguments
    )


class NoiseClasses(torch.utils.data.Dataset):
    """Images of noise with a random class out of eight; 23 make a last batch that is incomplete."""

    def __len__(self):
        return 23

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randn(3, 8, 8, generator=generator)
        return image, int(torch.randint(0, 8, (), generator=generator))


def classification_scores(**arguments) -> TopKAccuracy:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 8))
    return evaluate_classifier(model, NoiseClasses(), 4, progress=False, **arguments)


def results() -> dict[str, dict]:
    return {
        "segmentation": asdict(segmentation_scores()),
        "classification": asdict(classification_scores()),
    }


def worker(number: int, folder: str) -> None:
    """One of four processes in a group of four; the first two then form a group of two."""
    torch.set_num_threads(1)
    for world in (4, 2):
        if number < world:
            store = f"file://{folder}/store{world}"
            distributed.init_process_group("gloo", init_method=store, rank=number, world_size=world)
            torch.save({n: gradients(n) for n in (1, 2)}, f"{folder}/{number}of{world}.pt")
            Path(folder, f"{number}of{world}.json").write_text(json.dumps(results()))
            assert all_reduce_sum(torch.tensor([number, 1])).tolist()[1] == world
            distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(worker, (str(folder),), nprocs=4)
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """As in the processes: several threads may split a sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- Gradients


def assert_same_gradients(ours: dict, alone: dict) -> None:
    assert ours.keys() == alone.keys()
    assert max(gradient.abs().max() for gradient in alone.values()) > 1e-2
    for name in alone:
        torch.testing.assert_close(ours[name], alone[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("world", [2, 4])
def test_gradients_of_several_processes_are_those_of_one(found, world):
    loss, alone = gradients()
    ours = [torch.load(found / f"{number}of{world}.pt") for number in range(world)]
    for accumulation in (1, 2):
        assert sum(f[accumulation][0] for f in ours) == pytest.approx(loss, rel=1e-6)
        for f in ours:
            assert_same_gradients(f[accumulation][1], alone)


@pytest.mark.parametrize("accumulation", [2, 3, 4])
def test_gradient_accumulation_has_the_gradients_of_the_whole_batch(accumulation):
    loss, alone = gradients()
    in_parts, found = gradients(accumulation)
    assert in_parts == pytest.approx(loss, rel=1e-6)
    assert_same_gradients(found, alone)


def test_a_mean_of_means_would_be_wrong():
    """The tests above can see the difference: the mean of an image is over its own labelled
    pixels."""
    (images, targets), whole = batch(), gradients()[0]
    model = perturbed_network()
    means = [TASK.loss(model(i[None]), t[None]).item() for i, t in zip(images, targets)]
    assert abs(sum(means) / 8 - whole) > 0.05 * whole


@pytest.mark.parametrize(("images", "world"), [(100, 8), (100, 5), (10, 3)])
def test_the_smallest_share_is_that_of_some_rank(images, world):
    settings = TrainingConfig(batch_size=12)
    shares = [
        len(next(iter(Batches(images, settings, 0, 1, number, world)))) for number in range(world)
    ]
    assert min(shares) == Batches(images, settings, 0, 1, 0, world).smallest_share


def test_a_batch_that_is_too_small_is_one_line():
    message = r"^training\.batch_size: a batch of 1 images is too small for 2 processes$"
    with pytest.raises(ValueError, match=message):
        Batches(8, TrainingConfig(batch_size=1), 0, 8, 0, 2)


# --- Scores


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_give_the_scores_of_one_to_the_last_digit(found, world):
    alone = json.loads(json.dumps(results()))
    for number in range(world):
        assert json.loads((found / f"{number}of{world}.json").read_text()) == alone
    assert alone["segmentation"]["images"] == 5
    assert alone["classification"]["images"] == 23
    assert 0 < alone["classification"]["top1"] < alone["classification"]["top5"] < 100


def test_workers_change_no_digit():
    reference = segmentation_scores()
    assert 20 < reference.accuracy < 50  # three classes at chance
    assert str(segmentation_scores(num_workers=1)) == str(reference)  # NaN is not equal to NaN
    assert classification_scores(num_workers=1) == classification_scores()


def test_more_processes_than_images(monkeypatch):
    """A rank without images still takes part in the sum."""
    monkeypatch.setattr("gcnlab.distributed.rank", lambda: 9)
    monkeypatch.setattr("gcnlab.distributed.world_size", lambda: 10)
    assert len(own_share(Noise())) == 0
    monkeypatch.setattr("gcnlab.distributed.rank", lambda: 1)
    monkeypatch.setattr("gcnlab.distributed.world_size", lambda: 3)
    assert list(own_share(Noise()).indices) == [1, 4]


# --- torchrun


SCRIPT = """
import os, signal, sys
from pathlib import Path
import gcnlab.datasets.shapes
from gcnlab.training import *
gcnlab.datasets.shapes.SPLITS["val"] = 3
CONFIG = RunConfig(
    ModelConfig(kernel_size=3, frozen_norm=True), DataConfig(image_size=32, train_images=8),
    TrainingConfig(
        epochs=3, batch_size=4, seed=3, checkpoint_steps=1, optimizer="sgd", precision="fp32"
    ),
)
def die(step, steps, loss):
    if step == 4 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        Path(sys.argv[1], "killed at step 4").touch()
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    out = Path(sys.argv[1])
    train(CONFIG, out / "whole", progress=False, device="cpu")
    run = train(CONFIG, out / "killed", resume=False, progress=False, device="cpu", on_step=die)
    finish(run, out / "killed")
    (out / "restarts").write_text(os.environ["TORCHELASTIC_RESTART_COUNT"])
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Folder of two runs on two processes: one whole, one whose rank 0 was killed at its fourth
    step."""
    out = tmp_path_factory.mktemp("torchrun")
    script = out / "script.py"
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
    # torchrun reports the process that it notices first, which may be the other one.
    assert (out / "killed at step 4").exists()
    assert (out / "restarts").read_text() == "1"
    return out


def test_a_run_on_two_processes_ends_with_the_weights_of_one(two):
    alone, ours = train(CONFIG, progress=False, device="cpu"), load_run(two / "whole", "cpu")
    assert ours.losses == pytest.approx(alone.losses, rel=1e-5)
    for (name, a), b in zip(alone.model.named_parameters(), ours.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6, msg=name)
    assert load_checkpoint(two / "whole" / "checkpoint.pt")["processes"] == 2


def test_torchrun_resumes_from_the_last_checkpoint_when_a_process_dies(two):
    """Also without `resume`: the restarted processes continue the run that they began."""
    ours = load_checkpoint(two / "killed" / "checkpoint.pt")["model"]
    theirs = load_checkpoint(two / "whole" / "checkpoint.pt")["model"]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_one_of_two_processes_writes_the_results_of_both(two):
    result = json.loads((two / "killed" / "result.json").read_text())
    assert result["scores"]["images"] == 3
    assert result["steps"] == 6
    assert {"log.csv", "loss.png"} <= {path.name for path in (two / "killed").iterdir()}


def test_a_restart_by_torchrun_needs_its_own_store(monkeypatch):
    for name, value in {"MAX_RESTARTS": "1", "USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=f"--max-restarts 1 needs .*{OWN_STORE}=1"):
        train(CONFIG, progress=False, device="cpu")


def test_a_process_that_does_not_join_is_reported(monkeypatch):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    wait = timedelta(seconds=1)
    with (
        pytest.raises(ConnectionError, match="not all of the 2 processes joined"),
        process_group("cpu", wait),
    ):
        pass


@pytest.mark.parametrize(
    ("device", "message"),
    [(None, "local rank 2 has no GPU: this machine has 2"), ("cuda:0", "each takes one GPU")],
)
def test_each_process_needs_its_own_gpu(monkeypatch, device, message):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=message), process_group(device):
        pass
