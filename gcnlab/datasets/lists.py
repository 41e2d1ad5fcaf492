"""Read lists: text files with one entry per line.

A list is encoded as UTF-8, or as UTF-16 with a byte-order mark. Lines may end as on Unix, Windows
or Classic Mac OS. Spaces around an entry and blank lines are ignored. Anything else is an error
that names the file and the line, because a list that is read wrongly gives a wrong split.
"""

import codecs
import re
import unicodedata
from pathlib import Path, PureWindowsPath

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENDINGS = (".jpg", ".jpeg", ".png", ".mat")


def read_lines(listing: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not blank, without surrounding spaces, with their
    numbers.

    Returns:
        Pairs of line number, from 1, and line.

    Raises:
        ValueError: the file is not text in UTF-8 or UTF-16.
    """
    content = listing.read_bytes()
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(_lines(content[: error.start].decode(encoding, "ignore")))
        raise ValueError(
            f"{listing}:{line}: not {encoding.upper()} text: save it as UTF-8"
        ) from error
    numbered = [
        (n, line.strip(" \t\v\f\ufeff\xa0")) for n, line in enumerate(_lines(text), start=1)
    ]
    for number, line in numbered:
        if "\0" in line:
            raise ValueError(
                f"{listing}:{number}: contains zero bytes: save the list as UTF-8 text"
            )
    return [(number, line) for number, line in numbered if line]


def read_names(listing: Path, remedy: str) -> list[str]:
    """Read a list of image names, one per line, without folder or extension, in Unicode's NFC form.

    Raises:
        FileNotFoundError: the list does not exist.
        ValueError: the list is empty, a line is not a name, or a name occurs twice. The message
            names the line.
    """
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} is missing: {remedy}")
    places: dict[str, int] = {}
    for number, line in read_lines(listing):
        name = _name(line, f"{listing}:{number}")
        if name in places:
            raise ValueError(
                f"{listing}:{number}: {name} is listed twice, first on line {places[name]}: remove one"
            )
        places[name] = number
    if not places:
        raise ValueError(f"{listing}: empty split")
    return list(places)


def check_file_name(name: str, source: str) -> None:
    """Raise ValueError, naming `source`, if `name` is a path or the name of a hidden file."""
    if "/" in name or "\\" in name:
        alone = PureWindowsPath(name).name  # splits at slashes and backslashes
        raise ValueError(f"{source}: {name!r} is a path; use only the name: {alone}")
    if name.startswith("."):
        raise ValueError(f"{source}: {name!r} is the name of a hidden file: remove it")


def _name(line: str, source: str) -> str:
    words = line.split()
    if len(words) == 2 and words[1] in ("-1", "0", "1"):
        raise ValueError(
            f"{source}: {line!r} has two columns, as in the lists of VOC's Main task: keep only the names, "
            "as in ImageSets/Segmentation"
        )
    if len(words) > 1:
        raise ValueError(
            f"{source}: {line!r} is not one name: write one name per line, without spaces"
        )
    if line.lower().endswith(_ENDINGS):
        alone = PureWindowsPath(line).stem
        raise ValueError(
            f"{source}: {line!r} has a file extension; use the name without folder or extension: {alone}"
        )
    check_file_name(line, source)
    return unicodedata.normalize("NFC", line)


def _lines(text: str) -> list[str]:
    """Split into lines; str.splitlines would also split at some characters within a line."""
    return re.split("\r\n|\r|\n", text)
