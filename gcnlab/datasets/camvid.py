"""CamVid: photographs of a drive, 480×360, 11 classes (Brostow, Fauqueur, Cipolla 2008).

There are 367 training images and 101 for validation. The reader takes two forms of the same tree:

    root/train/*.jpg|png   root/trainannot/*.png          (pairs by name)
    root/train.txt         lines "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png;"

If there are lists, they determine the split. Of each path in a list only the last folder and the
file name are used. Labels are single-channel PNGs of class ids; id 11 (void) becomes 255.
"""

from collections.abc import Callable
from pathlib import Path, PureWindowsPath

from gcnlab.annotations import Tensor, UInt8
from gcnlab.datasets.files import ImagePairs, check_split, data_root, read_labels, require_files
from gcnlab.datasets.labels import CAMVID, IGNORE
from gcnlab.datasets.lists import check_file_name, read_lines
from gcnlab.datasets.trees import pictures_in

_VOID = 11


class CamVid(ImagePairs):
    """CamVid with 11 classes, at 480×360.

    `dataset[i]` is a pair of tv_tensors: an image, uint8 (3, 360, 480), and a label map, uint8
    (360, 480) of class ids 0 … 10 and void 255.

    Args:
        split: "train", "val" or "test".
        root: folder of the tree; None means `camvid` under `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.

    Raises:
        FileNotFoundError: the folder or a label file does not exist.
        ValueError: the split is empty; or, when an item is read, a file is damaged, the sizes of
            image and labels differ, or the labels are not single-channel or have an id above 11.
            The message names the file.
    """

    labels = CAMVID

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
    ):
        check_split(split, ("train", "val", "test"))
        self.root = data_root() / "camvid" if root is None else Path(root)
        super().__init__(transforms)
        self.split = split
        if not self.root.is_dir():
            raise FileNotFoundError(
                f"CamVid not found in {self.root}: set root=…, or GCNLAB_DATA to the folder that contains camvid/"
            )
        listing = self.root / f"{split}.txt"
        pairs = self._read_list(listing) if listing.is_file() else self._read_folders()
        if not pairs:
            raise ValueError(f"{listing if listing.is_file() else self.root / split}: empty split")
        files = require_files(
            [file for pair in pairs for file in pair],
            f"{split} split of CamVid",
            "unpack CamVid again",
        )
        self.images, self.label_files = files[::2], files[1::2]

    def _read_list(self, listing: Path) -> list[tuple[Path, Path]]:
        pairs: dict[Path, tuple[Path, int]] = {}
        for number, line in read_lines(listing):
            paths, source = line.rstrip(";").split(), f"{listing}:{number}"
            if len(paths) != 2:
                raise ValueError(
                    f"{source}: expected two paths, found {len(paths)}: write IMAGE LABEL, without spaces in a path"
                )
            image, label = (self._listed(path, source) for path in paths)
            if image in pairs:
                raise ValueError(
                    f"{source}: {image.name} is listed twice, first on line {pairs[image][1]}: remove one"
                )
            pairs[image] = label, number
        return [(image, label) for image, (label, _) in pairs.items()]

    def _listed(self, path: str, source: str) -> Path:
        """The file of a path in a list: its last folder and name; slashes and backslashes both
        separate.
        """
        *_, folder, name = ("", "", *PureWindowsPath(path).parts)
        check_file_name(name, source)
        if folder.strip("./\\") == "" or not Path(name).suffix:
            raise ValueError(
                f"{source}: {path!r} is not the path of an image, such as {self.split}/NAME.png"
            )
        return self.root / folder / name

    def _read_folders(self) -> list[tuple[Path, Path]]:
        folder, labels = self.root / self.split, self.root / f"{self.split}annot"
        for path in (folder, labels):
            if not path.is_dir():
                raise FileNotFoundError(
                    f"{path} is missing: this is not a CamVid tree, or it lacks this split"
                )
        return [(image, labels / f"{image.stem}.png") for image in pictures_in(folder)]

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        labels = read_labels(file)
        labels[labels == _VOID] = IGNORE
        return labels
