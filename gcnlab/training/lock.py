"""One writer a folder: two trainings in one folder would replace each other's checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


@contextmanager
def only_writer(folder: Path | None) -> Iterator[None]:
    """Keep other processes from training in `folder` as long as the block lasts; the system lets go of it if this
    process dies. Blocks of one process may lie in each other. None: nothing is kept.

    Raises:
        FolderTaken: another process is inside of such a block.
        OSError: naming the folder, if it cannot be written.
    """
    if folder is None:
        yield
        return
    lock = _lock(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=1)  # `is_taken` holds it for a moment
    except Timeout:
        raise FolderTaken(f"{folder}: another process trains there") from None
    except OSError as error:
        raise OSError(f"cannot write checkpoints to {folder}: {error}") from error
    try:
        yield
    finally:
        lock.release()


class FolderTaken(OSError):
    """Another process trains in the folder."""


def is_taken(folder: Path) -> bool:
    """Whether another process trains in `folder` now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with _lock(folder).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / LOCK, is_singleton=True)
