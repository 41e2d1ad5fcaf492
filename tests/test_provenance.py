import json
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest

from gcnlab.provenance import provenance, write_json, write_result


def test_a_result_says_where_it_comes_from(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/gcnlab", "train", "a folder"])
    record = provenance(seeds=[1, 2], dataset="shapes", split="val", device="cpu", seconds=1.25)
    assert record["command"] == "gcnlab train 'a folder'"  # no path of a machine
    assert record["seeds"] == [1, 2]
    assert {"commit", "device", "wall_seconds", "finished", "versions"} <= record.keys()
    assert {"python", "gcnlab", "torch", "torchvision"} <= record["versions"].keys()


def test_a_result_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_json({"k": "1×1"}, path)
    with pytest.raises(TypeError):
        write_json({"k": object()}, path)
    assert json.loads(path.read_text()) == {"k": "1×1"}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_the_same_result_keeps_the_provenance_of_the_first_time(tmp_path):
    path, nan = tmp_path / "result.json", float("nan")
    first = {"scores": {"miou": 0.1 + 0.2, "boundary": nan}, "provenance": {"commit": "a"}}
    write_result(first, path)
    write_result({**first, "provenance": {"commit": "b"}}, path)
    assert json.loads(path.read_text())["provenance"] == {"commit": "a"}
    write_result({"scores": {"miou": 0.3, "boundary": nan}, "provenance": {"commit": "b"}}, path)
    assert json.loads(path.read_text())["provenance"] == {"commit": "b"}


@pytest.mark.parametrize("content", ["", "[]", "null", '{"scores": 1', "\ufeff{}"])
def test_a_damaged_result_is_written_again(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_text(content)
    write_result({"scores": 1.0, "provenance": {}}, path)
    assert json.loads(path.read_text())["scores"] == 1.0


def test_a_module_that_was_run_is_named_as_it_is_called(monkeypatch):
    module = SimpleNamespace(__spec__=SimpleNamespace(name="gcnlab.experiments.object_size"))
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr("sys.argv", ["/somewhere/gcnlab/experiments/object_size.py", "run"])
    record = provenance(seeds=[], dataset="shapes", split="val", device="cpu", seconds=1.0)
    assert record["command"] == "python -m gcnlab.experiments.object_size run"


def test_a_copy_of_the_sources_has_no_version(monkeypatch):
    def version(name):
        if name == "gcnlab":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("gcnlab.provenance.metadata.version", version)
    record = provenance(seeds=[], dataset="shapes", split="val", device="cpu", seconds=1.0)
    assert (record["versions"]["gcnlab"], record["versions"]["torch"]) == (None, "1.0")


def test_a_result_of_many_numbers_has_one_line(tmp_path):
    path = tmp_path / "result.json"
    write_json({"a": [1, 2], "b": float("nan")}, path, indent=None)
    assert path.read_text() == '{"a": [1, 2], "b": null}\n'
