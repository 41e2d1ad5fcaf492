"""Predictions as the evaluation servers take them: PASCAL VOC and Cityscapes.

    VOC         results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png   in a .tgz
                palette PNGs of class ids, of each image's own size (devkit, section "Segmentation task";
                comp5: trained on VOC's segmentations alone, comp6: on anything, as the paper)
    Cityscapes  berlin_000000_000019_pred_labelIds.png                        in a .zip
                8-bit PNGs of label ids (not train ids), of the image's own size

What is packed is read back from the archive and compared with what was predicted before it is handed out.
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
from gcnlab.datasets.normalization import Normalization
from gcnlab.evaluation.crf import CRF
from gcnlab.evaluation.inference import Inference
from gcnlab.evaluation.prediction import check_modes, class_ids
from gcnlab.images import image_tensor
from gcnlab.models.logits import check_network
from gcnlab.models.modes import evaluation_mode

Competition = Literal["comp5", "comp6"]


def submit(
    model: nn.Module,
    dataset: Dataset,
    out: str | Path,
    split: str = "test",
    competition: Competition = "comp6",
    inference: Inference | None = None,
    crf: CRF | None = None,
    normalization: Normalization | None = None,
    progress: bool = True,
) -> Path:
    """Predict a split and pack it for its server; returns the archive.

    Args:
        model: maps normalised images to scores; left as it was.
        dataset: yields (normalised image, labels), with `.labels` of VOC or Cityscapes and `.name(i)`.
        out: new or empty folder for the files and their archive.
        split: its name, which VOC's folders carry.
        competition: of VOC: "comp5" if trained on VOC's segmentations alone, else "comp6".
        inference, crf, normalization: see `gcnlab.evaluation.predict`.
        progress: show a progress bar.

    Raises:
        ValueError: the data set has no server, the network knows other classes, or `out` is not empty.
        TypeError: what is given is no network, or it does not return scores.
    """
    check_network(model)
    check_modes(inference, crf, normalization)
    write = submission_format(dataset.labels)
    predictions = _predictions(model, dataset, inference, crf, normalization, progress)
    with evaluation_mode(model):
        if write is write_voc:
            return write_voc(predictions, out, split, competition)
        return write_cityscapes(predictions, out, split)


def submission_format(labels: LabelSet):
    """`write_voc` or `write_cityscapes`. Raises ValueError if the classes are neither's."""
    if labels == VOC:
        return write_voc
    if labels == CITYSCAPES:
        return write_cityscapes
    raise ValueError(
        f"no evaluation server for the classes {', '.join(labels.names[:3])}, …: "
        "submissions are made for voc and cityscapes"
    )


def write_voc(
    predictions: Iterable[tuple[str, Shaped[Tensor, "_ _"]]],
    out: str | Path,
    split: str = "test",
    competition: Competition = "comp6",
) -> Path:
    """Palette PNGs in the devkit's folders under `out`, and the .tgz that the server takes.

    Args:
        predictions: pairs of an image's name and its class ids 0 … 20.
        out: new or empty folder.
        split: "test" for the server.
        competition: "comp5" or "comp6".

    Raises:
        ValueError: an id is no class, a name comes twice, there is none, or `out` is not empty.
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
    """PNGs of label ids under `out`, named as Cityscapes' scripts look for them, and a .zip of them.

    Args:
        predictions: pairs of "city_sequence_frame" and train ids 0 … 18.
        out: new or empty folder.
        split: names the archive.

    Raises:
        ValueError: an id is no class, a name is none of Cityscapes' or comes twice, there is none, or
            `out` is not empty.
    """
    out = _new_folder(out)
    written = {}
    for name, ids in predictions:
        parts = name.split("_")
        if len(parts) != 3 or [len(part) for part in parts[1:]] != [6, 6]:
            raise ValueError(f"{name!r} is no name of Cityscapes: city_123456_123456")
        _check_prediction(ids, CITYSCAPES, name)
        picture = Image.fromarray(to_label_ids(ids).numpy())
        _write(picture, out / "results" / f"{name}_pred_labelIds.png", written, out)
    if not written:
        raise ValueError("there are no predictions to pack")
    archive = out / f"cityscapes_{split}.zip"
    with zipfile.ZipFile(archive, "w") as packed:  # PNGs are compressed already
        for inside in written:
            packed.write(out / inside, arcname=Path(inside).name)
    found = {f"results/{name}": picture for name, picture in read_archive(archive).items()}
    _compare(found, written, archive)
    return archive


def read_archive(archive: str | Path) -> dict[str, Image.Image]:
    """The pictures in a .tgz or .zip, by their path inside it."""
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
    model: nn.Module,
    dataset: Dataset,
    inference: Inference | None,
    crf: CRF | None,
    normalization: Normalization | None,
    progress: bool,
) -> Iterator[tuple[str, Tensor]]:
    for i in tqdm(range(len(dataset)), desc="predict", unit="img", disable=not progress):
        image, _ = dataset[i]
        image_tensor(dataset.name(i), image)
        ids = class_ids(model, image, inference, crf, normalization, dataset.labels)
        yield dataset.name(i), ids


def _check_prediction(ids: Tensor, labels: LabelSet, name: str) -> None:
    """Raise ValueError, naming the image, unless every pixel has a class; void is none."""
    check_labels(ids, labels.num_classes, f"prediction of {name}")
    if (ids == IGNORE).any():
        raise ValueError(f"prediction of {name}: void ({IGNORE}) is no class to predict")


def _new_folder(out: str | Path) -> Path:
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not empty: old predictions would be packed with the new ones")
    return out


def _write(picture: Image.Image, path: Path, written: dict[str, str], out: Path) -> None:
    inside = path.relative_to(out).as_posix()
    if inside in written:
        raise ValueError(f"two predictions are called {path.stem}")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    written[inside] = _digest(picture)


def _digest(picture: Image.Image) -> str:
    """Of mode, size, palette and pixels."""
    head = f"{picture.mode} {picture.size} {picture.getpalette()} ".encode()
    return hashlib.sha256(head + picture.tobytes()).hexdigest()


def _compare(found: dict[str, Image.Image], written: dict[str, str], archive: Path) -> None:
    if found.keys() != written.keys():
        raise ValueError(f"{archive}: holds other files than were written")
    for name, picture in found.items():
        if _digest(picture) != written[name]:
            raise ValueError(f"{archive}: {name} is not what was predicted; is the disk full?")
