"""What becomes of memory that is freed: it stays with the process, for the next step.

A step frees its activations and takes as much again in the next. glibc hands large blocks (above 32 MB always) back to the system at
once; every one that is taken again comes as fresh pages of zeros, 4 kB and a page fault at a time. At 512×512 pixels 30 % of a
training's time on a CPU went there (`gcnlab bench allocator`). Kept, the pages are there already; the numbers are the same.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees, for itself: its peak is a tenth higher or so, and what it holds does not
    fall again.

    Returns:
        Whether that could be had: on Linux with glibc it can. Elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    # No block of its own from the system, and none of the heap's end back to it; the heap grows by 64 MB.
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 2**26}
    taken = [mallopt(option, value) == 1 for option, value in settings.items()]
    return all(taken)
