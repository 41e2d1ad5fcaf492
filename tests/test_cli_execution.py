"""Flags of the execution: the files in the folder; the result does not depend on them."""

import json
import sys
from pathlib import Path

import pytest

import gcnlab.datasets.shapes
from gcnlab.cli import main

pytestmark = pytest.mark.slow

TINY = (
    *("--data.image-size", "32", "--data.train-images", "4", "--model.kernel-size", "3"),
    *("--training.epochs", "2", "--training.batch-size", "2", "--device", "cpu"),
)


def gcnlab_command(*arguments: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gcnlab", *map(str, arguments)])
        patch.setitem(gcnlab.datasets.shapes.SPLITS, "val", 2)
        main()


def test_the_folder_has_what_was_asked_for_and_the_result_is_the_same(tmp_path):
    plain, monitored = tmp_path / "plain", tmp_path / "monitored"
    gcnlab_command("train", "shapes", "--out", plain, *TINY)
    flags = ("--execution.keep", "2", "--execution.validate-every", "1", "--execution.samples", "1")
    gcnlab_command("train", "shapes", "--out", monitored, *TINY, *flags, "--execution.tensorboard")
    added = {p.name for p in monitored.iterdir()} - {p.name for p in plain.iterdir()}
    assert added == {"checkpoint-00000002.pt", "best.pt", "samples", "tensorboard"}
    assert len(list((monitored / "samples").iterdir())) == 2
    ours, theirs = (json.loads((p / "result.json").read_text()) for p in (monitored, plain))
    assert ours["settings"] == theirs["settings"]
    assert str(ours["scores"]) == str(theirs["scores"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--execution.keep", "0"), "execution.keep must be at least 1"),
        (("--training.accumulation", "3"), "training.accumulation must be between 1 and"),
        (("--execution.checkpoint-minutes", "-1"), "execution.checkpoint_minutes"),
    ],
)
def test_wrong_flags_are_named(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as end:
        gcnlab_command("train", "shapes", "--out", tmp_path / "run", *TINY, *flags)
    assert end.value.code != 0
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
