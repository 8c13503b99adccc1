"""Launching small programs under the real msrun: who failed, how soon the others end, what a stop lets them do."""

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from src.devices.launch_plan import free_port

ROOT = Path(__file__).resolve().parents[2]

LAUNCH = f"""
import faulthandler, sys
faulthandler.enable()
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from src.terminal.command import run_command
from src.devices import launcher
launcher.PROBE = "print('CPU: 1')"  # the true one takes seconds
launcher.SCHEDULER_SECONDS = {{False: 0.5, True: 0.5}}  # it waits for ranks to join, and these never do
run_command(lambda: launcher.launch("script.sh", Path("train.py").resolve(), sys.argv[1:]))
"""

PROGRAM = """
import os, signal, subprocess, sys, time
if "--check" in sys.argv:
    for option, message, code in (
        ("--wrong", "train.py: unknown option --wrong", 2),
        ("--full", "cannot read /data: error: Input/output error", 75),
    ):
        if option in sys.argv:
            print("warning: something else\\nerror:", message, file=sys.stderr)
            sys.exit(code)
    if "--slow" in sys.argv:
        open("asked", "w").close()
        time.sleep(300)
    print("device: CPU\\noutput: output")
    sys.exit()
rank = os.environ["MS_NODE_ID"]
helper = subprocess.Popen(["sleep", "300"], start_new_session=True)
with open(f"pids_{rank}", "w") as file:
    file.write(f"{os.getpid()} {helper.pid}")
if rank == "0" or "--quiet" not in sys.argv:
    print("rank", rank, "of", os.environ["MS_WORKER_NUM"], "arguments", *sys.argv[1:], flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Writes a program for the ranks, and starts it in the test's folder."""
    launchers = []

    def start(body: str, *argv: str, stderr: int = subprocess.PIPE, long_patience: bool = False) -> subprocess.Popen:
        Path("launch.py").write_text(LAUNCH.replace("0.5", "300.0") if long_patience else LAUNCH)
        Path("train.py").write_text(PROGRAM + body)
        Path("run.yaml").touch()
        pipes = {"stdout": subprocess.PIPE, "stderr": stderr, "text": True}
        command = [sys.executable, "launch.py", "--config", "run.yaml", *argv]
        launchers.append(subprocess.Popen(command, **pipes))
        return launchers[-1]

    yield start
    for launcher in launchers:
        launcher.kill()
        launcher.communicate()


def wait_for(launcher: subprocess.Popen, *paths: str) -> None:
    """Waits until the ranks have written `paths`; says what the launcher said where they do not."""
    deadline = time.monotonic() + 240
    while not all(Path(path).exists() for path in paths):
        if launcher.poll() is not None or time.monotonic() > deadline:
            launcher.send_signal(signal.SIGABRT)  # faulthandler shows where it stands
            output, errors = launcher.communicate()
            logs = {str(path): path.read_text(errors="replace") for path in Path().rglob("*.log")}
            pytest.fail(f"no {paths}, exit code {launcher.returncode}\n{output}\n{errors}\n{logs}")
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over() -> list[int]:
    pids = [int(pid) for path in Path().glob("pids_*") for pid in path.read_text().split()]
    assert pids
    return [pid for pid in pids if is_alive(pid)]


def test_a_run_that_ends_well(start):
    launcher = start("time.sleep(1)\nprint('done', rank)", "--seed", "1")
    output, errors = launcher.communicate()
    assert (launcher.returncode, errors) == (0, "")
    assert output == "rank 0 of 2 arguments --config run.yaml --seed 1\ndone 0\n"  # nothing of rank 1
    assert Path("output/run/logs/worker_1.log").read_text().endswith("done 1\n")
    assert not Path("output/run/logs/scheduler.log").exists()  # it had nothing to say
    assert not left_over()


