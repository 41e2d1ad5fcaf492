"""The maps of an atlas, unit by unit against the functions of one field."""

import math

import pytest
import torch
from torch import nn

from gcnlab.receptive import FieldAtlas, field_maps, fields_at, mean_field
from gcnlab.receptive.atlas_maps import AT_ONCE
from tests.receptive.test_atlas import Quarter, small


@pytest.fixture(scope="module")
def image():
    return torch.randn(3, 48, 56, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=["image", "quarter", "cut windows, several classes"])
def atlas(request, image):
    if request.param == "image":
        return FieldAtlas(small(), image, window=8, stride=4).build()
    if request.param == "quarter":
        torch.manual_seed(0)
        return FieldAtlas(Quarter().eval(), image, window=16, stride=8).build()
    return FieldAtlas(small(), image, (11, 9), (7, 9), target=(2, 1), every=8).build()


@pytest.fixture
def objects():
    """Two objects and the background, and a corner that belongs to nothing."""
    objects = torch.zeros(48, 56, dtype=torch.int64)
    objects[5:31, 8:40] = 7
    objects[30:46, 33:51] = 3
    objects[:9, :9] = -1
    return objects


def fields(atlas):
    """Each unit's place in the maps, and its field."""
    target = 1 if isinstance(atlas.settings.target, tuple) else None
    for i, row in enumerate(atlas.units[0].tolist()):
        for j, column in enumerate(atlas.units[1].tolist()):
            yield (i, j), atlas.field((row, column), target)


def target_of(atlas):
    return 1 if isinstance(atlas.settings.target, tuple) else None


@pytest.mark.parametrize(
    ("threshold", "rule"), [(None, None), (0.5, "mass"), (0.3, "maximum"), (1.0, "mass")]
)
def test_the_maps_equal_the_functions_of_each_field(atlas, objects, threshold, rule):
    maps = field_maps(atlas, objects, threshold, rule, target_of(atlas))
    for at, field in fields(atlas):
        assert tuple(maps.centres[at].tolist()) == field.centre
        size = field.discrepancy.abs().double()
        assert maps.area[at].item() == pytest.approx(field.area(threshold, rule), abs=2e-6)
        assert maps.radius[at].item() == pytest.approx(field.radius(), rel=1e-5)
        places = torch.meshgrid(*map(torch.arange, size.shape), indexing="ij")
        middle = [((p * size).sum() / size.sum()).item() for p in places]
        assert maps.offset[at].item() == pytest.approx(math.dist(middle, field.centre), abs=1e-4)
        own = int(objects[field.centre])
        if own < 0:
            assert maps.coverage[at].isnan()
            assert maps.context[at].isnan()
            continue
        mask = objects == own
        covered = field.coverage(mask, threshold, rule)
        assert maps.coverage[at].item() == pytest.approx(covered, abs=1e-6)
        outside = (size[~mask].sum() / size.sum()).item()
        assert maps.context[at].item() == pytest.approx(outside, abs=1e-5)


def test_without_objects_there_is_no_coverage(atlas):
    maps = field_maps(atlas, target=target_of(atlas))
    assert maps.coverage is maps.context is None


def test_a_field_of_zero(image):
    model = nn.Conv2d(3, 2, 1)
    nn.init.zeros_(model.weight)
    atlas = FieldAtlas(model, image, 24, 24, every=8).build()
    maps = field_maps(atlas, torch.zeros(48, 56, dtype=torch.int64))
    assert (maps.area == 0).all()
    assert (maps.coverage == 0).all()
    for values in (maps.radius, maps.offset, maps.context):
        assert values.isnan().all()


def test_a_hand_computation():
    """Each unit of a 1×1 network sees itself, and windows of 2 px every 2 make a square of it."""
    model, image = nn.Conv2d(3, 1, 1, bias=False), torch.ones(3, 8, 8)
    model.weight.data.fill_(1)
    atlas = FieldAtlas(model, image, 2, 2, every=1).build()
    objects = torch.zeros(8, 8, dtype=torch.int64)
    objects[:, 3:] = 1  # it cuts a window into halves
    maps = field_maps(atlas, objects)
    assert torch.equal(maps.area, torch.full((8, 8), 4 / 64))
    torch.testing.assert_close(maps.radius, torch.ones(8, 8))  # √((0 + 1 + 1 + 2) / 4)
    torch.testing.assert_close(maps.offset, torch.full((8, 8), 0.5**0.5))
    torch.testing.assert_close(maps.coverage[0], torch.tensor([4, 4, 2, 2, 4, 4, 4, 4]) / torch.tensor([24.0] * 3 + [40] * 5))  # fmt: skip
    torch.testing.assert_close(maps.context[0], torch.tensor([0, 0, 0.5, 0.5, 0, 0, 0, 0]))


def test_groups_of_rows_do_not_matter(atlas, objects, monkeypatch):
    whole = field_maps(atlas, objects, target=target_of(atlas))
    assert AT_ONCE > 1
    monkeypatch.setattr("gcnlab.receptive.atlas_maps.AT_ONCE", 1)
    parts = field_maps(atlas, objects, target=target_of(atlas))
    for name in ("area", "radius", "offset", "coverage", "context"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), equal_nan=True)


def test_the_fields_of_a_mask_and_their_mean(atlas, objects):
    mask = objects == 7
    found = list(fields_at(atlas, mask, target_of(atlas)))
    wanted = [field for _, field in fields(atlas) if mask[field.centre]]
    assert len(found) == len(wanted) > 0
    for (ours, pixel), theirs in zip(found, wanted, strict=True):
        assert pixel == theirs.centre
        assert torch.equal(ours, theirs.discrepancy)
    mean = mean_field(found, 10)
    assert mean.shape == (21, 21)
    torch.testing.assert_close(
        mean, mean_field(((f.discrepancy, f.centre) for f in wanted), 10), equal_nan=True
    )


def test_what_does_not_fit_is_named(atlas):
    with pytest.raises(ValueError, match="objects are 8×8, but the image is 48×56"):
        field_maps(atlas, torch.zeros(8, 8, dtype=torch.int64), target=target_of(atlas))
    with pytest.raises(ValueError, match="the mask is 8×8, but the image is 48×56"):
        list(fields_at(atlas, torch.ones(8, 8, dtype=torch.bool)))
    with pytest.raises(ValueError, match=r"does not keep class 3 .* target=3"):
        field_maps(atlas, target=3)
    if target_of(atlas) is not None:
        with pytest.raises(ValueError, match=r"keeps the classes \(2, 1\): choose one"):
            field_maps(atlas)
    with pytest.raises(ValueError, match="unknown rule"):
        field_maps(atlas, rule="most", target=target_of(atlas))
