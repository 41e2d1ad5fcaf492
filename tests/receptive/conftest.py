import pytest

import gcnlab.receptive.graph
from gcnlab.receptive.locality import axes_of


@pytest.fixture(autouse=True)
def _mistakes_of_the_proof_are_failures(monkeypatch):
    """Raise errors in the proof of locality, which otherwise only make an operation slow."""
    monkeypatch.setattr(gcnlab.receptive.graph, "_proven_axes", axes_of)
