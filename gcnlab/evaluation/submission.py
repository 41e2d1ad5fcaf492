"""Predictions in the formats of the evaluation servers of PASCAL VOC and Cityscapes.

    VOC         results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png   in a .tgz
                palette PNGs of class ids, each of its image's size (devkit, section "Segmentation
                task"; comp5: trained on VOC's segmentations only, comp6: on any data, as the paper)
    Cityscapes  berlin_000000_000019_pred_labelIds.png                        in a .zip
                8-bit PNGs of label ids (not train ids), each of its image's size

The archive is read back and compared with the predictions before its path is returned.
"""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gcnlab.annotations import Shaped, Tensor
from gcnlab.datasets.cityscapes import to_label_ids
from gcnlab.datasets.files import palette_picture
from gcnlab.datasets.ids import check_labels
from gcnlab.datasets.labels import CITYSCAPES, IGNORE, VOC, LabelSet, voc_palette
from gcnlab.evaluation.prediction import Predictor, predictor_of
from gcnlab.evaluation.settings import Inference
from gcnlab.images import image_tensor
from gcnlab.models.modes import evaluation_mode

Competition = Literal["comp5", "comp6"]


def submit(
    model: nn.Module | Predictor,
    dataset: Dataset,
    out: str | Path,
    split: str = "test",
    competition: Competition = "comp6",
    inference: Inference | None = None,
    progress: bool = True,
) -> Path:
    """Predict a split and pack the predictions for the evaluation server.

    Args:
        model: maps normalised images to score maps; left as it was. Or a `Predictor`, for example
            with a CRF.
        dataset: yields (normalised image, labels), with `.labels` of VOC or Cityscapes and
            `.name(i)`.
        out: new or empty folder for the files and their archive.
        split: name of the split, which is part of the names of VOC's folders.
        competition: for VOC: "comp5" if trained on VOC's segmentations only, else "comp6".
        inference: flip, scales, tiles; None is one pass over the whole image.
        progress: show a progress bar.

    Returns:
        Path of the archive.

    Raises:
        ValueError: the data set has no server, the network has other classes, or `out` is not
            empty.
        TypeError: `model` is not a network, or it does not return score maps.
    """
    predictor = predictor_of(model, inference=inference)
    write = submission_format(dataset.labels)
    predictions = _predictions(predictor, dataset, progress)
    with evaluation_mode(predictor.model):
        if write is write_voc:
            return write_voc(predictions, out, split, competition)
        return write_cityscapes(predictions, out, split)


def submission_format(labels: LabelSet):
    """`write_voc` or `write_cityscapes`; raises ValueError for the classes of another data set."""
    if labels == VOC:
        return write_voc
    if labels == CITYSCAPES:
        return write_cityscapes
    raise ValueError(
        f"there is no evaluation server for the classes {', '.join(labels.names[:3])}, …: "
        "submissions exist for voc and cityscapes"
    )


def write_voc(
    predictions: Iterable[tuple[str, Shaped[Tensor, "_ _"]]],
    out: str | Path,
    split: str = "test",
    competition: Competition = "comp6",
) -> Path:
    """Write palette PNGs in the devkit's folders under `out`, and the .tgz that the server takes.

    Args:
        predictions: pairs of an image's name and its class ids 0 … 20.
        out: new or empty folder.
        split: "test" for the server.
        competition: "comp5" or "comp6".

    Raises:
        ValueError: an id is not a class, a name occurs twice, there are no predictions, or `out` is
            not empty.
    """
    out = _new_folder(out)
    folder = out / "results" / "VOC2012" / "Segmentation" / f"{competition}_{split}_cls"
    palette = voc_palette(256)
    written = {}
    for name, ids in predictions:
        _check_prediction(ids, VOC, name)
        picture = palette_picture(ids.numpy().astype(np.uint8), palette)
        _write(picture, folder / f"{name}.png", written, out)
    if not written:
        raise ValueError("there are no predictions to pack")
    archive = out / f"VOC2012_{competition}_{split}.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        for inside in written:
            packed.add(out / inside, arcname=inside)
    _compare(read_archive(archive), written, archive)
    return archive


