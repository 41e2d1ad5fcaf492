"""The committed surveys of random networks and of networks from other libraries."""

import json
from pathlib import Path

import pytest

from tests.receptive.networks import LAYERS
from tests.receptive.others import OTHERS
from tests.receptive.survey import compare

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def survey(name):
    return json.loads((ROOT / "data" / "results" / "receptive" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["random", "others"])
def test_a_survey_is_made_from_committed_code(name):
    assert not survey(name)["provenance"]["commit"].endswith("+")


def test_the_random_networks_agree_with_the_plain_way():
    found = survey("random")
    assert found["networks"] == sum(found["ways"].values()) >= 2000
    assert found["differ_by_more_than_1e-4"] == []
    assert found["gradient_outside_the_theoretical_field"] == []
    assert found["layers"].keys() == {layer.__name__ for layer in LAYERS}
    assert min(found["layers"].values()) > 20


def test_the_networks_of_others_agree_with_the_plain_way():
    rows = survey("others")["rows"]
    assert [row["network"] for row in rows] == list(OTHERS)
    assert all(row["difference"] <= 1e-4 for row in rows)


def test_a_network_is_compared_as_in_the_survey():
    found = compare(7)
    assert found["difference"] <= 1e-4
    assert found["outside"] == 0
    assert found["way"] in ("local", "partly whole", "plain")
