"""ImageNet (ILSVRC 2012): 1,281,167 training images and 50,000 for validation, 1,000 classes.

    imagenet/train/n01440764/n01440764_10026.JPEG
    imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG         one folder per class, or as unpacked:
    imagenet/val/ILSVRC2012_val_00000001.JPEG                   flat, with the development kit:
    imagenet/ILSVRC2012_devkit_t12/data/meta.mat, ILSVRC2012_validation_ground_truth.txt

The index of a class is the position of its WordNet id in the sorted list of all ids, as in
torchvision's weights. (The development kit uses other numbers.)
"""

from collections.abc import Callable
from pathlib import Path

from torch.utils.data import Dataset

from gcnlab.annotations import Tensor
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

_REMEDY = "this is not an ImageNet tree; `gcnlab data get imagenet` says how to get it"


class ImageNet(Dataset):
    """ImageNet for classification.

    `dataset[i]` is (image, class): a tv_tensor, uint8 (3, height, width), and an index.

    Args:
        split: "train" or "val".
        root: folder with train/ and val/; None means `imagenet` under `data_root()`.
        transforms: called with the image only.

    Attributes:
        classes: the sorted WordNet ids; the position of an id is the index of its class.

    Raises:
        FileNotFoundError, ValueError: a folder or file is missing, or train and val have different
            classes; or, when an item is read, a file is damaged. The message names it.
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
            raise ValueError(f"{train}: no class folders (n01440764, …); {_REMEDY}")
        folder = require_folder(self.root / split, _REMEDY)
        if own := _class_folders(folder):
            if strange := sorted(set(own) - set(self.classes)):
                raise ValueError(f"{folder / strange[0]}: train/ does not have this class")
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

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from torchvision import tv_tensors  # slow to import

        path, number = self.items[index]
        image = tv_tensors.Image(read_image(path, upright=False))
        return (image if self.transforms is None else self.transforms(image)), number

    def name(self, index: int) -> str:
        """File name of image `index`, without its extension."""
        return stem_of(self.items[index][0])

    def _flat(self, folder: Path) -> list[tuple[Path, int]]:
        """Images sorted by name, with the classes from the development kit."""
        from scipy.io import loadmat  # imported here, so that training runs without scipy

        kit = self.root / "ILSVRC2012_devkit_t12" / "data"
        truth, meta = kit / "ILSVRC2012_validation_ground_truth.txt", kit / "meta.mat"
        for file in (truth, meta):
            if not file.is_file():
                raise FileNotFoundError(
                    f"{file} is missing: {folder} has no class folders, so the classes come from the "
                    "development kit; unpack ILSVRC2012_devkit_t12.tar.gz"
                )
        try:
            synsets = loadmat(meta, squeeze_me=True)["synsets"]
            wordnet = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in synsets}
        except Exception as error:
            raise ValueError(
                f"{meta}: damaged, or not the file of the development kit ({error})"
            ) from error
        images = _images(folder)
        numbers = []
        for number, line in read_lines(truth):
            if not line.isdecimal():
                raise ValueError(
                    f"{truth}:{number}: {line!r} is not a class number: use the file of the kit"
                )
            numbers.append(int(line))
        if len(numbers) != len(images):
            raise ValueError(
                f"{truth}: {len(numbers)} lines, but {folder} has {len(images)} images"
            )
        place = {name: i for i, name in enumerate(self.classes)}
        if strange := [n for n in numbers if wordnet.get(n) not in place]:
            raise ValueError(f"{truth}: train/ has no folder for class {strange[0]}")
        return [(image, place[wordnet[n]]) for image, n in zip(images, numbers)]


def _class_folders(folder: Path) -> list[str]:
    return [f.name for f in folders_in(folder) if f.name.startswith("n")]


def _images(folder: Path) -> list[Path]:
    return pictures_in(folder) if folder.is_dir() else []