def test_the_rank_that_failed_is_named_and_the_others_end(start):
    body = """
while not os.path.exists("pids_0"):
    time.sleep(0.1)
if rank == "1":
    raise RuntimeError("out of luck")
time.sleep(300)
"""
    launcher = start(body)
    wait_for(launcher, "pids_0", "pids_1")
    since = time.monotonic()
    output, errors = launcher.communicate()
    assert time.monotonic() - since < 20
    assert launcher.returncode == 1
    log = Path("output/run/logs/worker_1.log").resolve()
    assert errors.startswith(f"error: rank 1 failed with exit code 1; the end of {log}:\n    rank 1 of 2")
    assert errors.endswith("    RuntimeError: out of luck\n")
    assert not left_over()


def test_a_rank_that_is_killed(start):
    launcher = start("time.sleep(300)")
    wait_for(launcher, "pids_0", "pids_1")
    time.sleep(0.5)
    os.kill(int(Path("pids_1").read_text().split()[0]), signal.SIGKILL)
    since = time.monotonic()
    _, errors = launcher.communicate()
    assert time.monotonic() - since < 20
    assert launcher.returncode == 128 + signal.SIGKILL
    assert errors.startswith("error: rank 1 was killed by SIGKILL")
    assert not left_over()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_until_the_slowest_rank_has_saved(start, number):
    body = """
def save(*_):
    time.sleep(3 if rank == "0" else 0)
    open(f"saved_{rank}", "w")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
open(f"ready_{rank}", "w")
time.sleep(300)
"""
    launcher = start(body)
    wait_for(launcher, "ready_0", "ready_1")
    launcher.send_signal(number)
    output, errors = launcher.communicate()
    assert (launcher.returncode, errors) == (128 + number, "")
    assert f"{number.name}: the ranks save and end" in output
    assert Path("saved_0").exists() and Path("saved_1").exists()
    assert not left_over()


def test_nothing_outlives_a_launcher_that_is_killed(start):
    launcher = start("helper.kill()\ntime.sleep(300)")
    wait_for(launcher, "pids_0", "pids_1")
    time.sleep(0.5)
    launcher.kill()
    launcher.communicate()
    deadline = time.monotonic() + 10
    while left_over() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left_over()


def test_a_restart_resumes_and_keeps_the_logs(start):
    body = "if '--resume' not in sys.argv:\n    time.sleep(1)\n    sys.exit(1)\nprint('resumed')"
    launcher = start(body, "--restarts", "2", "--overwrite")
    output, errors = launcher.communicate()
    assert launcher.returncode == 0
    assert "starting again with --resume, restart 1 of 2\n" in output and output.endswith("resumed\n")
    assert "restart 2" not in output
    assert "arguments --config run.yaml --resume\n" in output
    assert len(list(Path("output/run/logs").glob("worker_1.*.log"))) == 1
    assert not left_over()


def test_a_scheduler_that_does_not_notice_that_all_have_left_is_ended(start):
    """This one waits for ranks that never join: a minute would be too long where nobody is connected to it."""
    launcher = start("", long_patience=True)
    begin = time.monotonic()
    assert launcher.wait(40) == 0 and time.monotonic() - begin < 40
    assert not left_over()


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        ("--wrong", 2, "error: train.py: unknown option --wrong\n"),
        ("--full", 75, "error: cannot read /data: error: Input/output error\n"),
    ],
)
def test_what_the_program_refuses_is_told_once_and_starts_nothing(start, option, code, message):
    launcher = start("", option)
    output, errors = launcher.communicate()
    assert (launcher.returncode, output, errors) == (code, "", message)
    assert not Path("output").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_program_looks_at_its_data(start, number):
    launcher = start("", "--slow")
    wait_for(launcher, "asked")
    launcher.send_signal(number)
    output, errors = launcher.communicate()
    assert (launcher.returncode, output, errors) == (128 + number, "", f"{number.name}: nothing was started\n")
    assert not Path("output").exists()


def test_a_rank_that_says_nothing_leaves_no_log(start):
    launcher = start("", "--quiet")
    assert launcher.wait() == 0
    assert [path.name for path in Path("output/run/logs").glob("worker_*.log")] == ["worker_0.log"]


def test_waiting_for_host_0_can_be_stopped(start):
    launcher = start("", "--nnodes", "2", "--node_rank", "1", "--master_addr", "no.such.host.invalid")
    assert launcher.stdout.readline() == "waiting for host 0, no.such.host.invalid, to get an address\n"
    launcher.send_signal(signal.SIGTERM)
    _, errors = launcher.communicate()
    assert (launcher.returncode, errors) == (128 + signal.SIGTERM, "SIGTERM: nothing was started\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--master_port PORT", "script.sh: --master_port: expected a port that is free on this host, PORT is in use"),
        ("--nnodes 2 --node_rank 0 --master_addr 192.0.2.7", "script.sh: host 0, 192.0.2.7, is not this host"),
    ],
)
def test_a_scheduler_that_cannot_listen_is_refused(start, argv, message):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        _, errors = start("", *argv.replace("PORT", port).split()).communicate()
    assert errors.startswith(f"error: {message.replace('PORT', port)}")


def test_a_second_launcher_in_the_folder_is_refused(start):
    first = start("time.sleep(300)")
    wait_for(first, "pids_0", "pids_1")
    second = start("time.sleep(300)")
    _, errors = second.communicate()
    assert second.returncode == 75
    assert errors.startswith("error: another launch script is at work in ")
    assert first.poll() is None


def test_two_hosts_on_one_machine(start):
    """Each launcher starts its own rank; the scheduler is host 0's."""
    argv = ["--devices", "1", "--nnodes", "2", "--master_addr", "127.0.0.1"]
    argv += ["--master_port", str(free_port())]
    hosts = [start("time.sleep(1)", *argv, "--node_rank", str(node_rank)) for node_rank in (0, 1)]
    for node_rank, host in enumerate(hosts):
        output, errors = host.communicate()
        assert (host.returncode, errors) == (0, "")
        assert output.startswith(f"rank {node_rank} of 2")
    logs = sorted(path.name for path in Path("output/run/logs").glob("*.log"))
    assert logs == ["worker_0.log", "worker_1.log"]


def test_the_terminal_shows_the_progress_of_rank_0(start):
    body = f"""
sys.path.insert(0, {str(ROOT)!r})
from src.terminal.progress import Progress
with Progress("train", 64, shown=rank == "0") as progress:
    time.sleep(0.5)
    progress.advance(16, "loss 1.234")
    print("a line", flush=True)
    with Progress("evaluate", 8, shown=rank == "0"):
        time.sleep(0.5)
    time.sleep(0.5)
"""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows, columns
    launcher = start(body, stderr=theirs)
    os.close(theirs)
    shown = read_all(ours)
    assert launcher.wait() == 0
    assert re.search(r"train: +25%[^\r]* 16/64 [^\r]*images/s, loss 1\.234\]", shown)
    assert "evaluate:   0%" in shown
    assert launcher.stdout.read().endswith("a line\n")


def read_all(terminal: int) -> str:
    """What programs write to it until all of them have ended."""
    shown = b""
    with suppress(OSError):  # as a terminal's end is told on Linux
        while new := os.read(terminal, 4096):
            shown += new
    return shown.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ranks_save_when_nobody_reads_the_output_any_more(start, number):
    body = """
def save(*_):
    time.sleep(0.5)
    open(f"saved_{rank}", "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
open(f"ready_{rank}", "w").close()
time.sleep(300)
"""
    launcher = start(body)
    wait_for(launcher, "ready_0", "ready_1")
    launcher.stdout.close()  # as `| tee` does at Ctrl-C, and a terminal that is closed
    launcher.stderr.close()
    launcher.send_signal(number)
    assert launcher.wait(60) == 128 + number
    assert Path("saved_0").exists() and Path("saved_1").exists()
