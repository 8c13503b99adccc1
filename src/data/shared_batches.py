"""Batches that worker processes fill in memory that they share with the consumer, so that nothing is copied.

How it works, and why not `multiprocessing`:

- A worker is a new Python (`subprocess`) that imports nothing but the data package: neither forked, which breaks
  MindSpore's threads, nor `multiprocessing`'s spawn, which would import the running script with all of MindSpore again.
- The memory is a file without a name (`memfd_create`; where that is missing, an unlinked temporary file). It does not
  count against /dev/shm, which is small in containers, and cannot be left behind: it is gone with the processes.
- All workers take tasks from one pipe, so that none waits while there is work; the kernel hands out whole records. Each
  answers through a pipe of its own, whose end tells at once that the worker died.
- A worker ends when the consumer's process does, however that comes about, because its pipes end. Ctrl-C does not reach
  it (it is in a session of its own).
- The workers' allocator (glibc's) keeps memory instead of returning it after every image: page faults otherwise cost a
  third of the time that Pillow takes to decode a photo.
"""

import json
import mmap
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import TemporaryError, UserError, show_warnings_in_one_line

Arrays = dict[str, np.ndarray]
Fields = dict[str, tuple[tuple[int, ...], type]]
"""Names of the arrays of a batch, with their shapes and NumPy types."""

RECORD = struct.Struct("=4q")  # generation, slot, task
ALIGNMENT = 64  # bytes
ENDING_WAIT = 5.0  # seconds
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # the highest that glibc accepts
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
START = (
    "import json, sys; start = json.loads(sys.argv[1]); sys.path[:] = start['path']; "
    f"from {__name__} import run_worker; run_worker(start)"
)


class BatchPlan(NamedTuple):
    """What a batch starts with, and what has to be done to it.

    Attributes:
        given: arrays that are there before the first task, by the names of fields.
        tasks: a task is a pair of integers, whatever they mean.
    """

    given: Arrays
    tasks: Sequence[tuple[int, int]]


class Work(Protocol):
    """What workers do; sent to each of them once, by pickle."""

    fields: Fields

    def __call__(self, batch: Arrays, first: int, second: int) -> Any:
        """Does the task (first, second) of a batch; what it returns is reported to the consumer unless it is None."""
        ...


class SharedBatches:
    """Worker processes and the ring of batches that they fill.

    Args:
        work: what to do; must be picklable.
        workers: number of processes, at least 1.
        ahead: batches in work while the consumer has one.

    Raises:
        UserError: `work` cannot be sent to another process.
    """

    def __init__(self, work: Work, workers: int, ahead: int) -> None:
        self._num_slots = ahead + 1
        self._generation = 0
        self._unanswered = 0  # tasks
        size = layout(work.fields)[1]
        pickled = _pickle(work)
        fds = {"work": _nameless_file(len(pickled)), "memory": _nameless_file(mmap.PAGESIZE + self._num_slots * size)}
        fds["tasks"], self._tasks = os.pipe()
        self._results: dict[Connection, subprocess.Popen] = {}
        try:
            mmap.mmap(fds["work"], len(pickled)).write(pickled)
            memory = mmap.mmap(fds["memory"], 0)
            self._current_generation = np.frombuffer(memory, np.int64, 1)
            self._slots = _slots(memory, work.fields, self._num_slots)
            os.set_blocking(self._tasks, False)
            for _ in range(workers):
                self._start_worker(fds)
        finally:
            self.close = weakref.finalize(self, _stop, self._results, self._tasks)  # runs also at Python's exit
            for fd in fds.values():
                os.close(fd)

    def _start_worker(self, fds: dict[str, int]) -> None:
        receive, send = os.pipe()
        connection = Connection(receive, writable=False)
        start = {"path": sys.path, "results": send, "slots": self._num_slots, **fds}
        try:
            self._results[connection] = subprocess.Popen(
                [sys.executable, "-c", START, json.dumps(start)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **WORKER_ENVIRONMENT},
                pass_fds=(send, *fds.values()),
                start_new_session=True,
            )
        finally:
            os.close(send)

    def batches(self, plans: Iterable[BatchPlan]) -> Iterator[tuple[Arrays, list[Any]]]:
        """The batches of `plans` in order, with the reports of their tasks in the order of the tasks.

        A batch is memory of the ring: it is valid until the next one is asked for. A new call ends this one: tasks that
        wait are dropped, those that are being done are waited for.

        Raises:
            UserError: as it was raised in a task, the first one of its batch; a worker that died.
            RuntimeError: any other exception in a task; a call after `close`, or that another one has ended.
        """
        self._check_open()
        self._generation += 1
        generation = self._current_generation[0] = self._generation
        while self._unanswered:  # a worker may still be writing into a slot
            self._receive()
        plans = iter(plans)
        free = list(range(self._num_slots))
        in_work: deque[tuple[int, int]] = deque()  # slot, number of tasks
        unsent: deque[bytes] = deque()
        reports: dict[int, dict[tuple[int, int], Any]] = {}  # by slot and task
        while True:
            while free and (plan := next(plans, None)) is not None:
                slot = free.pop()
                for name, values in plan.given.items():
                    self._slots[slot][name][...] = values
                unsent += [RECORD.pack(generation, slot, *task) for task in plan.tasks]
                in_work.append((slot, len(plan.tasks)))
                reports[slot] = {}
            if not in_work:
                return
            self._send(unsent)
            slot, num_tasks = in_work.popleft()
            while len(reports[slot]) < num_tasks:
                for answered_slot, task, report in self._receive():
                    reports[answered_slot][task] = report
                self._send(unsent)
            in_order = [report for _, report in sorted(reports[slot].items()) if report is not None]
            for report in in_order:
                if isinstance(report, Exception):
                    raise report
            yield self._slots[slot], in_order
            self._check_open()
            if self._generation != generation:
                raise RuntimeError("these batches have ended, because others of the same loader were begun")
            free.append(slot)

    def _check_open(self) -> None:
        if not self.close.alive:
            raise RuntimeError("the worker processes have been stopped")

    def _send(self, unsent: deque[bytes]) -> None:
        """Sends as much as the pipe takes; what it holds will bring results, and then there is room again."""
        try:
            while unsent:
                os.write(self._tasks, unsent[0])
                unsent.popleft()
                self._unanswered += 1
        except (BlockingIOError, BrokenPipeError):  # full, or all workers died, which `_receive` will find
            pass

    def _receive(self) -> list[tuple[int, tuple[int, int], Any]]:
        """What has been answered since the last call, at least one: slot, task, report."""
        results = []
        try:
            for connection in wait(list(self._results)):
                try:
                    results.append(connection.recv())
                except (EOFError, OSError):
                    raise TemporaryError(_death(self._results[connection])) from None
        except BaseException:  # Ctrl-C too, which may have cut a result in two
            self.close()
            raise
        self._unanswered -= len(results)
        return results


