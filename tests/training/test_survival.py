"""Killed, out of disk space, without a worker: the files stay valid, and the run resumes to the same weights."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gcnlab.distributed import RunStopped
from gcnlab.training import (
    DataConfig,
    Execution,
    FolderTaken,
    ModelConfig,
    RunConfig,
    Segmentation,
    TrainingConfig,
    TrainingDiverged,
    load_checkpoint,
    load_run,
    train,
)
from gcnlab.training.checkpoint import LOCK, only_writer
from gcnlab.training.monitor import READ_EVERY

pytestmark = pytest.mark.slow

TINY = RunConfig(
    ModelConfig(kernel_size=3, head="conv1x1", refine=False),
    DataConfig(image_size=32, train_images=6),
    TrainingConfig(epochs=4, batch_size=2, seed=3, checkpoint_steps=1),
)


def run(config=TINY, **options):
    return train(config, progress=False, device="cpu", **options)


def files(folder: Path) -> list[str]:
    """Names in a run's folder. Some versions of filelock leave the lock's file there."""
    return sorted({path.name for path in folder.iterdir()} - {LOCK})


def same_weights(a: Path, b: Path) -> bool:
    a, b = load_checkpoint(a)["model"], load_checkpoint(b)["model"]
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import torch
torch.set_num_threads(1)
import gcnlab.datasets.transforms, gcnlab.training.loop  # before the forks: slow to import
from gcnlab.training import *

CONFIG = RunConfig(
    ModelConfig(kernel_size=3, head="conv1x1", refine=False), DataConfig(image_size=32, train_images=6),
    TrainingConfig(epochs=4, batch_size=2, seed=3, checkpoint_steps=1),
)

def process(folder, broken_off=None):
    # A process that trains; `broken_off`: it is killed after so many bytes of its second checkpoint.
    child = os.fork()  # nothing has computed yet: no threads to lose
    if child:
        return child
    try:
        if broken_off is not None:
            written, save = [], torch.save
            def kill_within(state, file):
                written.append(1)
                if len(written) < 2:
                    return save(state, file)
                whole = file.name + ".whole"
                save(state, whole)
                file.write(Path(whole).read_bytes()[:broken_off])
                file.flush()
                os.unlink(whole)
                os.kill(os.getpid(), signal.SIGKILL)
            torch.save = kill_within
        train(CONFIG, folder, progress=False, device="cpu", execution=Execution(keep=2))
        os._exit(0)
    finally:
        os._exit(1)

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

out = Path(sys.argv[1])
began = time.perf_counter()
assert wait(process(out / "whole")) == 0
took = time.perf_counter() - began
size = (out / "whole" / "checkpoint.pt").stat().st_size
chance = random.Random(0)
killed, number = 0, 0
while killed < 20:
    folder, number = out / f"killed{number}", number + 1
    child = process(folder)
    time.sleep(chance.uniform(0.05, 0.95) * took)
    os.kill(child, signal.SIGKILL)
    status = wait(child)
    if status == 0:  # it ended before its moment: the machine has become quicker
        took *= 0.9
        continue
    killed += 1
    print("killed", status, flush=True)
    assert wait(process(folder)) == 0
for number in range(5):
    folder = out / f"torn{number}"
    print("torn", wait(process(folder, chance.randrange(size))), len(list(folder.glob(".*.tmp"))), flush=True)
    assert wait(process(folder)) == 0
"""


def test_killed_at_random_moments_a_run_resumes_to_the_same_bits(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:20] == [f"killed {-signal.SIGKILL}"] * 20
    assert lines[20:] == [f"torn {-signal.SIGKILL} 1"] * 5
    for folder in tmp_path.iterdir():
        if folder.is_dir():
            assert same_weights(folder / "checkpoint.pt", tmp_path / "whole" / "checkpoint.pt")
            names = ["checkpoint-00000011.pt", "checkpoint.pt"]
            assert files(folder) == names, folder


