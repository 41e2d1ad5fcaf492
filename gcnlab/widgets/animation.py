"""An animation of an object that grows, with several networks side by side.

As in the paper's Figure 3, (A) → (B) → (C): a network that sees a fixed part of the image covers less
and less of the object. `draw_frame` draws one size, and `save_animation` writes all of them as GIF or
APNG, there and back.

All frames share one palette of 256 colours without dithering. Otherwise equal pixels of two frames
could differ, and the animation would flicker.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from gcnlab.annotations import UInt8
from gcnlab.arguments import finite
from gcnlab.plots.style import figure_style
from gcnlab.widgets.snapshot import COLOURS, Still, draw_picture

FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG"}
"""Suffix of a file → its format; a PNG with several frames is an APNG."""

WIDTH = 192
"""Width of one picture, in pixels."""

GAP, LINE = 14, 17
"""Distance between pictures and height of a line of text, in pixels."""

LETTER = 7
"""Width of a letter, in pixels: texts longer than what they belong to are shortened or wrapped."""

LEAST_FRAME, LONGEST = 0.02, 60
"""Shortest duration of a frame and longest of a cycle, in seconds. Browsers slow shorter frames down,
and the formats hold at most 65 seconds for a frame, also for one that equal frames are merged into."""

DPI = 100
"""Pixels per inch; the texts have 9 points, which are 12.5 pixels."""

TEXT, NOTE = "#212121", "#616161"
"""Colours of texts."""

KEPT = (TEXT, NOTE, "#909090", "#b8b8b8", "#e0e0e0", "black", "red", *COLOURS.values())
"""Colours of texts with their soft edges, dots and outlines, which the palette always has: their
areas are small."""

Frame = UInt8[np.ndarray, "rows columns 3"]
"""RGB, 0 … 255."""


def draw_frame(rows: Sequence[Sequence[Still]], heading: str, footnote: str) -> Frame:
    """Draw rows of pictures. The facts of each picture stand below it; titles stand above the first row.

    Frames with the same number of pictures of the same size have the same layout.

    Args:
        rows: rows of pictures of the same size.
        heading, footnote: texts above and below the pictures.
    """
    height, width = rows[0][0].raster.shape[:2]
    height = round(WIDTH * height / width)
    step = height + LINE + GAP
    tops = [GAP + 2 * LINE + number * step for number in range(len(rows))]
    columns = len(rows[0]) * (WIDTH + GAP) - GAP
    notes = textwrap.wrap(footnote, columns // LETTER)
    size = columns + 2 * GAP, tops[-1] + step + LINE * len(notes)
    with figure_style():
        figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, layout="none")

        def write(text: str, left: int, baseline: int, colour: str = TEXT, **style) -> None:
            place = left / size[0], 1 - baseline / size[1]
            figure.text(*place, text, fontsize=9, color=colour, **style)

        write(heading, GAP, GAP + 6)
        for number, note in enumerate(reversed(notes)):
            write(note, GAP, size[1] - GAP + 4 - LINE * number, NOTE)
        for row, (top, stills) in enumerate(zip(tops, rows)):
            for column, still in enumerate(stills):
                left = GAP + column * (WIDTH + GAP)
                corner = left / size[0], 1 - (top + height) / size[1]
                axis = figure.add_axes((*corner, WIDTH / size[0], height / size[1]))
                draw_picture(axis, still)
                if row == 0:
                    title = textwrap.shorten(still.title, WIDTH // LETTER, placeholder=" …")
                    write(title, left, top - 5, fontweight="bold")
                text = ", ".join(f"{name} {value}" for name, value in still.facts)
                write(text, left, top + height + LINE - 3)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def check_animation(path: str | Path, seconds: int | float, count: int) -> None:
    """Raise ValueError if the suffix is not that of an animation, or the time is not positive or does
    not suit `count` frames, which are shown there and back."""
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: an animation needs the suffix {', '.join(FORMATS)}")
    seconds = finite("seconds", seconds)
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, not {seconds:g}")
    shown = count + max(0, count - 2)
    least = shown * LEAST_FRAME
    if seconds < least:
        raise ValueError(
            f"seconds must be at least {least:g} for {shown} frames, {1000 * LEAST_FRAME:g} ms each, "
            f"not {seconds:g}"
        )
    if seconds > LONGEST:
        raise ValueError(f"seconds must be at most {LONGEST}, not {seconds:g}")


def save_animation(path: str | Path, frames: Sequence[Frame], seconds: int | float) -> None:
    """Write frames as an endless animation, there and back: 0, 1, …, n − 1, …, 1.

    Args:
        path: the file; its suffix chooses GIF (.gif) or APNG (.png, .apng).
        frames: at least one, all of the same size.
        seconds: duration of one cycle, there and back.

    Raises:
        ValueError: see `check_animation`.
    """
    check_animation(path, seconds, len(frames))
    palette = _palette(frames)
    images = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    images += images[-2:0:-1]
    images[0].save(
        path,
        format=FORMATS[Path(path).suffix.lower()],
        save_all=True,
        append_images=images[1:],
        duration=round(1000 * seconds / len(images)),
        loop=0,
    )


def _palette(frames: Sequence[Frame]) -> Image.Image:
    """An image with the 256 colours of all frames."""
    kept = [round(255 * value) for colour in KEPT for value in to_rgb(colour)]
    free = 256 - len(KEPT)
    every = Image.fromarray(np.concatenate(frames)).quantize(free, Image.Quantize.MEDIANCUT)
    palette = Image.new("P", (1, 1))
    palette.putpalette(kept + every.getpalette())
    return palette
