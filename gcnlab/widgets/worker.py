"""A background thread for the latest request: an older result never overwrites a newer one."""

import atexit
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Lock = type(threading.RLock())
"""The type of a lock; in Python 3.11 `threading.RLock` is a function."""


Job = Callable[[Callable[[], None]], Iterable[Any]]
"""A function of `check` that yields results; see `LatestWorker`."""


class Cancelled(Exception):
    """Raised in a job when there is a newer request."""


class LatestWorker:
    """Runs one job at a time in a background thread; a new job cancels the running one.

    A job is a function of `check` that yields results. The worker passes each result to `show`
    while it holds `lock` and only if there is no newer job. So a caller that holds the lock while
    it submits a job never sees an older result afterwards. A job that takes long between two
    results calls `check`, which raises `Cancelled` if there is a newer job.

    A job can have a follow-up, which is work that nobody waits for yet. It starts when the job is
    finished and stops at a newer job. Its results are passed to `show`, too.

    Args:
        show: called with (generation, result).
        fail: called with (generation, exception) if the job raises.
        finish: called with (generation) when the job has yielded all results.
        lock: held during these three calls.

    Attributes:
        generation: number of the latest job; 0 before the first.
    """

    def __init__(
        self,
        show: Callable[[int, Any], None],
        fail: Callable[[int, Exception], None],
        finish: Callable[[int], None],
        lock: Lock | None = None,
    ):
        self.generation = 0
        self._show, self._fail, self._finish = show, fail, finish
        self._changed = threading.Condition(lock or threading.RLock())
        self._waiting: tuple[Job, Job] | None = None
        self._busy = self._following_up = self._closed = False
        self._thread: threading.Thread | None = None

    def check_open(self) -> None:
        """Raise RuntimeError if the worker is closed."""
        if self._closed:
            raise RuntimeError("the explorer is closed: create a new one")

    def submit(self, job: Job, follow_up: Job = lambda check: ()) -> int:
        """Run `job` when the running job has stopped; a job that is still waiting is dropped.

        Args:
            job: the job.
            follow_up: another job that is done after it, unless there is a newer one.

        Returns:
            The generation of the job.

        Raises:
            RuntimeError: the worker is closed.
        """
        with self._changed:
            self.check_open()
            self.generation += 1
            self._waiting = job, follow_up
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gcnlab", daemon=True)
                self._thread.start()
                # PyTorch aborts the process if its thread still runs when Python ends.
                atexit.register(self.close)
            self._changed.notify_all()
            return self.generation

    @property
    def idle(self) -> bool:
        """Whether all jobs are finished and shown; the follow-up of the latest may still be running."""
        return not self._busy and self._waiting is None

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, timeout: int | float | None = None, follow_up: bool = False) -> None:
        """Wait until the latest job is finished.

        Args:
            timeout: limit in seconds; None waits without a limit.
            follow_up: wait until its follow-up is finished, too.

        Raises:
            TimeoutError: the job takes longer.
        """

        def finished() -> bool:
            return self._closed or (self.idle and not (follow_up and self._following_up))

        with self._changed:
            if not self._changed.wait_for(finished, timeout):
                raise TimeoutError(f"not finished after {timeout:g} s")

    def close(self, timeout: int | float = 60) -> None:
        """Cancel the running job and stop the thread. No result is shown after this call."""
        atexit.unregister(self.close)
        with self._changed:
            self._closed, self._waiting = True, None
            self.generation += 1
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = self._following_up = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._closed:
                    return
                (job, follow_up), self._waiting, self._busy = self._waiting, None, True
                generation = self.generation
            self._work(job, follow_up, generation)

    def _work(self, job: Job, follow_up: Job, generation: int) -> None:
        def check() -> None:
            if generation != self.generation:
                raise Cancelled

        def show_all(job: Job) -> None:
            for result in job(check):
                with self._changed:
                    check()
                    self._show(generation, result)

        try:
            show_all(job)
            with self._changed:
                check()
                self._finish(generation)
                self._busy, self._following_up = False, True
                self._changed.notify_all()
            show_all(follow_up)
        except Cancelled:
            pass
        except Exception as error:
            with self._changed:
                if generation == self.generation:
                    self._fail(generation, error)


def take_turns(
    streams: dict[Any, Iterator[Any]],
) -> Iterator[tuple[Any, Any | Exception | None]]:
    """Yield the results of several iterators in turn, as (name, result).

    When an iterator ends, its result is None; when it fails, its result is the exception.

    Args:
        streams: the iterators, by name.

    Raises:
        Cancelled: one of the jobs was cancelled.
    """
    streams = dict(streams)
    while streams:
        for name in list(streams):
            try:
                yield name, next(streams[name])
            except StopIteration:
                del streams[name]
                yield name, None
            except Cancelled:
                raise
            except Exception as error:
                del streams[name]
                yield name, error
