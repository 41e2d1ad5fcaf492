"""Errors that a user can do something about end in one line, not in a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gcnlab.training import RunStopped, TrainingDiverged


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Inside the block such an error, or Ctrl-C, is printed and ends the process."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError, RunStopped, TrainingDiverged) as error:
        print(f"gcnlab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ngcnlab: stopped; the last checkpoint stays", file=sys.stderr)
        sys.exit(130)
