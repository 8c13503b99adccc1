"""Starts a program on several devices with MindSpore's launcher msrun and watches it to its end.

Left to watch by itself, msrun needs most of a minute to tell that a rank is dead, may name another one, and kills ranks
that are still saving when the first has ended after SIGTERM. So here msrun only starts the processes, and this process
becomes their parent when msrun has ended (Linux: a "child subreaper"). It sees each end at once and with its exit
code, hands SIGTERM on, and leaves no process behind. See src/devices/wait_for_launcher.py for the other half.
"""

import ctypes
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import yaml

from ..config import run_name
from ..errors import TemporaryError, UserError
from ..files.file_lock import file_lock, stamp
from ..terminal.progress import FollowedProgress, tell_line
from ..terminal.progress_file import VARIABLE as PROGRESS_FILE
from ..terminal.stop_request import Stopped, StopRequest
from .launch_plan import (
    CPU_PROCESSES,
    FORMATION_SECONDS,
    PORT,
    LaunchOptions,
    LaunchPlan,
    free_port,
    is_connected,
    is_free,
    is_own_address,
    msrun_command,
    parse_launch_options,
    process_environment,
    resuming,
)

SETTLE_SECONDS = 1.0
"""How long after the first failure the other ranks may still fail by themselves, to be named too."""

STOP_SECONDS = 120.0
"""How long ranks may take to save and end after SIGTERM."""

SCHEDULER_SECONDS = {False: 10.0, True: 60.0}
"""How long the scheduler may outlive the ranks of this host: alone, and with other hosts."""

ALONE_SECONDS = 2.0
"""How long nobody may be connected to a scheduler that has outlived its ranks before it is ended: sometimes it does not
notice that all have left."""

KILL_SECONDS = 10.0
POLL_SECONDS = 0.1
LAST_LINES = 30
WRONG_INPUT = UserError.exit_code
REFUSALS = {error.exit_code: error for error in (UserError, TemporaryError)}
STOPPED = {128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT}
PR_SET_CHILD_SUBREAPER = 36

PROBE = """
import mindspore as ms
for name in ("Ascend", "GPU", "CPU"):
    if ms.hal.is_available(name):
        print(f"{name}: {ms.hal.device_count(name)}")
"""


@dataclass(frozen=True)
class End:
    """The end of one process: `rank` is None for the scheduler; `code` is negative for a signal."""

    rank: int | None
    code: int

    def __str__(self) -> str:
        name = "the scheduler" if self.rank is None else f"rank {self.rank}"
        if self.code >= 0:
            return f"{name} failed with exit code {self.code}"
        hint = ", which the kernel does when memory runs out" if self.code == -signal.SIGKILL else ""
        return f"{name} was killed by {signal.Signals(-self.code).name}{hint}"


def launch(script: str, program: Path, argv: Sequence[str]) -> int:
    """Does what a launch script is for.

    Args:
        script: its name, for messages.
        program: train.py or eval.py.
        argv: the script's arguments.

    Returns:
        Exit code: 0; that of the rank that failed first; 128 + the signal that stopped the run.

    Raises:
        Stopped: the user wanted an end before anything was started.
        UserError: wrong or missing arguments, devices that are not there, a run that is being launched already.
    """
    is_training = program.name == "train.py"
    options = parse_launch_options(script, argv, can_resume=is_training)
    with StopRequest() as stop:
        plan = make_plan(script, program, options, "logs" if is_training else "logs/eval", stop)
        with _only_launcher(plan):
            last = plan.logs.parent / "checkpoints" / "last.ckpt"  # see RunFolder
            before = stamp(last)
            code = run(plan, stop)
            for restart in range(options.restarts):
                if code in (0, WRONG_INPUT) or stop.signal is not None or code in STOPPED:
                    break
                arguments = resuming(plan.arguments, before, stamp(last))
                resumes = any(argument.partition("=")[0] == "--resume" for argument in arguments)
                how = "with --resume" if resumes else "from the beginning"
                tell_line(f"starting again {how}, restart {restart + 1} of {options.restarts}")
                plan = replace(plan, arguments=arguments, master_port=_choose_port(script, options))
                code = run(plan, stop)
    return code


