"""The frame of the root scripts."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_reader_that_has_enough_ends_the_command_quietly():
    code = (
        "from src.terminal.command import run_command\n"
        "def main():\n"
        "    for _ in range(100_000): print('line')\n"
        "run_command(main)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert process.wait(60) == 141 and process.stderr.read() == b""


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_mindspore_is_imported_ends_quietly(number, code):
    """Its extension modules would abort the process with a dump of its memory map."""
    process = subprocess.Popen(
        [sys.executable, "train.py", "--help"], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while b"libmindspore" not in Path(f"/proc/{process.pid}/maps").read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.communicate(timeout=60) == (b"", b"interrupted\n") and process.returncode == code


@pytest.mark.parametrize("error,code", [("OSError(13, 'Permission denied', 'a.png')", 2), ("MemoryError()", 75)])
def test_what_nobody_expected_of_the_system_is_one_line(error, code):
    program = f"from src.terminal.command import run_command\ndef main():\n    raise {error}\nrun_command(main)"
    process = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert process.returncode == code and process.stderr.startswith("error: ") and process.stderr.count("\n") == 1


def test_a_full_disk_behind_the_output_is_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "train.py", "--print_config"]
        process = subprocess.run(command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 75 and process.stderr.count("\n") == 1
    assert process.stderr.startswith("error: cannot write what is printed: No space left on device")
