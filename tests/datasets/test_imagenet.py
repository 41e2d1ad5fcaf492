"""ImageNet's two layouts; torchvision's ImageFolder gives the classes the same ids."""

import shutil

import numpy as np
import pytest
import torchvision
from scipy.io import savemat

from gcnlab.datasets import ImageNet
from gcnlab.datasets.miniature import IMAGENET_CLASSES


@pytest.mark.parametrize("split", ["train", "val"])
def test_equals_torchvisions_image_folder(drawn, split):
    ours = ImageNet(split, drawn / "imagenet")
    theirs = torchvision.datasets.ImageFolder(drawn / "imagenet" / split)
    assert [(str(path), number) for path, number in ours.items] == theirs.samples
    assert list(IMAGENET_CLASSES) == theirs.classes == ours.classes
    image, number = ours[len(ours) - 1]
    assert np.array_equal(image.permute(1, 2, 0), np.array(theirs[len(ours) - 1][0]))
    assert number == 2 == ours.num_classes - 1


def flatten_val(root, ids=(2, 3, 1)):
    """val/ as it is unpacked, and the development kit, which numbers the classes in another order."""
    folder, kit = root / "imagenet" / "val", root / "imagenet" / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    truth = []
    for number, name in zip(ids, IMAGENET_CLASSES):
        for image in sorted((folder / name).iterdir()):
            truth.append((image.name, number))
            image.rename(folder / image.name)
        (folder / name).rmdir()
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text(
        "".join(f"{number}\n" for _, number in sorted(truth))
    )
    synsets = np.array(
        [(number, name) for number, name in zip(ids, IMAGENET_CLASSES)],
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")],
    )
    savemat(kit / "meta.mat", {"synsets": synsets})
    return kit


def test_the_flat_layout_gives_the_same_pairs(drawn, root):
    flatten_val(root)
    flat, folders = ImageNet("val", root / "imagenet"), ImageNet("val", drawn / "imagenet")
    pairs = lambda data: sorted((path.name, number) for path, number in data.items)  # noqa: E731
    assert pairs(flat) == pairs(folders)


def test_the_flat_layout_without_its_kit_or_with_another(root):
    kit = flatten_val(root)
    truth = kit / "ILSVRC2012_validation_ground_truth.txt"
    lines = truth.read_text()
    truth.write_text(lines + "1\n")
    with pytest.raises(ValueError, match=r"ground_truth\.txt: 7 lines, but .* has 6 images"):
        ImageNet("val", root / "imagenet")
    truth.write_text(lines.replace("1", "9"))
    with pytest.raises(ValueError, match=r"ground_truth\.txt: train/ has no folder for class 9"):
        ImageNet("val", root / "imagenet")
    (kit / "meta.mat").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"meta\.mat: damaged"):
        ImageNet("val", root / "imagenet")
    shutil.rmtree(kit)
    with pytest.raises(
        FileNotFoundError, match=r"ground_truth\.txt is missing.*devkit_t12\.tar\.gz"
    ):
        ImageNet("val", root / "imagenet")


def test_trees_that_are_wrong(root):
    tree = root / "imagenet"
    (tree / "val" / "n99999999").mkdir()
    with pytest.raises(ValueError, match=r"val/n99999999: train/ does not have this class"):
        ImageNet("val", tree)
    shutil.rmtree(tree / "val")
    with pytest.raises(FileNotFoundError, match=r"folder .*val does not exist"):
        ImageNet("val", tree)
    data = ImageNet("train", tree)
    data.items[0][0].write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"n01440764_0\.JPEG: damaged"):
        data[0]
    for name in IMAGENET_CLASSES:
        shutil.rmtree(tree / "train" / name)
    with pytest.raises(ValueError, match=r"train: no class folders"):
        ImageNet("train", tree)
    with pytest.raises(ValueError, match="unknown split 'test'"):
        ImageNet("test", tree)
