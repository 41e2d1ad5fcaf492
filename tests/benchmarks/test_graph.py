"""The comparison of the two ways to record a graph."""

import pytest
import torch
from torch import nn

from benchmarks.graph import CASES, GraphBenchmark, graph


class Writing(nn.Module):
    """A network that one pass is not enough for, because it changes a part of a tensor."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.norm(x)
        y[:, :, :2] = 0
        return y


def test_each_way_is_taken():
    """An export takes batch norm apart; one pass gives up on `Writing`."""
    image = torch.zeros(1, 3, 8, 8)
    kinds = {
        way: [o.name for o in graph(nn.BatchNorm2d(3).eval(), image, way).operations]
        for way in ("one pass", "export")
    }
    assert "batch_norm" in " ".join(kinds["one pass"])
    assert "native_batch_norm" not in " ".join(kinds["one pass"])
    assert "native_batch_norm" in " ".join(kinds["export"])
    assert graph(Writing().eval(), image, "export").operations
    with pytest.raises(RuntimeError, match="one pass is not enough for Writing"):
        graph(Writing().eval(), image, "one pass")


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=f"--only must be a case, 1 … {len(CASES)}, not 9"):
        GraphBenchmark(only=9)
    with pytest.raises(ValueError, match="--cold-rounds must be at least 1"):
        GraphBenchmark(cold_rounds=0)
