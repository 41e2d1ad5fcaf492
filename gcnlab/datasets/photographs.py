"""A photograph of a cat that comes with scikit-image, and the outline of the cat, placed by eye.

No network of this package was trained on the photograph, and its licence (CC0) allows it in
committed outputs. The outline is a polygon in `data/cat/outline.json`; `data/README.md` says how it
was made.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch

from gcnlab.annotations import Bool, Tensor, UInt8
from gcnlab.pretrained import data_folder


def cat_photograph() -> tuple[UInt8[Tensor, "3 height width"], Bool[Tensor, "height width"]]:
    """Return scikit-image's photograph of a cat, 300×451 pixels, and the mask of the cat.

    The cat is cut off by the upper, the left and the lower border. Its whiskers are not in the
    mask.

    Raises:
        ModuleNotFoundError: scikit-image is not installed (extra `lab`).
        ValueError: scikit-image has another photograph than the one the outline was drawn on.
    """
    try:
        from skimage import data  # slow to import, and not on a bare GPU image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the photograph of the cat comes with scikit-image: pip install 'gcnlab[lab]'"
        ) from error
    image = torch.from_numpy(data.cat()).permute(2, 0, 1).contiguous()
    outline = json.loads((data_folder("cat") / "outline.json").read_text(encoding="utf-8"))
    height, width = outline["height"], outline["width"]
    if tuple(image.shape) != (3, height, width):
        raise ValueError(
            f"scikit-image's cat is {tuple(image.shape)}, but the outline was drawn on "
            f"{(3, height, width)}: install another version of scikit-image"
        )
    return image, fill_polygon(outline["vertices"], height, width)


def fill_polygon(
    vertices: Sequence[Sequence[int | float]], height: int, width: int
) -> Bool[Tensor, "height width"]:
    """Return the pixels whose centres are inside a polygon, by the even-odd rule.

    Args:
        vertices: (row, column) of each, in pixels; the centre of pixel i has the coordinate i. The
            last one is joined to the first.
        height, width: size of the mask, in pixels.

    Raises:
        ValueError: there are fewer than three vertices.
    """
    if len(vertices) < 3:
        raise ValueError(f"a polygon needs at least three vertices, not {len(vertices)}")
    points = np.asarray(vertices, dtype=float)
    rows, columns = np.arange(height), np.arange(width)
    inside = np.zeros((height, width), dtype=bool)
    for (row, column), (next_row, next_column) in zip(points, np.roll(points, -1, axis=0)):
        crossed = (row <= rows) != (next_row <= rows)  # the rows that this edge crosses
        share = (rows[crossed] - row) / (next_row - row)
        at = column + share * (next_column - column)
        inside[crossed] ^= columns[None] < at[:, None]
    return torch.from_numpy(inside)