def make_plan(script: str, program: Path, options: LaunchOptions, logs: str, stop: StopRequest) -> LaunchPlan:
    """Completes `options` with what the program's configuration and this host say.

    Args:
        script: name of the script, for messages.
        program: whose configuration it is.
        options: of the command line.
        logs: folder for the logs within the run's folder.
        stop: whether the user wants an end.

    Raises:
        Stopped: the user wanted an end before all of it was known.
        UserError: the program refuses its arguments, its data or its folder, too few devices, a wrong address of host
            0, a port in use.
    """
    config, devices_here = _ask(program, options, stop)
    device = config["device"] or next(iter(devices_here))
    there = CPU_PROCESSES if device == "CPU" else devices_here.get(device, 0)
    if there == 0:
        raise UserError(f"{script}: device {device} is not available here; available: {', '.join(devices_here)}")
    if device != "CPU" and (options.devices or 1) > there:
        raise UserError(
            f"{script}: --devices: expected at most {there}, the {device} devices here, got {options.devices}"
        )
    return LaunchPlan(
        program=program,
        arguments=options.arguments,
        device=device,
        devices=options.devices or there,
        nnodes=options.nnodes,
        node_rank=options.node_rank,
        master_addr=_address_of_host_0(script, options, stop),
        master_port=_choose_port(script, options),
        logs=Path(config["output"], run_name(options.config), logs).resolve(),
        rank_table=options.rank_table,
        bind_core=options.bind_core,
    )


