"""Cityscapes: street scenes of 1024×2048 pixels from 50 cities, with 19 classes that are scored.

    cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
               gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png         2,975 / 500 / 1,525
               gtCoarse/train_extra/augsburg/…_gtCoarse_labelIds.png                19,998

The files hold *label ids* 0 … 33 (the official tools omit the licence plate, −1). 19 of them are
used in training and evaluation, as *train ids* 0 … 18; all others become void. Submissions use
label ids. A file that contains 255 holds train ids and is an error.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from gcnlab.annotations import Shaped, Tensor, UInt8
from gcnlab.datasets.files import (
    ImagePairs,
    check_split,
    data_root,
    read_labels,
    require_files,
    require_folder,
)
from gcnlab.datasets.ids import check_ids, check_integers
from gcnlab.datasets.labels import CITYSCAPES, CITYSCAPES_LABEL_IDS, IGNORE
from gcnlab.datasets.merged import Merged
from gcnlab.datasets.trees import folders_in, pictures_in, stem_of

_LAST_ID = 33
_IMAGE = "_leftImg8bit"

CITIES = {
    "train": frozenset(
        [
            "aachen",
            "bochum",
            "bremen",
            "cologne",
            "darmstadt",
            "dusseldorf",
            "erfurt",
            "hamburg",
            "hanover",
            "jena",
            "krefeld",
            "monchengladbach",
            "strasbourg",
            "stuttgart",
            "tubingen",
            "ulm",
            "weimar",
            "zurich",
        ]
    ),
    "val": frozenset(("frankfurt", "lindau", "munster")),
    "test": frozenset(("berlin", "bielefeld", "bonn", "leverkusen", "mainz", "munich")),
}
"""The cities of the official splits; train_extra has 23 other cities."""


def to_train_ids(
    label_ids: UInt8[Tensor, "height width"], source: str | Path
) -> UInt8[Tensor, "height width"]:
    """Convert label ids to train ids 0 … 18 and void 255.

    Raises:
        ValueError: an id is not a label id of Cityscapes; the message names `source`.
    """
    check_integers(label_ids, f"{source}: labels")
    wrong = label_ids[label_ids > _LAST_ID].unique().tolist()
    if wrong:
        hint = "; the file holds train ids: use *_labelIds.png" if wrong == [IGNORE] else ""
        raise ValueError(
            f"{source}: ids {wrong[:5]} are not label ids of Cityscapes (0 … {_LAST_ID}){hint}"
        )
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    table[list(CITYSCAPES_LABEL_IDS)] = torch.arange(len(CITYSCAPES_LABEL_IDS), dtype=torch.uint8)
    return table[label_ids.long()]


def to_label_ids(train_ids: Shaped[Tensor, "height width"]) -> UInt8[Tensor, "height width"]:
    """Convert train ids to label ids, for submissions; void becomes 0, "unlabeled".

    Raises:
        ValueError: an id is not a train id.
    """
    check_ids(train_ids, len(CITYSCAPES_LABEL_IDS), "train ids", void=IGNORE)
    table = torch.zeros(256, dtype=torch.uint8)
    table[: len(CITYSCAPES_LABEL_IDS)] = torch.tensor(CITYSCAPES_LABEL_IDS, dtype=torch.uint8)
    return table[train_ids.long()]


class Cityscapes(ImagePairs):
    """Cityscapes with train ids.

    Args:
        split: "train", "val", "train_extra" (coarse labels only) or "test". The labels of the test
            split are not public: all pixels are void.
        root: folder with leftImg8bit/ and gtFine/ or gtCoarse/; None means `cityscapes` under
            `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
        coarse: use the coarse labels.

    Raises:
        FileNotFoundError, ValueError: a folder or file is missing, or a city is in another split's
            folder; or, when an item is read, a file is damaged or does not hold label ids. The
            message names the file.
    """

    labels = CITYSCAPES

    def __init__(
        self,
        split: str = "train",
        root: str | Path | None = None,
        transforms: Callable | None = None,
        coarse: bool = False,
    ):
        check_split(split, (*CITIES, "train_extra"))
        if split == "train_extra" and not coarse:
            raise ValueError("train_extra has only coarse labels: set coarse=True")
        super().__init__(transforms)
        self.split = split
        self.root = data_root() / "cityscapes" if root is None else Path(root)
        remedy = "this is not a complete Cityscapes tree; `gcnlab data get cityscapes` says how to get it"
        folder = require_folder(self.root / "leftImg8bit" / split, remedy)
        self.images = [
            image
            for city in folders_in(folder)
            for image in pictures_in(city, (".png",))
            if image.stem.endswith(_IMAGE)
        ]
        if not self.images:
            raise ValueError(f"{folder}: no files CITY/*_leftImg8bit.png; {remedy}")
        for city in sorted({image.parent.name for image in self.images}):
            home = next((name for name, cities in CITIES.items() if city in cities), "train_extra")
            if home != split:
                raise ValueError(f"{folder / city}: {city} belongs to the {home} split")
        kind = "gtCoarse" if coarse else "gtFine"
        self.label_files = [
            None if split == "test" else self._label(image, kind) for image in self.images
        ]
        self.label_files = require_files(
            self.label_files, f"{kind} labels of the {split} split", remedy
        )

    def _label(self, image: Path, kind: str) -> Path:
        name = f"{image.stem.removesuffix(_IMAGE)}_{kind}_labelIds.png"
        return self.root / kind / self.split / image.parent.name / name

    def decode(self, file: Path) -> UInt8[Tensor, "_ _"]:
        return to_train_ids(read_labels(file), file)

    def name(self, index: int) -> str:
        """City, sequence and frame of image `index`: "aachen_000000_000019"."""
        return stem_of(self.images[index]).removesuffix(_IMAGE)


def cityscapes_train_with_coarse(
    root: str | Path | None = None, transforms: Callable | None = None
) -> Merged:
    """The data of the paper's first stage: 22,973 images of train_extra (coarse) and train (fine)."""
    extra = Cityscapes("train_extra", root, coarse=True)
    return Merged([extra, Cityscapes("train", root)], transforms)
