import json
import re
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import Quarter, Slow, Summing, integer_image

from gcnlab.receptive import FieldAtlas
from gcnlab.widgets import save_page
from gcnlab.widgets.packing import pack_atlas
from gcnlab.widgets.scene import bytes_of, number_objects, text_of

IMAGE = integer_image()
SHOWN = (IMAGE * 60).byte()


def unpacked(facts, numbers):
    """What the browser has to do (browser/fields.js), as numpy does it."""
    units = [len(at) for at in facts["units"]]
    count = units[0] * units[1]
    scale, score = np.frombuffer(numbers, np.float32, 2 * count).reshape(2, *units)
    classes = np.frombuffer(numbers, np.uint16, count, 8 * count).reshape(units)
    kind = np.float32 if facts["precision"] == "float32" else np.int8
    values = np.frombuffer(numbers, kind, offset=10 * count).reshape(*facts["windows"], *units)
    if kind is np.int8:
        values = values.cumsum(3, dtype=np.int8).cumsum(2, dtype=np.int8).astype(float)
        values = values * abs(values) / 127**2 * scale
    return values, score, classes


def dense(sparse, width):
    matrix = np.zeros((len(sparse), width))
    for i, row in enumerate(sparse):
        for k, weight in row:
            matrix[i, k] = weight
    return matrix


def field(facts, values, row, column):
    """The field of one unit, pixel by pixel."""
    down, across = (dense(w, n) for w, n in zip(facts["weights"], facts["windows"]))
    cells = down @ values[:, :, row, column] @ across.T
    heights, widths = (np.diff(edges) for edges in facts["edges"])
    return cells.repeat(heights, 0).repeat(widths, 1)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("net", "every"), [(Summing(5), 4), (Quarter(), 8)])
def test_the_browser_gets_the_fields_of_the_atlas(precision, net, every):
    image = integer_image(45, 70)  # the last windows are cut at the border
    if isinstance(net, Quarter):
        image = integer_image(48, 72)
    atlas = FieldAtlas(net, image, 10, 4, every=every, precision=precision).build()
    facts, numbers = pack_atlas(atlas.table, {"occluder": "10 px every 4"})
    values, score, classes = unpacked(facts, numbers)
    assert facts["evaluated"] == 1
    for i, row in enumerate(atlas.units[0]):
        for j, column in enumerate(atlas.units[1]):
            wanted = atlas.field((int(row), int(column)))
            np.testing.assert_allclose(
                field(facts, values, i, j), wanted.discrepancy.numpy(), rtol=1e-5, atol=1e-6
            )
            assert score[i, j] == np.float32(wanted.score)
            assert classes[i, j] == wanted.target
            assert (facts["units"][0][i], facts["units"][1][j]) == wanted.centre


def test_a_coarse_atlas_is_interpolated():
    atlas = FieldAtlas(Summing(5), IMAGE, 8, 4)
    for _ in atlas.steps():
        if atlas.table.finest_step is not None:
            break
    assert not atlas.complete
    facts, numbers = pack_atlas(atlas.table, {"occluder": "8 px every 4"})
    values, *_ = unpacked(facts, numbers)
    assert facts["evaluated"] < 1
    wanted = atlas.field((20, 32)).discrepancy.numpy()
    np.testing.assert_allclose(field(facts, values, 5, 8), wanted, rtol=1e-5, atol=1e-6)


def test_an_atlas_of_several_classes_is_refused():
    atlas = FieldAtlas(Summing(5), IMAGE, 8, 4, target=(0, 1)).build()
    with pytest.raises(ValueError, match="several classes"):
        pack_atlas(atlas.table, {"occluder": "8 px every 4"})


@given(st.lists(st.integers(0, 3), min_size=48, max_size=48))
def test_objects_are_the_connected_regions_of_one_id(ids):
    labels = torch.tensor(ids, dtype=torch.uint8).reshape(6, 8)
    labels = torch.where(labels == 3, 255, labels)
    numbers = number_objects(labels, background=0)
    assert ((numbers == 0) == ((labels == 0) | (labels == 255)).numpy()).all()
    for i in range(6):
        for j in range(8):
            for k, m in ((i, j + 1), (i + 1, j)):
                if k < 6 and m < 8 and numbers[i, j]:
                    same = bool(labels[i, j] == labels[k, m])
                    assert (numbers[i, j] == numbers[k, m]) == same
    assert set(np.unique(numbers)) | {0} == set(range(numbers.max() + 1))


def saved(path):
    """The data of a saved page."""
    text = path.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'application/json">(.*?)</script>', text, re.S).group(1))


def test_save_page_writes_everything_into_one_file(tmp_path):
    atlases = {f"radius {r}": FieldAtlas(Summing(r), IMAGE, 8, 4).build() for r in (3, 9)}
    labels = torch.zeros(48, 64, dtype=torch.uint8)
    labels[10:20, 10:20] = 1
    save_page(tmp_path / "fields.html", atlases, SHOWN, labels, ("</script>", "one"), (20, 32))
    text, data = saved(tmp_path / "fields.html")
    assert [found["title"] for found in data["scene"]["networks"]] == list(atlases)
    assert data["scene"]["classes"] == ["</script>", "one"]
    assert not re.search(r"(src|href)=.https?:", text)
    alt = re.search(r'<img alt="([^"]*)"', text).group(1)
    assert alt.startswith("radius 3 at row 20, column 32: image: ")
    for number, atlas in enumerate(atlases.values()):
        packed = data["atlases"][number]
        numbers = zlib.decompress(bytes_of(packed["numbers"]))
        assert numbers == pack_atlas(atlas.table.stored_as("int8"), {"occluder": "8 px every 4"})[1]
        assert atlas.table.precision == "float32"  # the atlas itself stays as it was


def test_what_does_not_fit_a_page_is_refused(tmp_path):
    path, atlas = tmp_path / "fields.html", FieldAtlas(Summing(3), IMAGE, 8, 4)
    with pytest.raises(ValueError, match="atlases is empty"):
        save_page(path, {}, SHOWN)
    with pytest.raises(ValueError, match="the atlas 'one' has missing windows: call its build"):
        save_page(path, {"one": atlas}, SHOWN)
    atlas.build()
    with pytest.raises(ValueError, match="is of an image of 48×64, the picture has 48×60"):
        save_page(path, {"one": atlas}, SHOWN[..., :60])
    with pytest.raises(ValueError, match="labels has"):
        save_page(path, {"one": atlas}, SHOWN, labels=torch.zeros(3, 3))
    other = FieldAtlas(Summing(3), IMAGE, 6, 4).build()
    with pytest.raises(ValueError, match="differ: 6 px every 4; 8 px every 4"):
        save_page(path, {"one": atlas, "two": other}, SHOWN)
    oblong = FieldAtlas(Summing(3), IMAGE, (8, 6), 4).build()
    with pytest.raises(ValueError, match="square windows"):
        save_page(path, {"one": oblong}, SHOWN)
    assert not path.exists()


def test_a_slow_network_has_a_page_too(tmp_path):
    atlas = FieldAtlas(Slow(2), IMAGE, 16, 16).build()
    save_page(tmp_path / "fields.html", {"slow": atlas}, SHOWN)
    assert saved(tmp_path / "fields.html")[1]["atlases"][0]["facts"]["windows"] == [3, 4]


@given(st.binary(max_size=40))
def test_bytes_as_text(data):
    text = text_of(data)
    assert bytes_of(text) == data
    assert not set(text) & set('<"\\')
