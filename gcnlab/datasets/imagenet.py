"""ImageNet (ILSVRC 2012): 1,281,167 training images and 50,000 for validation, 1,000 classes.

    imagenet/train/n01440764/n01440764_10026.JPEG
    imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG         one folder a class, or as it is unpacked:
    imagenet/val/ILSVRC2012_val_00000001.JPEG                   flat, with the development kit beside it:
    imagenet/ILSVRC2012_devkit_t12/data/meta.mat, ILSVRC2012_validation_ground_truth.txt

A class's number is the place of its WordNet id in the sorted order of all of them, as in torchvision's weights.
(The development kit numbers them otherwise.)
"""

from collections.abc import Callable
from pathlib import Path

from torch.utils.data import Dataset
from torchvision import tv_tensors

from gcnlab.datasets.lists import read_lines
from gcnlab.datasets.pictures import read_image
from gcnlab.datasets.trees import (
    check_split,
    data_root,
    folders_in,
    pictures_in,
    require_folder,
    stem_of,
)

_REMEDY = "this is no tree of ImageNet; `gcnlab data get imagenet` says where it comes from"


class ImageNet(Dataset):
    """ImageNet for classification.

    `dataset[i]` is (image, class): a tv_tensor, uint8 (3, height, width), and a number.

    Args:
        split: "train" or "val".
        root: folder with train/ and val/; None means `imagenet` under `data_root()`.
        transforms: called with the image alone.

    Attributes:
        classes: the WordNet ids, sorted; a class's number is its place.

    Raises:
        FileNotFoundError, ValueError: a folder or file is missing; train and val have different classes;
            (on reading an item) a damaged file. Each names it.
    """

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
    ):
        check_split(split, ("train", "val"))
        self.split, self.transforms = split, transforms
        self.root = data_root() / "imagenet" if root is None else Path(root)
        train = require_folder(self.root / "train", _REMEDY)
        self.classes = _class_folders(train)
        if not self.classes:
            raise ValueError(f"{train}: no folders of classes (n01440764, …); {_REMEDY}")
        folder = require_folder(self.root / split, _REMEDY)
        if own := _class_folders(folder):
            if strange := sorted(set(own) - set(self.classes)):
                raise ValueError(f"{folder / strange[0]}: train/ has no such class")
            self.items = [
                (image, number)
                for number, name in enumerate(self.classes)
                for image in _images(folder / name)
            ]
        else:
            self.items = self._flat(folder)
        if not self.items:
            raise ValueError(f"{folder}: no images; {_REMEDY}")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, int]:
        path, number = self.items[index]
        image = tv_tensors.Image(read_image(path, upright=False))
        return (image if self.transforms is None else self.transforms(image)), number

    def name(self, index: int) -> str:
        """File name of image `index`, without its ending."""
        return stem_of(self.items[index][0])

    def _flat(self, folder: Path) -> list[tuple[Path, int]]:
        """Images in the order of their names, with the development kit's ground truth."""
        from scipy.io import loadmat  # here, so that training runs without scipy

        kit = self.root / "ILSVRC2012_devkit_t12" / "data"
        truth, meta = kit / "ILSVRC2012_validation_ground_truth.txt", kit / "meta.mat"
        for file in (truth, meta):
            if not file.is_file():
                raise FileNotFoundError(
                    f"{file} is missing: {folder} has no folders of classes, so the development kit "
                    "(ILSVRC2012_devkit_t12.tar.gz, unpacked) has to say which image is what"
                )
        try:
            synsets = loadmat(meta, squeeze_me=True)["synsets"]
            wordnet = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}
        except Exception as error:
            raise ValueError(f"{meta}: damaged, or not the development kit's ({error})") from error
        images = _images(folder)
        numbers = []
        for number, line in read_lines(truth):
            if not line.isdecimal():
                raise ValueError(
                    f"{truth}:{number}: {line!r} is no class number: take the kit's file"
                )
            numbers.append(int(line))
        if len(numbers) != len(images):
            raise ValueError(
                f"{truth}: {len(numbers)} lines for the {len(images)} images in {folder}"
            )
        place = {name: i for i, name in enumerate(self.classes)}
        if strange := [n for n in numbers if wordnet.get(n) not in place]:
            raise ValueError(f"{truth}: train/ has no folder of class {strange[0]}")
        return [(image, place[wordnet[n]]) for image, n in zip(images, numbers)]


def _class_folders(folder: Path) -> list[str]:
    return [f.name for f in folders_in(folder) if f.name.startswith("n")]


def _images(folder: Path) -> list[Path]:
    return pictures_in(folder) if folder.is_dir() else []