def run(plan: LaunchPlan, stop: StopRequest) -> int:
    """Starts everything once, waits until all of it has ended, and tells who failed.

    Args:
        plan: what to start.
        stop: whether the user wants an end.

    Returns:
        Exit code as in `launch`.

    Raises:
        RuntimeError: msrun did not start everything.
        KeyboardInterrupt: the user asked for an end twice.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _set_old_logs_aside(plan)
    output = _Output(plan)
    try:
        watch = _Watch(_start(plan, output.environment), plan)
        while watch.goes_on(stop):
            output.copy()
            time.sleep(POLL_SECONDS)
    finally:
        _end_everything()
        output.close()
        _remove_empty_logs(plan)
    if watch.failures:
        _report(plan, watch.failures)
        code = watch.failures[0].code
        return code if code > 0 else 128 - code
    return 0 if watch.stopped_by is None else 128 + watch.stopped_by


def _start(plan: LaunchPlan, environment: Mapping[str, str]) -> dict[int, int | None]:
    """Process id -> rank; None is the scheduler."""
    starter = subprocess.run(
        msrun_command(plan, os.getpid()),
        env=process_environment(plan, {**os.environ, **environment}, len(os.sched_getaffinity(0))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C is for this process alone
    )
    ranks = {}
    for pid in _children():
        if os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]):  # as wait_for_launcher.py does when it is adopted
            ranks[pid] = _rank_of(pid)
            os.kill(pid, signal.SIGCONT)
    missing = sorted(set(plan.ranks) - set(ranks.values()))
    if missing:
        raise RuntimeError(
            f"msrun did not start the ranks {missing}, exit code {starter.returncode}:\n{starter.stdout}"
        )
    return ranks


class _Watch:
    """Waits for the processes of this host. A failure ends all of them soon, a stop lets them save first.

    Args:
        ranks: process id -> rank, None for the scheduler.
        plan: what was started.
    """

    def __init__(self, ranks: dict[int, int | None], plan: LaunchPlan):
        self.running, self.plan = ranks, plan
        self.failures: list[End] = []
        self.stopped_by: signal.Signals | None = None
        self._deadline = math.inf
        self._left_alone: float | None = None  # since when nobody is connected to the scheduler

    def goes_on(self, stop: StopRequest) -> bool:
        """Looks once; False when all have ended or what is left has had its time."""
        for pid, code in _reap():
            if pid in self.running:  # others are processes that a rank has left behind
                self._note_end(End(self.running.pop(pid), code))
        if stop.signal is not None:
            self._stop(stop.signal)
        ranks_left = [rank for rank in self.running.values() if rank is not None]
        if not ranks_left:
            self._end_within(SCHEDULER_SECONDS[self.plan.nnodes > 1])
            if self._left_alone is None or is_connected(self.plan.master_port):
                self._left_alone = time.monotonic()
            elif time.monotonic() - self._left_alone > ALONE_SECONDS:
                return False
        if self.running and time.monotonic() < self._deadline:
            return True
        if self.stopped_by is not None:
            self.failures += [End(rank, -signal.SIGKILL) for rank in ranks_left]
        return False

    def _end_within(self, seconds: float) -> None:
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def _note_end(self, end: End) -> None:
        if end.code in STOPPED and end.rank is not None:
            self._stop(signal.SIGTERM)
        elif end.code != 0 and (end.rank is not None or any(rank is not None for rank in self.running.values())):
            self.failures.append(end)
            if self.stopped_by is None:
                self._end_within(SETTLE_SECONDS)

    def _stop(self, number: signal.Signals) -> None:
        if self.stopped_by is not None or self.failures:
            return
        self.stopped_by = number
        self._end_within(STOP_SECONDS)
        for pid, rank in self.running.items():
            if rank is not None:
                os.kill(pid, signal.SIGTERM)
        tell_line(f"{number.name}: the ranks save and end, which may take a while; once more ends them at once")


class _Output:
    """Shows on the terminal what the log of this host's first rank gains, and below it the progress bars of rank 0.

    Args:
        plan: what is started.

    Attributes:
        environment: variables for the processes that are started.
    """

    def __init__(self, plan: LaunchPlan):
        self.log, self.position = plan.log_of(plan.ranks[0]), 0
        self.environment: dict[str, str] = {}
        self._progress = None
        if 0 in plan.ranks and sys.stderr.isatty():
            self._progress = FollowedProgress()
            self.environment[PROGRESS_FILE] = str(self._progress.path)

    def copy(self) -> None:
        """Writes the lines that are new to stdout, and draws the bars."""
        for line in self._new_lines():
            tell_line(line)
        if self._progress is not None:
            self._progress.look()

    def close(self) -> None:
        """Shows what is left, and removes the bars."""
        self.copy()
        if self._progress is not None:
            self._progress.close()

    def _new_lines(self) -> list[str]:
        try:
            with self.log.open("rb") as file:
                file.seek(self.position)
                new = file.read()
        except OSError:  # not there yet, or a storage that fails for a moment
            return []
        new = new[: new.rfind(b"\n") + 1]
        self.position += len(new)
        return [line for line in new.decode(errors="replace").splitlines() if not _is_noise(line)]


def _report(plan: LaunchPlan, failures: list[End]) -> None:
    """Tells which rank failed first, its last lines, and who failed after it."""
    first, *others = failures
    log, content = plan.log_of(first.rank), _content_of(plan, first.rank)
    lines = [line for line in content.splitlines() if not _is_noise(line)]
    where = f"the end of {log}:" if lines else "it had written nothing"
    told = [f"error: {first}; {where}", *(f"    {line}" for line in lines[-LAST_LINES:])]
    for other in others:
        where = f": {plan.log_of(other.rank)}" if _content_of(plan, other.rank) else ", which had written nothing"
        told.append(f"then {other}{where}")
    if plan.nnodes > 1:
        told.append("if this is only that others were lost, look at the other hosts")
    for line in told:
        tell_line(line, to_stderr=True)


def _content_of(plan: LaunchPlan, rank: int | None) -> str:
    """What a rank has written; nothing where its log is not there."""
    try:
        return plan.log_of(rank).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_noise(line: str) -> bool:
    return line.startswith("[INFO] DISTRIBUTED(")  # MindSpore says so at its end, whatever GLOG_v is


# Processes.


def _children() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _rank_of(pid: int) -> int | None:
    """None for the scheduler."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    values = dict(variable.partition("=")[::2] for variable in variables)
    return int(values["MS_NODE_ID"]) if values["MS_ROLE"] == "MS_WORKER" else None


