"""Worker processes: what they fill, how they fail, and that nothing of them is left, however the program ends."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src.data import shared_batches
from src.data.shared_batches import BatchPlan, SharedBatches, layout
from src.errors import UserError


class Square:
    """Task (i, action): values[i] = start + i * i, then what `action` says."""

    def __init__(self, length=6):
        self.fields = {
            "flag": ((1,), np.bool_),
            "values": ((length,), np.float32),
            "start": ((1,), np.int64),
        }

    def __call__(self, batch, i, action):
        batch["values"][i] = batch["start"][0] + i * i
        if action == REPORT:
            return f"did {i}"
        if action == USER_ERROR:
            time.sleep(0.05 * (i == 1))  # the first task's error is raised, not the first error
            raise UserError(f"task {i} is bad")
        if action == BUG:
            return 1 // 0
        if action == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == LEAVE:
            os._exit(7)
        if action == LOOK:
            return sorted(name for name in sys.modules if name.split(".")[0] in ("mindspore", "pytest", "tests"))
        if action == PAUSE:
            time.sleep(0.2)
        return None


NOTHING, REPORT, USER_ERROR, BUG, DIE, LEAVE, LOOK, PAUSE = 0, 6, 1, 2, 3, 4, 5, 7


def plan(start, actions):
    return BatchPlan({"start": np.array([start])}, list(enumerate(actions)))


def plans(*all_actions):
    return (plan(100 * number, actions) for number, actions in enumerate(all_actions))


def pids(shared):
    return [worker.pid for worker in shared._results.values()]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_running(pid):
    """Not as `is_alive`: whose parent was killed is a zombie until process 1 collects it, if ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def start():
    """Starts worker processes; after the test they are gone, zombies included, and so are their descriptors."""
    opened = []

    def begin(workers=1, work=None, ahead=2):
        opened.append(SharedBatches(work or Square(), workers, ahead))
        return opened[-1]

    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield begin
    all_pids = [pid for shared in opened for pid in pids(shared)]
    opened.clear()
    gc.collect()
    assert not [pid for pid in all_pids if is_alive(pid)]
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_in_order_with_reports_in_order(start, workers):
    shared = start(workers)
    for _ in range(2):
        seen = []
        for number, (batch, reports) in enumerate(
            shared.batches(plans([NOTHING, REPORT, PAUSE, REPORT], *[[NOTHING, REPORT, NOTHING, REPORT]] * 6))
        ):
            assert batch["values"][:4].tolist() == [100 * number + i * i for i in range(4)]
            assert reports == ["did 1", "did 3"]
            seen.append(number)
        assert seen == list(range(7))
    assert list(shared.batches([])) == []
    ((_, reports),) = shared.batches([plan(0, [])])
    assert reports == []


def test_more_tasks_than_the_pipe_holds(start):
    length = 5000  # of 32 bytes, three times
    shared = start(2, Square(length))
    for number, (batch, _) in enumerate(shared.batches(plans(*[[NOTHING] * length] * 5))):
        assert np.array_equal(batch["values"], np.float32(100 * number) + np.arange(length, dtype=np.float32) ** 2)


def test_a_batch_stays_as_it_is_until_the_next(start):
    shared = start(1)
    for number, (batch, _) in enumerate(shared.batches(plans(*[[NOTHING] * 3] * 6))):
        time.sleep(0.02)  # the worker is as far ahead as it may be
        assert batch["values"][:3].tolist() == [100 * number, 100 * number + 1, 100 * number + 4]


def test_what_is_left_of_a_call_does_not_disturb_the_next(start):
    """Twelve slow tasks of the first call are in work or wait when the second begins; those that wait are not done."""
    shared = start(2)
    next(shared.batches(plans([NOTHING], [PAUSE] * 6, [PAUSE] * 6)))
    begin = time.monotonic()
    (first, _), (second, _) = ((dict(batch), 0) for batch, _ in shared.batches(plans([NOTHING] * 3, [NOTHING] * 3)))
    assert time.monotonic() - begin < 0.6  # all of them would take 1.2 s
    assert first["values"][:3].tolist() == [0, 1, 4] and second["values"][:3].tolist() == [100, 101, 104]


