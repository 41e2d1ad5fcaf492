"""Folders of files as people have them: what is listed, what is passed over, what must be there.

Passed over is what systems leave in folders: hidden files (`._a.png`, which macOS writes on other systems' disks,
`.DS_Store`), hidden folders (`.ipynb_checkpoints`), `__MACOSX` out of zip archives, `@eaDir` of a network disk.

A file is found under its name whatever the case of its ending (`a.JPG` for `a.jpg`), and in either of Unicode's
spellings: macOS writes an accent as a character of its own (NFD), lists mostly have it as part of the letter (NFC).
"""

import os
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

PHOTOGRAPHS = frozenset((".jpg", ".jpeg", ".png"))
"""Endings of a data set's images, in lower case."""

_LEFT_BY_SYSTEMS = frozenset(("__macosx", "@eadir"))


def data_root() -> Path:
    """Folder of the data sets: the environment variable GCNLAB_DATA, or `data`."""
    return Path(os.environ.get("GCNLAB_DATA", "data"))


def check_split(split: str, splits: tuple[str, ...]) -> None:
    """Raise ValueError, naming the choices, if there is no such split."""
    if split not in splits:
        *first, last = splits
        raise ValueError(f"unknown split {split!r}; choose {', '.join(first)} or {last}")


def pictures_in(folder: Path, endings: Collection[str] = PHOTOGRAPHS) -> list[Path]:
    """The files with one of the endings, in the order of their names; hidden ones are passed over.

    A link that leads nowhere is listed: reading it says so.

    Args:
        folder: that there is.
        endings: in lower case; the files' may be in upper case.
    """
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if not _passed_over(entry.name)
            and os.path.splitext(entry.name)[1].lower() in endings
            and not entry.is_dir()
        ]
    return [folder / name for name in sorted(names)]


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in the order of their names; hidden ones are passed over."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not _passed_over(entry.name) and entry.is_dir()]
    return [folder / name for name in sorted(names)]


def stem_of(path: Path) -> str:
    """A file's name without its ending, in Unicode's composed form: one spelling for one name."""
    return unicodedata.normalize("NFC", path.stem)


def require_folder(folder: Path, remedy: str) -> Path:
    """`folder`, or FileNotFoundError with what to do about it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: {remedy}")
    return folder


def require_files(paths: Iterable[Path | None], what: str, remedy: str) -> list[Path | None]:
    """The paths as their folders spell them (case of the ending, Unicode's form); None stays None.

    Folders are listed once, so that a hundred thousand files take a second.

    Raises:
        FileNotFoundError: naming the first file that is missing, if one is.
        ValueError: two files answer to one name.
    """
    listed: dict[Path, set[str]] = {}
    spelled: dict[
        Path, dict[str, list[str]]
    ] = {}  # of the folders where a name is not found as it is
    found: list[Path | None] = []
    missing = []
    for path in paths:
        if path is None:
            found.append(None)
            continue
        folder = path.parent
        if folder not in listed:
            try:
                listed[folder] = set(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                raise FileNotFoundError(f"{folder} is missing ({what}): {remedy}") from None
        if path.name in listed[folder]:
            found.append(path)
            continue
        if folder not in spelled:
            spelled[folder] = _by_spelling(listed[folder])
        names = spelled[folder].get(_spelling(path.name), [])
        if len(names) > 1:
            raise ValueError(f"{folder}: {' and '.join(names)} are both {path.name}: remove one")
        found += [folder / name for name in names]
        missing += [] if names else [path]
    if missing:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{missing[0]} is missing{more} ({what}): {remedy}")
    return found


def _by_spelling(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(_spelling(name), []).append(name)
    return groups


def _spelling(name: str) -> str:
    stem, ending = os.path.splitext(unicodedata.normalize("NFC", name))
    return stem + ending.lower()


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS
