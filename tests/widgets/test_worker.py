import threading
import time

import pytest

from gcnlab.widgets.worker import LatestWorker
from tests.python import run_python

pytestmark = pytest.mark.slow


class Log:
    """The actions of a worker, in order."""

    def __init__(self):
        self.shown, self.failed, self.finished = [], [], []
        self.worker = LatestWorker(
            lambda *a: self.shown.append(a),
            lambda g, e: self.failed.append((g, str(e))),
            self.finished.append,
        )


@pytest.fixture
def log():
    log = Log()
    yield log
    log.worker.close()


def test_results_are_shown_in_order(log):
    assert log.worker.submit(lambda check: iter("abc")) == 1
    log.worker.wait(10)
    assert log.shown == [(1, "a"), (1, "b"), (1, "c")]
    assert log.finished == [1]


def test_of_a_burst_only_the_last_is_finished_and_nothing_older_is_shown_later(log):
    def job(number):
        def results(check):
            for part in range(3):
                time.sleep(0.003)
                yield number, part

        return results

    asked = []
    for number in range(50):
        asked.append(log.worker.submit(job(number)))
        time.sleep(0.002)
        # What is shown under the lock from now on is not older than what was asked.
        with log.worker._changed:
            begin = len(log.shown)
    log.worker.wait(10)
    assert log.finished[-1] == asked[-1]
    assert log.shown[-3:] == [(50, (49, part)) for part in range(3)]
    assert all(generation == 50 for generation, _ in log.shown[begin:])
    generations = [generation for generation, _ in log.shown]
    assert generations == sorted(generations)


def test_a_long_job_is_left_when_it_checks(log):
    begun, go_on = threading.Event(), threading.Event()

    def long(check):
        begun.set()
        go_on.wait(10)
        check()
        yield "never"

    log.worker.submit(long)
    assert begun.wait(10)
    log.worker.submit(lambda check: ["new"])
    go_on.set()
    log.worker.wait(10)
    assert log.shown == [(2, "new")]


def test_a_failing_job_is_told_and_the_next_one_runs(log):
    def fails(check):
        yield 1
        raise ZeroDivisionError("oh")

    log.worker.submit(fails)
    log.worker.wait(10)
    assert log.failed == [(1, "oh")]
    log.worker.submit(lambda check: [2])
    log.worker.wait(10)
    assert log.shown == [(1, 1), (2, 2)]


def test_an_old_jobs_failure_is_not_told(log):
    begun, go_on = threading.Event(), threading.Event()

    def fails(check):
        begun.set()
        go_on.wait(10)
        raise ZeroDivisionError("old")
        yield

    log.worker.submit(fails)
    assert begun.wait(10)
    log.worker.submit(lambda check: [])
    go_on.set()
    log.worker.wait(10)
    assert log.failed == []


def test_wait_tells_when_it_takes_longer(log):
    go_on = threading.Event()
    log.worker.submit(lambda check: [go_on.wait(10)])
    with pytest.raises(TimeoutError, match=r"not finished after 0\.05 s"):
        log.worker.wait(0.05)
    go_on.set()


def test_close_ends_the_thread_and_shows_nothing_more(log):
    begun = threading.Event()

    def endless(check):
        while True:
            begun.set()
            time.sleep(0.001)
            yield 1

    log.worker.submit(endless)
    assert begun.wait(10)
    log.worker.close()
    count = len(log.shown)
    assert not log.worker.alive
    assert log.worker.submit is not None
    with pytest.raises(RuntimeError, match="closed"):
        log.worker.submit(lambda check: [])
    time.sleep(0.01)
    assert len(log.shown) == count


def test_the_rest_of_a_job_is_shown_and_only_waited_for_on_request(log):
    going_on = threading.Event()

    def follow_up(check):
        yield "first"
        going_on.wait(10)
        yield "last"

    log.worker.submit(lambda check: ["answer"], follow_up)
    log.worker.wait(10)
    assert log.worker.idle
    assert log.finished == [1]
    with pytest.raises(TimeoutError):
        log.worker.wait(0.01, follow_up=True)
    going_on.set()
    log.worker.wait(10, follow_up=True)
    assert log.shown == [(1, "answer"), (1, "first"), (1, "last")]
    assert log.finished == [1]


def test_a_newer_job_stops_the_rest_and_a_failed_rest_is_told(log):
    begun = threading.Event()

    def endless(check):
        yield "rest"
        begun.set()
        while True:
            time.sleep(0.001)
            check()

    def failing(check):
        raise ValueError("no rest")
        yield

    log.worker.submit(lambda check: ["old"], endless)
    assert begun.wait(10)
    log.worker.submit(lambda check: ["new"], failing)
    log.worker.wait(10, follow_up=True)
    assert log.shown == [(1, "old"), (1, "rest"), (2, "new")]
    assert log.finished == [1, 2]
    assert log.failed == [(2, "no rest")]


def test_a_program_can_end_while_its_network_runs():
    """Without the end of the thread, PyTorch aborts the process."""
    done = run_python(
        """
import threading
import torch
from gcnlab.widgets.worker import LatestWorker

begun = threading.Event()

def endless(check):
    image, kernel = torch.rand(1, 8, 256, 256), torch.rand(8, 8, 3, 3)
    while True:
        torch.nn.functional.conv2d(image, kernel)
        begun.set()
        check()
        yield

worker = LatestWorker(lambda *a: None, lambda *a: None, lambda *a: None)
worker.submit(endless)
begun.wait()
print("ended")
"""
    )
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
