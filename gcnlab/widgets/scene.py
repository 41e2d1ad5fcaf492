"""What the explorer's browser part (`browser/viewer.js`) shows, beside the fields: as JSON.

Arrays are packed with zlib and written in base 85, since JSON holds text only: four bytes become five
letters, where base 64 needs five and a third.
"""

import base64
import io
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from gcnlab.annotations import Float, Int, Shaped, Tensor, UInt8
from gcnlab.datasets.labels import IGNORE, LabelSet

HEAT, SIGNED = "magma", "RdBu_r"
"""The colour maps of a field's size, and of the difference of two fields."""


def pack_scene(
    picture: UInt8[Tensor, "3 height width"],
    titles: Sequence[str],
    rows: Sequence[dict[str, str]],
    state: dict[str, Any],
    classes: LabelSet | Sequence[str] = (),
    labels: Shaped[Tensor, "height width"] | None = None,
    predictions: Sequence[Shaped[Tensor, "height width"] | None] | None = None,
    background: int | None = None,
    lossless: bool = True,
    hidden: bool = False,
) -> dict[str, Any]:
    """Pack the picture, the names and the initial state.

    Args:
        picture: RGB, 0 … 255.
        titles: titles of the networks.
        rows: for each row of pictures, its `method`, its `label` and the `view` that suits it; the
            method "atlas" looks fields up.
        state: the initial values of the controls (see `browser/viewer.js`).
        classes: names of the classes, or a data set's labels.
        labels: ids of classes or objects; their connected regions are the objects.
        predictions: the class ids that each network predicts.
        background: the id of the background, which is not an object.
        lossless: store the picture as PNG; otherwise as WebP, in about a fifth of the bytes.
        hidden: the units are of a hidden layer, so that a target is a channel.
    """
    has_colours = isinstance(classes, LabelSet)
    scene = {
        "size": list(picture.shape[-2:]),
        "picture": _image_url(picture, lossless),
        "networks": [{"title": title} for title in titles],
        "rows": list(rows),
        "hidden": hidden,
        "classes": list(classes.names if has_colours else classes),
        "classColours": [list(c) for c in classes.colors] if has_colours else [],
        "colours": {"heat": pack_array(_entries(HEAT)), "signed": pack_array(_entries(SIGNED))},
        "state": state,
    }
    if labels is not None:
        scene["labels"] = pack_ids(labels)
        scene["objects"] = pack_array(number_objects(labels, background))
    if predictions is not None and has_colours:
        for network, prediction in zip(scene["networks"], predictions):
            if prediction is not None:
                network["prediction"] = pack_ids(prediction)
    return scene


def number_objects(
    labels: Shaped[Tensor, "height width"], background: int | None = None
) -> Shaped[np.ndarray, "height width"]:
    """Number the objects of a label map from 1 on, uint16; 0 is no object.

    Args:
        labels: ids of classes or objects. An object is a connected region of one id.
        background: the id of the background, which is not an object; void (255) is not one either.
    """
    from scipy.ndimage import label

    ids, numbers, count = labels.cpu().numpy(), np.zeros(tuple(labels.shape), np.uint16), 0
    for own in np.unique(ids):
        if own in (IGNORE, background):
            continue
        parts, found = label(ids == own)
        numbers[parts > 0] = parts[parts > 0] + count
        count += found
    return numbers


def pack_ids(ids: Shaped[Tensor, "height width"]) -> dict[str, str]:
    """Class ids, 0 … 65535, in as few bytes as they need."""
    values = ids.cpu().numpy()
    return pack_array(values.astype(np.uint8 if values.max() < 256 else np.uint16))


def pack_array(values: np.ndarray) -> dict[str, str]:
    """An array as text; its shape is not kept."""
    data = zlib.compress(np.ascontiguousarray(values).tobytes(), 9)
    return {"type": values.dtype.name, "bytes": text_of(data)}


def text_of(data: bytes) -> str:
    """Bytes in Python's base 85 (`base64.b85encode`), but with a comma for "<", which would have to be
    escaped in a web page."""
    return base64.b85encode(data).decode("ascii").replace("<", ",")


def bytes_of(text: str) -> bytes:
    """The bytes of `text_of`."""
    return base64.b85decode(text.replace(",", "<"))


def pack_best(
    ids: Int[Tensor, "best rows columns"], probabilities: Float[Tensor, "best rows columns"]
) -> dict[str, dict[str, str]]:
    """The likeliest classes of each unit, and their probabilities in percent."""
    shares = (100 * probabilities).round().to(torch.uint8)
    return {"ids": pack_array(ids.numpy().astype(np.uint16)), "shares": pack_array(shares.numpy())}


def _entries(name: str) -> UInt8[np.ndarray, "256 3"]:
    return (colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


def _image_url(picture: Tensor, lossless: bool) -> str:
    file, kind = io.BytesIO(), "png" if lossless else "webp"
    options = {"compress_level": 6} if lossless else {"quality": 90, "method": 6}
    Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(file, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
