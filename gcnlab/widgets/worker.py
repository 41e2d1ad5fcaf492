"""One thread that always works on the latest request: an older result never overwrites a newer one."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Lock = type(threading.RLock())
"""In Python 3.11 `threading.RLock` is a function, not the type."""


class Cancelled(Exception):
    """A newer request has come: stop."""


class LatestWorker:
    """Runs one job at a time in a background thread; a new one cancels the running one.

    A job is a function that is given `check` and returns results one by one. Each result is handed to
    `show` under `lock`, in which it is also checked that no newer job has come; so whoever holds the lock
    when it asks for something new will never see an older result afterwards. A job that takes long from one
    result to the next calls `check` in between, which raises `Cancelled`.

    Args:
        show: called with (generation, result).
        fail: called with (generation, exception) if the job itself raises.
        finish: called with (generation) when its job has given all its results.
        lock: held during all three.

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
        self._waiting: Callable[[Callable], Iterable] | None = None
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[Callable[[], None]], Iterable[Any]]) -> int:
        """Run `job` as soon as the running one has stopped; what waited until now is dropped.

        Returns:
            Its generation.

        Raises:
            RuntimeError: the worker has been closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("closed: it computes no more")
            self.generation += 1
            self._waiting = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gcnlab", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self.generation

    @property
    def idle(self) -> bool:
        """Whether everything that was asked for has been shown."""
        return not self._busy and self._waiting is None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self, timeout: int | float | None = None) -> None:
        """Return when the latest job is done.

        Args:
            timeout: in seconds; None waits as long as it takes.

        Raises:
            TimeoutError: it takes longer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.idle or self._closed, timeout):
                raise TimeoutError(f"not done after {timeout:g} s")

    def close(self, timeout: int | float = 60) -> None:
        """Cancel what runs, and end the thread. A job shows nothing more from here on."""
        with self._changed:
            self._closed, self._waiting = True, None
            self.generation += 1
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._closed:
                    return
                job, self._waiting, self._busy = self._waiting, None, True
                generation = self.generation
            self._work(job, generation)

    def _work(self, job: Callable[[Callable[[], None]], Iterable[Any]], generation: int) -> None:
        def check() -> None:
            if generation != self.generation:
                raise Cancelled

        try:
            for result in job(check):
                with self._changed:
                    check()
                    self._show(generation, result)
            with self._changed:
                check()
                self._finish(generation)
        except Cancelled:
            pass
        except Exception as error:
            with self._changed:
                if generation == self.generation:
                    self._fail(generation, error)


def take_turns(
    streams: dict[str, Iterator[Any]], first: int = 1
) -> Iterator[tuple[str, Any | Exception | None]]:
    """Results of several streams, one from each in turn; None when a stream ends, its exception when it fails.

    Args:
        streams: by name.
        first: so many results each gives in its first turn.

    Raises:
        Cancelled: one of them was.
    """
    streams, count = dict(streams), first
    while streams:
        for name in list(streams):
            try:
                for _ in range(count):
                    yield name, next(streams[name])
            except StopIteration:
                del streams[name]
                yield name, None
            except Cancelled:
                raise
            except Exception as error:
                del streams[name]
                yield name, error
        count = 1
