"""Lists as people have them: text files with an entry a line.

Read are UTF-8 and, with its byte-order mark, UTF-16; lines that end as on Unix, Windows or the old Mac; blanks
around an entry and blank lines do not count. Anything else is an error that names the file and the line: a list
that is read wrongly is a split that is wrong.
"""

import codecs
import re
import unicodedata
from pathlib import Path, PureWindowsPath

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENDINGS = (".jpg", ".jpeg", ".png", ".mat")


def read_lines(listing: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, without the blanks around them, each with its number (from 1).

    Raises:
        ValueError: the file is not text, or in another encoding than UTF-8 and UTF-16.
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
            raise ValueError(f"{listing}:{number}: holds zero bytes: save the list as UTF-8 text")
    return [(number, line) for number, line in numbered if line]


def read_names(listing: Path, remedy: str) -> list[str]:
    """The names in a list of images: one a line, without folder or ending; in Unicode's composed form (NFC).

    Raises:
        FileNotFoundError: there is no list.
        ValueError: it is empty, a line is no name, or a name is in it twice. The line is named.
    """
    if not listing.is_file():
        raise FileNotFoundError(f"{listing} is missing: {remedy}")
    places: dict[str, int] = {}
    for number, line in read_lines(listing):
        name = _name(line, f"{listing}:{number}")
        if name in places:
            raise ValueError(
                f"{listing}:{number}: {name} is listed twice, first in line {places[name]}: remove one"
            )
        places[name] = number
    if not places:
        raise ValueError(f"{listing}: empty split")
    return list(places)


def check_file_name(name: str, source: str) -> None:
    """Raise ValueError, naming `source`, if `name` is a path, or a hidden file's."""
    if "/" in name or "\\" in name:
        alone = PureWindowsPath(name).name  # of either kind of slash
        raise ValueError(f"{source}: {name!r} is a path; give the name alone: {alone}")
    if name.startswith("."):
        raise ValueError(f"{source}: {name!r} is a hidden file's name: take it out")


def _name(line: str, source: str) -> str:
    words = line.split()
    if len(words) == 2 and words[1] in ("-1", "0", "1"):
        raise ValueError(
            f"{source}: {line!r} has two columns, as the lists of VOC's Main task: keep the names alone, "
            "as in ImageSets/Segmentation"
        )
    if len(words) > 1:
        raise ValueError(f"{source}: {line!r} is not one name: a name a line, without blanks")
    if line.lower().endswith(_ENDINGS):
        alone = PureWindowsPath(line).stem
        raise ValueError(
            f"{source}: {line!r} has a file extension; give the name without folder or extension: {alone}"
        )
    check_file_name(line, source)
    return unicodedata.normalize("NFC", line)


def _lines(text: str) -> list[str]:
    """Not str.splitlines, which takes some characters within a line for its end."""
    return re.split("\r\n|\r|\n", text)