def _reap() -> Iterator[tuple[int, int]]:
    """Process id and exit code of each child that has ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended[0], os.waitstatus_to_exitcode(ended[1])


def _end_everything() -> None:
    """Kills the processes that are left, and theirs, which become children of this one."""
    deadline = time.monotonic() + KILL_SECONDS
    while (left := _children()) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        list(_reap())
        time.sleep(0.01)
    if left:
        tell_line(f"warning: the processes {left} do not die; a device may hang", to_stderr=True)


# What the plan depends on.


def _ask(program: Path, options: LaunchOptions, stop: StopRequest) -> tuple[dict, dict[str, int]]:
    """The configuration that the program makes of its arguments, and the number of devices of each kind.

    The program looks at its data and its folder too: what it refuses is told once, and before any rank is started.
    """
    commands = [[sys.executable, str(program), *options.arguments, "--check"], [sys.executable, "-c", PROBE]]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {"GLOG_v": "4", **os.environ, "PYTHONIOENCODING": "utf-8"}
    running = [subprocess.Popen(command, **pipes, env=environment, encoding="utf-8") for command in commands]
    answers = []
    for process in running:
        while True:
            with suppress(subprocess.TimeoutExpired):
                answer, errors = process.communicate(timeout=POLL_SECONDS)
                break
            if stop.signal is not None:
                break
        if stop.signal is not None:
            for each in running:
                each.kill()
                each.wait()
            _leave(stop.signal)
        if process.returncode in REFUSALS:
            _, _, message = errors.rstrip().rpartition("\nerror: ")
            raise REFUSALS[process.returncode](message.removeprefix("error: "))
        if process.returncode:
            raise RuntimeError(f"{shlex.join(process.args)} ended with code {process.returncode}:\n{errors}")
        answers.append(yaml.safe_load(answer))
    return answers[0], answers[1]


def _leave(number: signal.Signals) -> NoReturn:
    tell_line(f"{number.name}: nothing was started", to_stderr=True)
    raise Stopped(number) from None


def _address_of_host_0(script: str, options: LaunchOptions, stop: StopRequest) -> str:
    """IPv4 address; a host that is only just starting may get its name later."""
    told, since = False, time.monotonic()
    while True:
        try:
            address = socket.gethostbyname(options.master_addr)
            break
        except OSError as error:
            if time.monotonic() - since > FORMATION_SECONDS:
                raise UserError(f"{script}: host 0, {options.master_addr}, has no address: {error}") from None
            if not told:
                print(f"waiting for host 0, {options.master_addr}, to get an address", flush=True)
                told = True
            if stop.signal is not None:
                _leave(stop.signal)
            time.sleep(0.5)
    if options.node_rank == 0 and not is_own_address(address):
        raise UserError(f"{script}: host 0, {options.master_addr}, is not this host, which has --node_rank 0")
    if options.nnodes > 1 and address.startswith("127.") and address != options.master_addr:
        raise UserError(
            f"{script}: {options.master_addr} is {address} on this host (see /etc/hosts), which others cannot reach; "
            "give its address in the network"
        )
    return address


def _choose_port(script: str, options: LaunchOptions) -> int:
    port = options.master_port
    if port is None and options.nnodes == 1:
        return free_port()
    port = port or PORT
    if options.node_rank == 0 and not is_free(port):
        raise UserError(f"{script}: --master_port: expected a port that is free on this host, {port} is in use")
    return port


# The run's folder.


def _only_launcher(plan: LaunchPlan) -> AbstractContextManager[None]:
    """Keeps a second launcher of this host out of the logs. (The run itself is locked by rank 0.)"""
    return file_lock(plan.logs / f".lock_{plan.node_rank}", f"another launch script is at work in {plan.logs}")


def _logs(plan: LaunchPlan) -> list[Path]:
    """Of this host's processes, those that are there."""
    processes = [*plan.ranks, None] if plan.node_rank == 0 else plan.ranks
    return [log for log in map(plan.log_of, processes) if log.exists()]


def _set_old_logs_aside(plan: LaunchPlan) -> None:
    """worker_0.log -> worker_0.<time of its last line>.log."""
    for log in _logs(plan):
        ended = datetime.fromtimestamp(log.stat().st_mtime)
        log.rename(log.with_suffix(f".{ended:%Y%m%d-%H%M%S}.log"))


def _remove_empty_logs(plan: LaunchPlan) -> None:
    """A rank that had nothing to say leaves no file that somebody might look into for a reason."""
    for log in _logs(plan):
        if log.stat().st_size == 0:
            log.unlink()
