import numpy as np
import pytest
import torch
from PIL import Image

from gcnlab.datasets import Normalization
from gcnlab.widgets.examples import Examples, smaller

NORMALIZE = Normalization()
PICTURE = torch.arange(3 * 8 * 10).reshape(3, 8, 10).byte()
LABELS = torch.ones(8, 10, dtype=torch.uint8)


def saved(path, picture=PICTURE):
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)
    return path


def test_one_image_in_all_its_forms(tmp_path):
    normalised = NORMALIZE(PICTURE)
    for source in (normalised, PICTURE, saved(tmp_path / "a.png"), str(tmp_path / "a.png")):
        (example,) = (Examples(source)[0],)
        torch.testing.assert_close(example.image, normalised)
        assert torch.equal(example.picture, PICTURE)
        assert example.labels is None
    pair = Examples((normalised, LABELS))[0]
    assert torch.equal(pair.labels, LABELS)


def test_several_images(tmp_path):
    files = [saved(tmp_path / f"{name}.png") for name in ("cat", "dog")]
    examples = Examples([*files, PICTURE], labels=[None, LABELS, None])
    assert examples.titles == ["cat", "dog", "3"]
    assert [example.labels is None for example in map(examples.__getitem__, range(3))] == [
        True,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="image_index 3 is out of range: there are 3 images"):
        examples[3]


class DataSet:
    """Twenty images of different sizes; it counts how often one is read."""

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return 20

    def __getitem__(self, number):
        if not 0 <= number < 20:
            raise IndexError
        self.reads += 1
        picture = torch.full((3, 8, 10 + number), number, dtype=torch.uint8)
        return NORMALIZE(picture), torch.full((8, 10 + number), number)


def test_a_data_set_is_read_when_an_image_is_shown():
    source = DataSet()
    examples = Examples(source)
    assert (len(examples), source.reads) == (20, 0)
    assert examples.titles[-1] == "20"
    for number in (19, 19, 3):
        assert examples[number].size == (8, 10 + number)
        assert (examples[number].labels == number).all()
        assert (examples[number].picture == number).all()
    assert source.reads == 2


def test_a_file_is_added_and_made_smaller(tmp_path):
    large = torch.randint(0, 256, (3, 40, 20), dtype=torch.uint8)
    examples = Examples(PICTURE)
    assert examples.add("large.png", saved(tmp_path / "x.png", large).read_bytes()) == (1, True)
    assert examples.titles == ["1", "large"]
    assert examples[1].size == (10, 5)
    wanted = np.array(
        Image.fromarray(large.permute(1, 2, 0).numpy()).resize((5, 10), Image.BILINEAR)
    )
    found = examples[1].picture.permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - wanted).max() <= 1
    torch.testing.assert_close(examples[1].image, NORMALIZE(examples[1].picture))
    assert torch.equal(smaller(PICTURE, 10), PICTURE)


def test_a_small_file_keeps_its_size(tmp_path):
    content = saved(tmp_path / "x.png", PICTURE[:, :4, :5]).read_bytes()
    for name in ("", "..", "a" * 300 + ".png"):
        examples = Examples(PICTURE)
        assert examples.add(name, content) == (1, False)
        assert torch.equal(examples[1].picture, PICTURE[:, :4, :5])


def test_a_pair_may_hold_a_file(tmp_path):
    example = Examples([(saved(tmp_path / "a.png"), LABELS)])[0]
    assert torch.equal(example.picture, PICTURE)
    assert torch.equal(example.labels, LABELS.long())
    assert len(Examples((tmp_path / "a.png", tmp_path / "a.png"))) == 2


def test_labels_are_ids():
    labels = LABELS.int()
    labels[0, :3] = torch.tensor([-1, 511, 24001])
    found = Examples(PICTURE, labels=labels)[0].labels
    assert found[0, :4].tolist() == [255, 511, 24001, 1]
    with pytest.raises(ValueError, match="labels has the id 70000"):
        Examples(PICTURE, labels=LABELS.int() * 70000)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": Image.new("RGB", (3, 3))}, "image must be a tensor, a file, or a list"),
        ({"source": [Image.new("RGB", (3, 3))]}, "image must be a tensor"),
        ({"source": torch.rand(4, 8, 10)}, "image has 4 channels: give the picture to show, too"),
        (
            {"source": PICTURE[:1]},
            r"image must be RGB, uint8 \(3, height, width\), not torch.uint8",
        ),
        ({"source": PICTURE, "labels": LABELS.numpy()}, "labels must be a tensor"),
        ({"source": PICTURE, "labels": LABELS / 2}, "labels must be ids"),
        ({"source": PICTURE, "pictures": PICTURE / 255}, "picture must be RGB, uint8"),
        ({"source": (PICTURE, LABELS.numpy())}, "labels must be a tensor"),
    ],
)
def test_what_is_no_image_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Examples(**arguments)[0]


def test_errors():
    with pytest.raises(ValueError, match="there is no image"):
        Examples([])
    with pytest.raises(ValueError, match="labels has 1 items for 2 images"):
        Examples([PICTURE, PICTURE], labels=[LABELS])
    with pytest.raises(ValueError, match="labels has 3×3 pixels, but the image has 8×10"):
        Examples(PICTURE, labels=torch.zeros(3, 3))[0]
    with pytest.raises(ValueError, match=r"^notes.txt: damaged, or not an image"):
        Examples(PICTURE).add("../notes.txt", b"hello")
