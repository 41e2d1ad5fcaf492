import json

import pytest

from benchmarks.allocator import AllocatorBenchmark
from gcnlab.allocator import keep_freed_memory

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
def test_the_benchmark_counts_page_faults_and_writes_what_it_measured(tmp_path, capsys):
    path = tmp_path / "allocator.json"
    # Large enough that a step's blocks are given back to the system: above 32 MB.
    result = AllocatorBenchmark(path, sizes=(256,), rounds=1, steps=3)()
    (row,) = result["rows"]
    assert row["kept"]["page_faults"] < row["given_back"]["page_faults"]
    assert row["kept"]["seconds"] >= row["kept"]["system_seconds"] >= 0
    ratio = row["given_back"]["seconds"] / row["kept"]["seconds"]
    assert row["times_as_fast"] == pytest.approx(ratio)
    assert json.loads(path.read_text())["rows"] == result["rows"]
    assert f"{ratio:.2f} times as fast" in capsys.readouterr().out
