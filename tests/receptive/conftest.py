import pytest

import gcnlab.receptive.graph
from gcnlab.receptive.locality import axes_of


@pytest.fixture(autouse=True)
def _mistakes_of_the_proof_are_failures(monkeypatch):
    """Outside the tests a mistake in the proof of locality only makes an operation slow."""
    monkeypatch.setattr(gcnlab.receptive.graph, "_proven_axes", axes_of)
