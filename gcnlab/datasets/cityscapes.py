"""Cityscapes: street scenes of 1024×2048 pixels from 50 cities, 19 classes that are scored.

    cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
               gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png         2,975 / 500 / 1,525
               gtCoarse/train_extra/augsburg/…_gtCoarse_labelIds.png                19,998

The files hold *label ids* 0 … 33 (the official writer leaves out the licence plate, −1); 19 of them are trained
and scored, under *train ids* 0 … 18. All others become void. Submissions carry label ids. A file with 255 in it
holds train ids, and is refused.
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
"""The cities of the official splits; train_extra has 23 others."""


def to_train_ids(
    label_ids: UInt8[Tensor, "height width"], source: str | Path
) -> UInt8[Tensor, "height width"]:
    """Train ids 0 … 18 and void 255.

    Raises:
        ValueError: naming `source`, if an id is none of Cityscapes'.
    """
    check_integers(label_ids, f"{source}: labels")
    wrong = label_ids[label_ids > _LAST_ID].unique().tolist()
    if wrong:
        hint = "; it holds train ids: take *_labelIds.png" if wrong == [IGNORE] else ""
        raise ValueError(
            f"{source}: ids {wrong[:5]} are no label ids of Cityscapes (0 … {_LAST_ID}){hint}"
        )
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    table[list(CITYSCAPES_LABEL_IDS)] = torch.arange(len(CITYSCAPES_LABEL_IDS), dtype=torch.uint8)
    return table[label_ids.long()]


def to_label_ids(train_ids: Shaped[Tensor, "height width"]) -> UInt8[Tensor, "height width"]:
    """Label ids; void becomes 0, "unlabeled". The way back, for submissions.

    Raises:
        ValueError: an id is no train id.
    """
    check_ids(train_ids, len(CITYSCAPES_LABEL_IDS), "train ids", void=IGNORE)
    table = torch.zeros(256, dtype=torch.uint8)
    table[: len(CITYSCAPES_LABEL_IDS)] = torch.tensor(CITYSCAPES_LABEL_IDS, dtype=torch.uint8)
    return table[train_ids.long()]


class Cityscapes(ImagePairs):
    """Cityscapes with train ids.

    Args:
        split: "train", "val", "train_extra" (coarse labels only), or "test", whose labels are not
            public: they are void everywhere.
        root: folder with leftImg8bit/ and gtFine/ or gtCoarse/; None means `cityscapes` under
            `data_root()`.
        transforms: called with (image, labels), returns both; see `gcnlab.datasets.transforms`.
        coarse: the coarse labels.

    Raises:
        FileNotFoundError, ValueError: a folder or file is missing, or a city lies in another split's folder;
            (on reading an item) a file is damaged, or its ids are no label ids. Each names the file.
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
            raise ValueError("train_extra has coarse labels only: give coarse=True")
        super().__init__(transforms)
        self.split = split
        self.root = data_root() / "cityscapes" if root is None else Path(root)
        remedy = "this is no whole tree of Cityscapes; `gcnlab data get cityscapes` says where it comes from"
        folder = require_folder(self.root / "leftImg8bit" / split, remedy)
        self.images = [
            image
            for city in folders_in(folder)
            for image in pictures_in(city, (".png",))
            if image.stem.endswith(_IMAGE)
        ]
        if not self.images:
            raise ValueError(f"{folder}: no CITY/*_leftImg8bit.png; {remedy}")
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
        """City, sequence and frame: "aachen_000000_000019"."""
        return stem_of(self.images[index]).removesuffix(_IMAGE)


def cityscapes_train_with_coarse(
    root: str | Path | None = None, transforms: Callable | None = None
) -> Merged:
    """The paper's first stage: train_extra with coarse labels and train with fine ones, 22,973 images."""
    extra = Cityscapes("train_extra", root, coarse=True)
    return Merged([extra, Cityscapes("train", root)], transforms)
