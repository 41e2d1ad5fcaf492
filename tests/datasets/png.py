"""A PNG decoder of our own, for 8 bits and one channel: what the readers are compared with."""

import struct
import zlib
from pathlib import Path

import numpy as np


def decode_png(path: Path) -> np.ndarray:
    """The bytes of the pixels as they stand in the file: grey values, or indices of the palette."""
    content = Path(path).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    place, data = 8, b""
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        kind, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert depth == 8
            assert color in (0, 3)
            assert not interlaced
        elif kind == b"IDAT":
            data += body
        place += 12 + length
    raw = zlib.decompress(data)
    rows, above = [], [0] * width
    for i in range(height):
        line = raw[i * (width + 1) : (i + 1) * (width + 1)]
        above = _unfilter(line[0], line[1:], above)
        rows.append(above)
    return np.array(rows, dtype=np.uint8)


def _unfilter(kind: int, line: bytes, above: list[int]) -> list[int]:
    row: list[int] = []
    for i, value in enumerate(line):
        left = row[i - 1] if i else 0
        corner = above[i - 1] if i else 0
        if kind == 1:
            value += left
        elif kind == 2:
            value += above[i]
        elif kind == 3:
            value += (left + above[i]) // 2
        elif kind == 4:
            estimate = left + above[i] - corner
            value += min((left, above[i], corner), key=lambda v: abs(estimate - v))
        row.append(value % 256)
    return row