def test_error_of_the_first_task_at_its_batch(start):
    shared = start(2)
    batches = shared.batches(plans([NOTHING], [NOTHING, USER_ERROR, USER_ERROR], [NOTHING]))
    next(batches)
    with pytest.raises(UserError, match="^task 1 is bad$"):
        next(batches)
    assert len(list(shared.batches(plans([NOTHING], [NOTHING])))) == 2


def test_any_other_error_comes_with_its_traceback(start):
    with pytest.raises(RuntimeError, match=r"(?s)in a data worker:\nTraceback.*1 // 0.*ZeroDivisionError"):
        list(start().batches(plans([BUG])))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (DIE, r"a data worker \(process \d+\) was killed by signal 9 before .* lower data.workers"),
        (LEAVE, "with code 7"),
    ],
)
def test_dead_worker(start, action, message):
    shared = start(2)
    others = pids(shared)
    with pytest.raises(UserError, match=message):
        list(shared.batches(plans([NOTHING] * 3, [action, NOTHING, NOTHING])))
    assert not [pid for pid in others if is_alive(pid)]
    with pytest.raises(RuntimeError, match="have been stopped"):
        next(shared.batches(plans([NOTHING])))


def test_killed_from_outside_while_idle(start):
    shared = start(2)
    next(shared.batches(plans([NOTHING])))
    os.kill(pids(shared)[0], signal.SIGKILL)
    with pytest.raises(UserError, match="killed by signal 9"):
        for _ in range(100):
            list(shared.batches(plans([PAUSE] * 4)))


def test_workers_import_no_more_than_they_need(start):
    """MindSpore is imported here, by conftest.py, but not there."""
    assert "mindspore" in sys.modules
    ((_, (names,)),) = start().batches(plans([LOOK]))
    assert not [name for name in names if name.startswith("mindspore")]


def test_work_that_cannot_be_sent():
    work = Square()
    work.function = lambda: 0
    with pytest.raises(UserError, match=r"cannot be sent to worker processes \(.*lambda.*set data.workers to 0"):
        SharedBatches(work, 1, 2)


def test_file_on_disk_where_there_is_none_in_memory(start, monkeypatch, tmp_path):
    def missing(name):
        raise OSError

    monkeypatch.setattr(os, "memfd_create", missing)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ((batch, _),) = start().batches(plans([NOTHING] * 3))
    assert batch["values"][:3].tolist() == [0, 1, 4]
    assert list(tmp_path.iterdir()) == []

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"MiB for batches do not fit into .*: No space left on device; .*TMPDIR"):
        start()


def test_layout():
    fields = {"a": ((3,), np.float32), "b": ((65,), np.bool_), "c": ((2, 8), np.int64)}
    assert layout(fields) == ({"a": 0, "b": 64, "c": 192}, 320)


def test_fields_are_aligned(start):
    ((batch, _),) = start().batches(plans([NOTHING]))
    assert [values.ctypes.data % shared_batches.ALIGNMENT for values in batch.values()] == [0, 0, 0]


REPOSITORY = Path(__file__).parents[2]
PROGRAM = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_shared_batches import PAUSE, Square, SharedBatches, pids, plans
shared = SharedBatches(Square(), 2, 2)
batches = shared.batches(plans(*[[PAUSE] * 6] * 100))
next(batches)
print(*pids(shared), flush=True)
{{then}}
"""


@pytest.mark.parametrize(
    ("then", "number", "ending"),
    [
        ("sys.exit(3)", None, b""),
        ("raise ValueError('stop')", None, b"ValueError: stop"),
        ("list(batches)", signal.SIGINT, b"KeyboardInterrupt"),
        ("time.sleep(60)", signal.SIGINT, b"KeyboardInterrupt"),
        ("list(batches)", signal.SIGTERM, b""),
        ("list(batches)", signal.SIGKILL, b""),
    ],
)
def test_nothing_is_left_however_the_program_ends(then, number, ending):
    shared_memory = sorted(os.listdir("/dev/shm"))
    command = [sys.executable, "-c", PROGRAM.format(then=then)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    if number is not None:
        os.killpg(process.pid, number)  # as a terminal does
    _, errors = process.communicate(timeout=10)
    lines = errors.splitlines()
    assert process.returncode != 0
    assert lines[-1] == ending if ending else not lines
    assert errors.count(b"Traceback") == bool(ending)
    until = time.monotonic() + 5  # after SIGKILL they end by themselves
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [pid for pid in workers if is_running(pid)]
    assert sorted(os.listdir("/dev/shm")) == shared_memory
