"""Batches out of a data set, and what can go wrong on the way: sizes that differ, data that cannot be sent to worker processes.

Processes that load images are spawned: a data set is pickled for them, and its class is imported anew. A class that
was defined in a notebook or at a prompt is nowhere to be imported from, and the process dies at its start.
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
"""How to do without processes that load images."""


def collate(pairs: list[tuple[Any, Any]]) -> Any:
    """`default_collate` of (image, target) pairs; the function to give a `DataLoader` as `collate_fn`.

    Raises:
        ValueError: the images differ in size.
    """
    sizes = list(dict.fromkeys(tuple(getattr(image, "shape", ())) for image, _ in pairs))
    if len(sizes) > 1:
        first, second = ("×".join(map(str, size)) for size in sizes[:2])
        raise ValueError(
            f"a batch needs images of one size, but there are {first} and {second} (channels, height, width): give "
            "data.crop, or training.batch_size 1; a data set of your own has to cut or resize them"
        )
    return default_collate(pairs)


def check_picklable(what: Any, instead: str) -> None:
    """Raise ValueError, in one line, if `what` cannot be handed to spawned processes.

    Args:
        what: a data set, say, and all that it holds.
        instead: how to do without processes.
    """
    probe = _Probe()
    try:
        probe.dump(what)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{_name_of(what)} cannot be sent to other processes ({' '.join(str(error).split())[:120]}): move "
            f"lambdas and nested functions to the top level of a module, and open files only when they are read; or {instead}"
        ) from error
    except (
        RuntimeError
    ):  # locks and queues of multiprocessing go with a process that starts, and only then
        pass
    if probe.unfound and not _main_has_a_file():
        raise ValueError(
            f"{probe.unfound[0]} was defined in a notebook or at a prompt, from where other processes cannot import it: "
            f"put it into a file and import it, or {instead}"
        )


def iterate_batches(loader: DataLoader) -> Iterator[Any]:
    """The loader's batches; an error in a worker process is raised here with its original message.

    Raises:
        ValueError: the data set cannot be sent to the processes.
        RuntimeError: a process was lost; "before its first batch" if it never gave any.
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
        except (
            ConnectionError,
            EOFError,
        ) as error:  # it died while it handed a batch over, or was handed the data
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
    """Pickles to nowhere, without the arrays, and notes what `__main__` defines."""

    def __init__(self):
        super().__init__(_Nowhere())
        self.unfound: list[str] = []

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype != object):
            return str, ()  # they can be sent, and are large
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__":
            self.unfound.append(value.__qualname__)
        return NotImplemented


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


def _main_has_a_file() -> bool:
    """Whether a spawned process can run the main program's definitions again."""
    main = sys.modules["__main__"]
    named = getattr(getattr(main, "__spec__", None), "name", None)
    return named is not None or getattr(main, "__file__", None) is not None


def _name_of(what: Any) -> str:
    """A data set's class; of one that wraps another, the inner one's."""
    inner = getattr(what, "dataset", None)
    return type(what if inner is None else inner).__name__