def write_cityscapes(
    predictions: Iterable[tuple[str, Shaped[Tensor, "_ _"]]],
    out: str | Path,
    split: str = "test",
) -> Path:
    """Write PNGs of label ids under `out`, named as Cityscapes' scripts expect, and a .zip of them.

    Args:
        predictions: pairs of "city_sequence_frame" and train ids 0 … 18.
        out: new or empty folder.
        split: name of the split, for the name of the archive.

    Raises:
        ValueError: an id is not a class, a name is not one of Cityscapes or occurs twice, there are
            no predictions, or `out` is not empty.
    """
    out = _new_folder(out)
    written = {}
    for name, ids in predictions:
        parts = name.split("_")
        if len(parts) != 3 or [len(part) for part in parts[1:]] != [6, 6]:
            raise ValueError(f"{name!r} is not a name of Cityscapes, such as city_123456_123456")
        _check_prediction(ids, CITYSCAPES, name)
        picture = Image.fromarray(to_label_ids(ids).numpy())
        _write(picture, out / "results" / f"{name}_pred_labelIds.png", written, out)
    if not written:
        raise ValueError("there are no predictions to pack")
    archive = out / f"cityscapes_{split}.zip"
    with zipfile.ZipFile(archive, "w") as packed:  # PNGs are already compressed
        for inside in written:
            packed.write(out / inside, arcname=Path(inside).name)
    found = {f"results/{name}": picture for name, picture in read_archive(archive).items()}
    _compare(found, written, archive)
    return archive


def read_archive(archive: str | Path) -> dict[str, Image.Image]:
    """The pictures in a .tgz or .zip, by their paths inside the archive."""
    archive = Path(archive)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            files = {name: packed.read(name) for name in packed.namelist()}
    else:
        with tarfile.open(archive, "r:gz") as packed:
            members = [member for member in packed.getmembers() if member.isfile()]
            files = {member.name: packed.extractfile(member).read() for member in members}
    return {name: Image.open(io.BytesIO(content)) for name, content in files.items()}


def _predictions(
    predictor: Predictor, dataset: Dataset, progress: bool
) -> Iterator[tuple[str, Tensor]]:
    for i in tqdm(range(len(dataset)), desc="predict", unit="img", disable=not progress):
        image, _ = dataset[i]
        image_tensor(dataset.name(i), image)
        yield dataset.name(i), predictor.class_ids(image, dataset.labels)


def _check_prediction(ids: Tensor, labels: LabelSet, name: str) -> None:
    """Raise ValueError with the name of the image unless every pixel has a class; void is not
    one."""
    check_labels(ids, labels.num_classes, f"prediction of {name}")
    if (ids == IGNORE).any():
        raise ValueError(f"prediction of {name}: void ({IGNORE}) is not a class")


def _new_folder(out: str | Path) -> Path:
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(
            f"{out} is not empty: its old files would be packed, too; choose an empty folder"
        )
    return out


def _write(picture: Image.Image, path: Path, written: dict[str, str], out: Path) -> None:
    inside = path.relative_to(out).as_posix()
    if inside in written:
        raise ValueError(f"two predictions have the name {path.stem}")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    written[inside] = _digest(picture)


def _digest(picture: Image.Image) -> str:
    """Digest of mode, size, palette and pixels."""
    head = f"{picture.mode} {picture.size} {picture.getpalette()} ".encode()
    return hashlib.sha256(head + picture.tobytes()).hexdigest()


def _compare(found: dict[str, Image.Image], written: dict[str, str], archive: Path) -> None:
    if found.keys() != written.keys():
        raise ValueError(f"{archive} does not contain the files that were written")
    for name, picture in found.items():
        if _digest(picture) != written[name]:
            raise ValueError(f"{archive}: {name} differs from the prediction; is the disk full?")