FULL = """
import resource, sys
import torch
torch.set_num_threads(1)
from gcnlab.training import *
CONFIG = RunConfig(
    ModelConfig(kernel_size=3, head="conv1x1", refine=False), DataConfig(image_size=32, train_images=6),
    TrainingConfig(epochs=4, batch_size=2, seed=3, checkpoint_steps=1),
)
def full(step, steps, loss):
    if step == 5:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    train(CONFIG, sys.argv[1], progress=False, device="cpu", on_step=full)
except OSError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_keeps_the_last_checkpoint(tmp_path):
    """A limit on the size of files breaks a write off as a full disk does."""
    script, out = tmp_path / "script.py", tmp_path / "run"
    script.write_text(FULL)
    done = subprocess.run([sys.executable, script, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"cannot write checkpoint {out / 'checkpoint.pt'}: ")
    assert load_checkpoint(out / "checkpoint.pt")["step"] == 4
    assert files(out) == ["checkpoint.pt"]
    run(out=tmp_path / "whole")
    run(out=out)
    assert same_weights(out / "checkpoint.pt", tmp_path / "whole" / "checkpoint.pt")


def test_a_folder_that_cannot_be_written_shows_before_the_first_step(tmp_path, monkeypatch):
    """The tests may run as root, who may write everywhere: so the error of the system is simulated."""
    import tempfile

    def refused(*arguments, **options):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    steps = []
    with pytest.raises(OSError, match=rf"cannot write checkpoints to {tmp_path}.*Read-only"):
        run(out=tmp_path, on_step=lambda *step: steps.append(step))
    assert steps == []


TRAINS = """
import sys, time
from gcnlab.training import *

config = RunConfig(ModelConfig(kernel_size=3, head="conv1x1", refine=False), DataConfig(image_size=32, train_images=6))
def linger(*step):
    print("in it", flush=True)
    time.sleep(600)
train(config, sys.argv[1], progress=False, device="cpu", on_step=linger)
"""


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    """The second stops before its first step; when the first dies, however, the folder is free."""
    first = subprocess.Popen([sys.executable, "-c", TRAINS, tmp_path], stdout=subprocess.PIPE)
    try:
        first.stdout.readline()
        steps = []
        with pytest.raises(FolderTaken, match=f"{tmp_path}: another process trains there"):
            run(out=tmp_path, on_step=lambda *step: steps.append(step))
        assert steps == []
    finally:
        first.kill()
        first.communicate()
    run(out=tmp_path)


def test_one_process_may_enter_a_folder_twice(tmp_path):
    with only_writer(tmp_path):
        assert len(run(out=tmp_path).losses) == 12


def test_a_checkpoint_of_a_newer_version_is_not_touched(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 99}, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint\.pt: written by a newer gcnlab \(format 99"):
        run(out=tmp_path)
    assert path.read_bytes() == before


class Items(torch.utils.data.Dataset):
    """Six images; `trouble(index)` is called before one is read."""

    def __init__(self, trouble):
        self.trouble = trouble
        labels = torch.zeros(32, 32, dtype=torch.uint8)
        self.items = [(torch.randn(3, 32, 32), labels) for _ in range(6)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, labels = self.items[index]
        return self.trouble(index, image), labels

    def name(self, index):
        return f"picture-{index}"


def die(index, image):
    if index == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return image


# PyTorch raises from the signal's handler, and that may hit a `__del__`, where Python can only warn.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_worker_is_reported(tmp_path):
    with pytest.raises(RunStopped, match=r"a data-loading worker died.*fewer workers"):
        run(dataset=Items(die), num_workers=1, out=tmp_path)


@pytest.mark.parametrize("masked", [False, True])
def test_a_worker_that_is_lost_while_a_checkpoint_is_written_is_reported(
    tmp_path, monkeypatch, masked
):
    """PyTorch raises from the signal's handler: at any point of the main process."""

    def interrupted(state, file):
        try:
            raise RuntimeError("DataLoader worker (pid 5278) is killed by signal: Killed. ")
        finally:
            if masked:  # the file's end does not fit
                raise RuntimeError("unexpected pos 3966016 vs 3965904")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(RunStopped, match=r"a data-loading worker died.*pid 5278"):
        run(out=tmp_path)
    assert files(tmp_path) == []


def unreadable(kind, index, image):
    if index == 4:
        raise kind("picture-4.jpg: damaged")
    return image


@pytest.mark.parametrize("kind", [ValueError, OSError, RuntimeError])
def test_an_error_of_a_worker_is_one_line(tmp_path, kind):
    with pytest.raises(kind, match=r"^picture-4\.jpg: damaged$"):
        run(dataset=Items(partial(unreadable, kind)), num_workers=1, out=tmp_path)


def nan(index, image):
    return image * (float("nan") if index == 4 else 1)


@pytest.mark.parametrize("every", [1, 20])
def test_after_a_nan_there_is_a_state_from_just_before_it(tmp_path, monkeypatch, every):
    """Also where the loss is read only every 20 steps, as on a GPU: no weight has moved since."""
    monkeypatch.setitem(READ_EVERY, "cpu", every)
    items, healthy = Items(nan), Items(lambda index, image: image)
    healthy.items = items.items
    rare = replace(TINY, training=replace(TINY.training, checkpoint_steps=100, seed=1))
    with pytest.raises(TrainingDiverged, match="picture-4") as caught:
        run(rare, dataset=items, out=tmp_path)
    step = int(re.search(r"step (\d+)", str(caught.value))[1])
    assert step == 3
    state = load_checkpoint(tmp_path / "diverged.pt")
    assert (state["step"], len(state["losses"])) == (2, 2)
    place = state["names"].index("picture-4")
    assert [bool(image.isnan().any()) for image in state["images"]] == [n == place for n in (0, 1)]
    assert state["targets"].shape == (2, 32, 32)

    often = replace(rare, training=replace(rare.training, checkpoint_steps=1))
    run(often, dataset=healthy, out=tmp_path / "healthy", execution=Execution(keep=20))
    before = load_checkpoint(tmp_path / "healthy" / "checkpoint-00000002.pt")["model"]
    for name, value in state["model"].items():
        if "running" not in name and "tracked" not in name:  # these move with every batch seen
            assert torch.equal(value, before[name]), name


def test_the_last_few_checkpoints_are_kept(tmp_path):
    run(out=tmp_path, execution=Execution(keep=3))
    names = files(tmp_path)
    assert names == ["checkpoint-00000010.pt", "checkpoint-00000011.pt", "checkpoint.pt"]
    assert [load_checkpoint(tmp_path / name)["step"] for name in names] == [10, 11, 12]
    earlier = load_run(tmp_path / names[0], "cpu")
    assert len(earlier.losses) == 10
    run(out=tmp_path, resume=False)  # another run: the old one's do not stay beside it
    assert files(tmp_path) == ["checkpoint.pt"]


def test_checkpoints_by_the_clock(tmp_path):
    config = replace(TINY, training=replace(TINY.training, checkpoint_steps=1000))
    steps = []

    def look(step, *_):
        path = tmp_path / "checkpoint.pt"
        steps.append(load_checkpoint(path)["step"] if path.exists() else 0)
        time.sleep(0.05)

    run(config, out=tmp_path, execution=Execution(checkpoint_minutes=0.1 / 60), on_step=look)
    assert 0 < steps[-1] < 12
    assert len(set(steps)) >= 3


def test_the_best_on_the_val_split_is_kept(tmp_path, monkeypatch):
    scores = iter([10.0, 30.0, 20.0, 30.0])
    monkeypatch.setattr(Segmentation, "score", lambda *_, **__: SimpleNamespace(miou=next(scores)))
    run(out=tmp_path, execution=Execution(validate_every=1))
    best = load_checkpoint(tmp_path / "best.pt")
    assert best["best"] == {"step": 6, "score": 30.0}
    assert best["step"] == 6
    assert load_checkpoint(tmp_path / "checkpoint.pt")["best"] == best["best"]
    assert len(load_run(tmp_path / "best.pt", "cpu").losses) == 6


def test_a_resumed_run_remembers_its_best(tmp_path, monkeypatch):
    monkeypatch.setattr(Segmentation, "score", lambda *_, **__: SimpleNamespace(miou=50.0))

    class Stop(Exception):
        pass

    def stop(step, *_):
        if step == 8:
            raise Stop

    with pytest.raises(Stop):
        run(out=tmp_path, execution=Execution(validate_every=1), on_step=stop)
    monkeypatch.setattr(Segmentation, "score", lambda *_, **__: SimpleNamespace(miou=40.0))
    run(out=tmp_path, execution=Execution(validate_every=1))
    assert load_checkpoint(tmp_path / "best.pt")["best"] == {"step": 3, "score": 50.0}


def test_scoring_during_training_changes_no_weight(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("gcnlab.datasets.shapes", fromlist=["SPLITS"]).SPLITS, "val", 2)
    run(out=tmp_path / "plain")
    pictures = []
    shown = Execution(validate_every=1, samples=2, tensorboard=True)
    run(out=tmp_path / "shown", execution=shown, on_samples=lambda *seen: pictures.append(seen))
    assert same_weights(tmp_path / "plain" / "checkpoint.pt", tmp_path / "shown" / "checkpoint.pt")
    assert [step for step, _ in pictures] == list(range(1, 13))
    assert pictures[0][1].shape == (3, 2 * 32, 3 * 32)
    assert len(list((tmp_path / "shown" / "samples").glob("step-*.png"))) == 12
    assert list((tmp_path / "shown" / "tensorboard").glob("events*"))
