import shutil

import pytest

from gcnlab.datasets.miniature import make_miniatures


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """The miniatures of all data sets, drawn once."""
    return make_miniatures(tmp_path_factory.mktemp("miniatures"))


@pytest.fixture
def root(drawn, tmp_path):
    """A copy of the miniatures that a test may damage."""
    return shutil.copytree(drawn, tmp_path / "data")
