"""What an explorer saves: a page, pictures or numbers."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gcnlab.widgets.page import whole_page

if TYPE_CHECKING:
    from gcnlab.widgets.explorer import VRFExplorer

PICTURES = (".png", ".svg", ".pdf")
DPI = 200
"""Pixels per inch of a saved PNG."""


def save_explorer(explorer: "VRFExplorer", path: Path, title: str) -> None:
    """Write a file whose suffix says its form; see `VRFExplorer.save`."""
    suffix = path.suffix.lower()
    if suffix == ".html":
        if not explorer.has_fields:
            raise ValueError(
                f'{path}: no valid field was computed, so there is nothing to save: call ask(method="exact").wait() first'
            )
        path.write_text(whole_page(explorer.page_part(), title), encoding="utf-8")
    elif suffix in (*PICTURES, ".npz"):
        path.write_bytes(saved_bytes(explorer, suffix))
    else:
        raise ValueError(
            f"{path}: unknown suffix {path.suffix!r}; choose .html (a page), {', '.join(PICTURES)} "
            "(the pictures) or .npz (the numbers)"
        )


def saved_bytes(explorer: "VRFExplorer", suffix: str) -> bytes:
    """The pictures or the numbers of an explorer, as the content of a file.

    Args:
        suffix: one of `PICTURES`, or ".npz".
    """
    file = io.BytesIO()
    if suffix == ".npz":
        np.savez_compressed(file, **_numbers(explorer))
    else:
        explorer.figure().savefig(file, format=suffix[1:], dpi=DPI, bbox_inches="tight")
    return file.getvalue()


def _numbers(explorer: "VRFExplorer") -> dict[str, np.ndarray]:
    methods, titles = explorer.question.methods, explorer.titles
    example = explorer.example
    shape = (len(methods), len(titles), *example.size)
    fields, regions = np.full(shape, np.nan, np.float32), np.zeros(shape, bool)
    for i, method in enumerate(methods):
        for j, title in enumerate(titles):
            answer = explorer.answer(title, method)
            if answer is not None and answer.region is not None:
                fields[i, j], regions[i, j] = answer.field.numpy(), answer.region.numpy()
    return {
        "fields": fields,
        "regions": regions,
        "methods": np.array(methods),
        "titles": np.array(titles),
        "picture": example.picture.permute(1, 2, 0).numpy(),
        "settings": np.array(json.dumps(explorer.state)),
    }
