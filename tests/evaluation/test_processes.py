"""The same figures from one process and from several, from any batch size and any number of workers."""

import json
import socket
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torchvision import tv_tensors

from gcnlab.datasets import LabelSet
from gcnlab.evaluation import BandRule, BoundaryRule, Scores, evaluate
from gcnlab.evaluation.processes import joined_processes

LABELS = LabelSet(("a", "b", "c"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))


class Noise(torch.utils.data.Dataset):
    """Random images and labels; sizes differ, and five of them do not go into two equal parts."""

    labels = LABELS

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
    """Close scores: another order of summation would move some pixels to another class."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 3, 3, padding=1))


def scores(**arguments) -> Scores:
    return evaluate(
        network(), Noise(), BoundaryRule(1), progress=False, curve=3, band=BandRule(), **arguments
    )


def worker(rank: int, folder: str) -> None:
    """In a group of four, and then the first two in one of two."""
    torch.set_num_threads(1)
    for world in (4, 2):
        if rank < world:
            store = f"file://{folder}/store{world}"
            distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
            found = json.dumps(asdict(scores()))
            Path(folder, f"{rank}of{world}.json").write_text(found)
            distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def one_thread():
    """As the processes have: threads may split a sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_processes_give_the_figures_of_one_to_the_last_digit(tmp_path):
    multiprocessing.spawn(worker, (str(tmp_path),), nprocs=4)
    alone = json.loads(json.dumps(asdict(scores())))
    for world in (2, 4):
        for rank in range(world):
            assert json.loads((tmp_path / f"{rank}of{world}.json").read_text()) == alone
    assert alone["images"] == 5


def test_a_process_that_does_not_come_is_missed(monkeypatch):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    wait = timedelta(seconds=1)
    with (
        pytest.raises(ConnectionError, match="the 2 processes of this run have not all come"),
        joined_processes("cpu", wait),
    ):
        pass


def test_batch_size_and_workers_change_no_digit():
    reference = scores(batch_size=1)
    assert 20 < reference.accuracy < 50  # three classes by chance
    for batch_size in (2, 3):
        assert str(scores(batch_size=batch_size)) == str(reference)  # NaN is not equal to NaN
    assert str(scores(batch_size=2, num_workers=2)) == str(reference)


def test_more_processes_than_images(tmp_path, monkeypatch):
    """A process without images still takes part in the sum."""
    monkeypatch.setattr("gcnlab.evaluation.processes.process", lambda: (9, 10))
    from gcnlab.evaluation.processes import own_share

    assert len(own_share(Noise())) == 0
    monkeypatch.setattr("gcnlab.evaluation.processes.process", lambda: (1, 3))
    assert list(own_share(Noise()).indices) == [1, 4]


@pytest.mark.parametrize(
    ("device", "complaint"), [(None, "process 2 .* there are 2"), ("cuda:0", "a GPU each")]
)
def test_each_process_needs_a_gpu_of_its_own(monkeypatch, device, complaint):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=complaint), joined_processes(device):
        pass
