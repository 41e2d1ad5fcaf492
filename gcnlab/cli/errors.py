"""Print an error that a user can correct as one line, without a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def exit_on_errors() -> Iterator[None]:
    """Inside the block, print such an error, or an interruption by Ctrl-C, and exit."""
    try:
        yield
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # as the shell reports SIGPIPE
    except (ValueError, OSError, ModuleNotFoundError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _concerns_a_run(error):
            raise
        print(f"gcnlab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ngcnlab: interrupted; the last checkpoint is kept", file=sys.stderr)
        sys.exit(130)


def _concerns_a_run(error: RuntimeError) -> bool:
    from gcnlab.distributed import RunStopped  # imports PyTorch
    from gcnlab.training import TrainingDiverged

    return isinstance(error, RunStopped | TrainingDiverged)