def run_worker(start: dict[str, Any]) -> None:
    """The life of a worker process."""
    show_warnings_in_one_line()
    with mmap.mmap(start["work"], 0) as pickled:
        work = pickle.loads(pickled)
    os.close(start["work"])
    memory = mmap.mmap(start["memory"], 0)
    current_generation = np.frombuffer(memory, np.int64, 1)
    slots = _slots(memory, work.fields, start["slots"])
    results = Connection(start["results"], readable=False)
    while record := os.read(start["tasks"], RECORD.size):
        generation, slot, *task = RECORD.unpack(record)
        report = None
        if generation == current_generation[0]:  # otherwise nobody waits for it any more
            try:
                report = work(slots[slot], *task)
            except UserError as error:
                report = error
            except Exception:
                report = RuntimeError(f"in a data worker:\n{traceback.format_exc()}")
        try:
            results.send((slot, tuple(task), report))
        except BrokenPipeError:
            return


def layout(fields: Fields) -> tuple[dict[str, int], int]:
    """Where each field of a batch begins in its memory, and how much memory that is; in bytes."""
    offsets, end = {}, 0
    for name, (shape, dtype) in fields.items():
        offsets[name] = end
        end += -(-int(np.prod(shape)) * np.dtype(dtype).itemsize // ALIGNMENT) * ALIGNMENT
    return offsets, end


def _slots(memory: mmap.mmap, fields: Fields, num_slots: int) -> list[Arrays]:
    """The batches in the shared memory, which begins with a page for the generation that is current."""
    offsets, size = layout(fields)
    return [
        {
            name: np.ndarray(shape, dtype, memory, mmap.PAGESIZE + slot * size + offsets[name])
            for name, (shape, dtype) in fields.items()
        }
        for slot in range(num_slots)
    ]


def _pickle(work: Work) -> bytes:
    try:
        return pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # whatever the classes of a data set raise
        raise UserError(
            f"the data set cannot be sent to worker processes ({type(error).__name__}: {error}); "
            "set data.workers to 0 to read it in this process"
        ) from error


def _nameless_file(size: int) -> int:
    """Descriptor of a file of `size` zeros in memory, or on disk where that cannot be had."""
    try:
        fd = os.memfd_create("data-batches")
        os.ftruncate(fd, size)
        return fd
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        try:
            os.posix_fallocate(fd, 0, size)  # so that a full disk is an error here, not a crash later
        except OSError as error:
            os.close(fd)
            raise TemporaryError(
                f"{size / 2**20:,.0f} MiB for batches do not fit into {tempfile.gettempdir()}: {error.strerror}; "
                "free space there, name another folder in the variable TMPDIR, or set data.workers to 0"
            ) from error
        return fd


def _death(worker: subprocess.Popen) -> str:
    try:
        code = worker.wait(ENDING_WAIT)
    except subprocess.TimeoutExpired:
        code = None
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return (
        f"a data worker (process {worker.pid}) {how} before its work was done; if memory ran out, lower data.workers "
        "or train.batch_size, otherwise see what it printed above"
    )


def _stop(results: dict[Connection, subprocess.Popen], tasks: int) -> None:
    """They hold nothing that would need tidying up; one may sit in a slow read."""
    for worker in results.values():
        worker.kill()
    for connection, worker in results.items():
        try:
            worker.wait(ENDING_WAIT)
        except subprocess.TimeoutExpired:  # in a read that cannot be interrupted; the system collects it later
            pass
        connection.close()
    os.close(tasks)
