"""Pack an atlas for the browser, where `browser/fields.js` looks up its fields.

The browser needs no formula of the grid: it gets, for each axis, the edges of the cells on which a
field is constant, and the weight of each window in each cell's mean. While windows are missing, the
weights contain the interpolation.

In eight bits, neighbouring units have similar values. So each value is stored minus the one to its
left, then minus the one above, modulo 256, which zlib packs into a third of the bytes.
"""

from typing import Any

import numpy as np

from gcnlab.annotations import Float, Int, Tensor
from gcnlab.receptive.atlas_table import AtlasTable
from gcnlab.receptive.grid import interpolation
from gcnlab.receptive.unit import middle_pixel
from gcnlab.widgets.code import field_code
from gcnlab.widgets.question import Question
from gcnlab.widgets.scene import pack_best


def pack_atlas(table: AtlasTable, extras: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The description of an atlas, which JSON can hold, and its numbers.

    Args:
        table: with the finest level of windows that is complete; others are left out. A table in
            float16 is packed as float32.
        extras: `occluder`, the text that tells the atlases of one network apart; `code`, the code
            that computes a field (`gcnlab.widgets.code`); `best`, the likeliest classes
            (`gcnlab.widgets.scene.pack_best`). The last two may be missing.

    Returns:
        facts: the extras, `precision` ("float32" or "int8"), `units` (rows and columns of
            the image in the middle of each unit that is kept), `kept` (its rows and columns on the
            score map), `map` (rows and columns of the score map), `windows` (their number down and across), `edges`
            and `weights` of the cells along rows and columns, `evaluated` (share of the windows).
        numbers: scale (float32), logit (float32) and class (uint16) of each unit, then the drops as
            float32 or int8 with the shape (windows down, windows across, unit rows, unit columns).

    Raises:
        ValueError: the atlas holds several classes, or its first level of windows is not complete.
    """
    if len(table.values) > 1:
        raise ValueError("this atlas holds several classes: create one with a single target")
    (down, heights), (across, widths) = table.grid.cells()
    lattice = table.finest_level()
    weights = [
        cells if table.complete else cells @ interpolation(count, at)
        for cells, count, at in zip((down, across), table.grid.shape, lattice)
    ]
    values = table.values[0].numpy()[:, :, lattice[0][:, None], lattice[1]].transpose(2, 3, 0, 1)
    scale = table.scale[0].numpy()
    if table.precision == "float16":
        values, scale = values.astype(np.float32) * scale, np.ones_like(scale)
    if values.dtype == np.int8:
        values = _differences(_differences(values, 3), 2)
    facts = extras | {
        "precision": "int8" if values.dtype == np.int8 else "float32",
        "units": _middles(table),
        "kept": [at.tolist() for at in table.units],
        "map": list(table.map_size),
        "windows": [len(at) for at in lattice],
        "edges": [[0, *np.cumsum(sizes).tolist()] for sizes in (heights, widths)],
        "weights": [_sparse(matrix) for matrix in weights],
        "evaluated": len(lattice[0]) * len(lattice[1]) / np.prod(table.grid.shape).item(),
    }
    target = table.settings.target
    classes = table.predicted.numpy()
    if target is not None:
        classes = np.full_like(classes, target if isinstance(target, int) else target[0])
    parts = (scale, table.score[0].numpy(), classes.astype(np.uint16), values)
    return facts, b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def atlas_extras(
    question: Question,
    table: AtlasTable,
    best: tuple[Int[Tensor, "best rows columns"], Float[Tensor, "best rows columns"]] | None,
) -> dict[str, Any]:
    """What the browser gets with an atlas, apart from its numbers; see `pack_atlas`.

    Args:
        question: a question that the atlas answers.
        table: the atlas.
        best: the likeliest classes of each unit and their probabilities, if they are known.
    """
    map_size = None if table.map_size == table.image_size else table.map_size
    code = field_code(question, "exact", table.image_size, map_size)
    extras = {"occluder": question.occluder.text, "code": code}
    return extras if best is None else extras | {"best": pack_best(*best)}


def _middles(table: AtlasTable) -> list[list[int]]:
    rows, columns = table.units
    sizes = table.image_size, table.map_size
    return [
        [middle_pixel((int(row), int(columns[0])), *sizes)[0] for row in rows],
        [middle_pixel((int(rows[0]), int(column)), *sizes)[1] for column in columns],
    ]


def _sparse(matrix: np.ndarray) -> list[list[tuple[int, float]]]:
    """For each row, the index and the value of what is not zero."""
    return [[(int(k), row[k].item()) for k in np.flatnonzero(row)] for row in matrix]


def _differences(values: np.ndarray, axis: int) -> np.ndarray:
    """Each value minus the one before, modulo 256; the first stays."""
    values = values.view(np.uint8)
    return np.diff(values, axis=axis, prepend=np.zeros_like(values.take([0], axis))).view(np.int8)
