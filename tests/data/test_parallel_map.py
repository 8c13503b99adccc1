"""Order, bounds, errors, and that no thread outlives the iteration."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from src.data.parallel_map import ParallelMap


def data_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("data-")]


@pytest.fixture(autouse=True)
def no_threads_left():
    yield
    assert data_threads() == []


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_order(workers):
    def slow_when_even(job):
        time.sleep(0.002 * (job % 2 == 0))
        return job * job

    assert list(ParallelMap(slow_when_even, range(50), workers, ahead=8)) == [job * job for job in range(50)]


def test_no_jobs():
    assert list(ParallelMap(str, [], workers=2, ahead=4)) == []


def test_jobs_run_side_by_side():
    meeting = threading.Barrier(4, timeout=10)  # breaks unless four wait at once
    assert len(list(ParallelMap(lambda job: meeting.wait(), range(8), workers=4, ahead=8))) == 8


def test_reads_ahead_but_no_further():
    taken = []

    def jobs():
        for job in range(100):
            taken.append(job)
            yield job

    results = ParallelMap(lambda job: job, jobs(), workers=3, ahead=5)
    assert taken == []
    for step in range(4):
        next(results)
        assert len(taken) == step + 5


def test_error_comes_at_its_turn_as_it_is():
    error = KeyError("seven")

    def fail_at_seven(job):
        if job in (7, 8):
            raise error if job == 7 else ValueError(job)
        return job

    results = ParallelMap(fail_at_seven, range(20), workers=4, ahead=20)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(KeyError) as caught:
        next(results)
    assert caught.value is error
    assert data_threads() == []
    with pytest.raises(StopIteration):
        next(results)


def test_error_in_the_jobs():
    def jobs():
        yield 1
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(ParallelMap(str, jobs(), workers=2, ahead=4))


def test_dropped_iteration_stops_its_threads():
    done = []

    def slow(job):
        time.sleep(0.01)
        done.append(job)

    results = ParallelMap(slow, range(1000), workers=2, ahead=500)
    next(results)
    assert len(data_threads()) == 2
    del results
    assert data_threads() == []
    assert len(done) < 20


def test_dropped_in_a_reference_cycle():
    results = ParallelMap(str, range(1000), workers=2, ahead=10)
    next(results)
    results.itself = results
    del results
    gc.collect()


def test_closed_from_one_of_its_threads():
    """As the garbage collector may do."""
    close = []
    results = ParallelMap(lambda job: close[0](), range(3), workers=2, ahead=1)
    close.append(results.close)
    assert next(results) is None
    assert list(results) == []


REPOSITORY = Path(__file__).parents[2]
SLOW = """
import sys, time
from src.data.parallel_map import ParallelMap
results = ParallelMap(lambda job: time.sleep(0.05), range(10000), workers=2, ahead=2000)
for _ in results:
    print("running", flush=True)
    {then}
"""


def test_exit_in_the_middle_does_not_hang():
    begin = time.monotonic()
    command = [sys.executable, "-c", SLOW.format(then="sys.exit(3)")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (3, b"")
    assert time.monotonic() - begin < 10  # the queued jobs would take 50 s


@pytest.mark.parametrize("then", ["pass", "time.sleep(60)"])
def test_ctrl_c(then):
    """While waiting for data, and while the consumer works."""
    command = [sys.executable, "-c", SLOW.format(then=then)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode != 0 and errors.rstrip().endswith(b"KeyboardInterrupt")
