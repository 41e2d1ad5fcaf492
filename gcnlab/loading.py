"""Load batches of a data set, with clear errors for different image sizes and for lost workers.

Data-loading workers are spawned: the data set is pickled, and each worker imports its class. A
class that was defined in a notebook or at a prompt cannot be imported, so the worker would die when
it starts.
"""

import pickle
import sys
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, default_collate

from gcnlab.annotations import Tensor

NO_WORKERS = "load in this process (num_workers=0; workers 0 on the command line)"
"""The advice to load images without worker processes."""


def collate(pairs: list[tuple[Any, Any]]) -> Any:
    """Collate pairs (image, target) into a batch; for the argument `collate_fn` of a `DataLoader`.

    Raises:
        ValueError: the images differ in size.
    """
    sizes = list(dict.fromkeys(tuple(getattr(image, "shape", ())) for image, _ in pairs))
    if len(sizes) > 1:
        first, second = ("×".join(map(str, size)) for size in sizes[:2])
        raise ValueError(
            f"a batch needs images of one size, but has {first} and {second} (channels, height, width): set "
            "data.crop, or training.batch_size 1; your own data set must crop or resize its images"
        )
    return default_collate(pairs)


def check_picklable(what: Any, instead: str) -> None:
    """Raise ValueError if `what` cannot be pickled for spawned processes.

    Args:
        what: an object, such as a data set.
        instead: how to work without processes, for the message.
    """
    probe = _Probe()
    try:
        probe.dump(what)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{_name_of(what)} cannot be pickled for other processes ({' '.join(str(error).split())[:120]}): "
            f"move lambdas and nested functions to the top level of a module, and open files only to read them; or {instead}"
        ) from error
    except RuntimeError:
        pass  # locks and queues of multiprocessing can be pickled only while a process starts
    if probe.unfound and not _main_has_a_file():
        raise ValueError(
            f"{probe.unfound[0]} was defined in a notebook or at a prompt, so other processes cannot import it: "
            f"move it to a file and import it, or {instead}"
        )


def iterate_batches(loader: DataLoader) -> Iterator[Any]:
    """Iterate over the batches of a loader; an error in a worker is raised with its original
    message.

    Raises:
        ValueError: the data set cannot be pickled for the workers.
        RuntimeError: a worker was lost; "before its first batch" if it never returned one.
    """
    if loader.num_workers:
        check_picklable(loader.dataset, NO_WORKERS)
    batches, first = None, True
    while True:
        try:
            batches = iter(loader) if batches is None else batches
            batch = next(batches)
        except StopIteration:
            return
        except (ConnectionError, EOFError) as error:
            # The worker died while it sent a batch or received the data set.
            when = " before its first batch" if first else ""
            raise RuntimeError(f"DataLoader worker was lost{when}: {error}") from error
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            if first and str(error).startswith("DataLoader worker (pid"):
                raise RuntimeError(
                    f"DataLoader worker was lost before its first batch: {error}"
                ) from error
            if "DataLoader worker process" not in str(error):
                raise
            last = str(error).strip().splitlines()[-1]
            raise type(error)(last.split(": ", 1)[-1]) from error
        first = False
        yield batch


class _Probe(ForkingPickler):
    """Pickles without storing the result, skips arrays, and records what `__main__` defines."""

    def __init__(self):
        super().__init__(_Nowhere())
        self.unfound: list[str] = []

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype != object):
            return str, ()  # arrays can be pickled, and are large
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__":
            self.unfound.append(value.__qualname__)
        return NotImplemented


class _Nowhere:
    """A file that discards what is written."""

    def write(self, data: bytes) -> int:
        return len(data)


def _main_has_a_file() -> bool:
    """Whether a spawned process can import the definitions of the main program."""
    main = sys.modules["__main__"]
    named = getattr(getattr(main, "__spec__", None), "name", None)
    return named is not None or getattr(main, "__file__", None) is not None


def _name_of(what: Any) -> str:
    """The class name of a data set, or of the data set that it wraps."""
    inner = getattr(what, "dataset", None)
    return type(what if inner is None else inner).__name__
