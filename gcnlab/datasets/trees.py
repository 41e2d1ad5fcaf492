"""Find the files of a data set in its folders.

Files and folders that operating systems create are ignored: hidden files (`.DS_Store`, and
`._a.png`, which macOS writes to other file systems), hidden folders (`.ipynb_checkpoints`),
`__MACOSX` from zip archives, and `@eaDir` of network storage.

A file is found in spite of a different case of its extension (`a.JPG` for `a.jpg`) and in both
forms of Unicode: macOS stores an accent as a separate character (NFD), and most lists store
accented letters (NFC).
"""

import os
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

PHOTOGRAPHS = frozenset((".jpg", ".jpeg", ".png"))
"""Extensions of images, in lower case."""

_LEFT_BY_SYSTEMS = frozenset(("__macosx", "@eadir"))


def data_root() -> Path:
    """Folder of the data sets: the environment variable GCNLAB_DATA, or `data` if it is not set."""
    return Path(os.environ.get("GCNLAB_DATA", "data"))


def check_split(split: str, splits: tuple[str, ...]) -> None:
    """Raise ValueError, naming the choices, if `split` is unknown."""
    if split not in splits:
        *first, last = splits
        raise ValueError(f"unknown split {split!r}; choose {', '.join(first)} or {last}")


def pictures_in(folder: Path, endings: Collection[str] = PHOTOGRAPHS) -> list[Path]:
    """List the files with one of the extensions, sorted by name, without hidden files.

    A broken link is listed, so that reading it gives an error.

    Args:
        folder: an existing folder.
        endings: extensions in lower case; those of the files may be in upper case.
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
    """List the folders in a folder, sorted by name, without hidden folders."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not _passed_over(entry.name) and entry.is_dir()]
    return [folder / name for name in sorted(names)]


def stem_of(path: Path) -> str:
    """The name of a file without its extension, in Unicode's NFC form."""
    return unicodedata.normalize("NFC", path.stem)


def require_folder(folder: Path, remedy: str) -> Path:
    """Return `folder`, or raise FileNotFoundError with the remedy if it does not exist."""
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist: {remedy}")
    return folder


def require_files(paths: Iterable[Path | None], what: str, remedy: str) -> list[Path | None]:
    """Return the paths as spelled on disk (case of the extension, Unicode form); None stays None.

    Each folder is listed once, so that 100,000 files take about a second.

    Raises:
        FileNotFoundError: a file is missing; the message names the first one.
        ValueError: two files match the same name.
    """
    listed: dict[Path, set[str]] = {}
    spelled: dict[
        Path, dict[str, list[str]]
    ] = {}  # only for folders in which a name is not found as written
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
            raise ValueError(f"{folder}: {' and '.join(names)} both match {path.name}: remove one")
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
