import os
import pickle
from dataclasses import replace

import pytest
import torch

from gcnlab.training import (
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
    load_checkpoint,
    load_run,
    train,
)
from gcnlab.training.checkpoint import LOCK, save_checkpoint

TINY = RunConfig(
    ModelConfig(kernel_size=3),
    DataConfig(image_size=32, train_images=2),
    TrainingConfig(epochs=1, batch_size=2),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(TINY, folder, progress=False, device="cpu")
    return folder / "checkpoint.pt"


def test_a_run_comes_back_as_it_was(checkpoint):
    run = load_run(checkpoint.parent, "cpu")
    assert run.config == TINY
    assert len(run.losses) == 1
    assert not run.model.training


def test_code_in_a_checkpoint_is_an_error_and_is_not_run(tmp_path):
    path = tmp_path / "evil.pt"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"format": 1, "model": Evil()}, path)
    with pytest.raises(ValueError, match=r"evil\.pt: the file holds more than tensors"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"evil\.pt"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(checkpoint, tmp_path, share):
    whole = checkpoint.read_bytes()
    path = tmp_path / "half.pt"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"half\.pt"):
        load_checkpoint(path)


def test_other_files_are_not_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights\.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "weights.pt")
    torch.save({"format": 99}, tmp_path / "future.pt")
    with pytest.raises(ValueError, match=r"future\.pt: written by a newer"):
        load_checkpoint(tmp_path / "future.pt")


def test_resuming_another_architecture_names_the_setting_and_loses_nothing(checkpoint):
    before = checkpoint.read_bytes()
    other = replace(TINY, model=replace(TINY.model, kernel_size=5))
    with pytest.raises(ValueError, match=r"checkpoint\.pt.*model\.kernel_size: 3 there, 5 now"):
        train(other, checkpoint.parent, progress=False, device="cpu")
    assert checkpoint.read_bytes() == before


def test_weights_that_do_not_fit_the_settings_are_an_error(checkpoint, tmp_path):
    state = load_checkpoint(checkpoint)
    state["config"]["model"]["head"] = "conv1x1"
    path = tmp_path / "mixed.pt"
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"mixed\.pt: checkpoint of another architecture"):
        load_run(path, "cpu")
    state["config"]["model"]["glue"] = 1
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"mixed\.pt.*model\.glue"):
        load_run(path, "cpu")


def test_without_resume_a_run_is_trained_from_scratch(checkpoint):
    other = replace(TINY, training=replace(TINY.training, seed=9))
    train(other, checkpoint.parent, resume=False, progress=False, device="cpu")
    assert load_run(checkpoint.parent, "cpu").config.training.seed == 9
    train(TINY, checkpoint.parent, resume=False, progress=False, device="cpu")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_one(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def full(state, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"cannot write checkpoint .*checkpoint\.pt.*No space"):
        save_checkpoint({}, checkpoint)
    assert checkpoint.read_bytes() == before
    assert {p.name for p in checkpoint.parent.iterdir()} - {LOCK} == {"checkpoint.pt"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write checkpoint .*file"):
        save_checkpoint({}, tmp_path / "file" / "checkpoint.pt")
