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


STARTS = {
    "waits": "import queue\ndef main():\n    print('ready', flush=True)\n    queue.Queue().get()\n",
    "swallows": "import time\ndef main():\n    print('ready', flush=True)\n    try: time.sleep(300)\n"
    "    except KeyboardInterrupt: pass\n    time.sleep(300)\n",
    "translates": "import time\ndef main():\n    print('ready', flush=True)\n    try: time.sleep(300)\n"
    "    except KeyboardInterrupt: raise RuntimeError from None\n",
    "cleans up": "import time\ndef main():\n    print('ready', flush=True)\n    try: time.sleep(300)\n"
    "    finally:\n        time.sleep(2)\n        print('clean', flush=True)\n",
    "computes": "import mindspore as ms\nms.set_context(mode=ms.GRAPH_MODE)\ndef main():\n"
    "    net, x = ms.nn.Dense(4, 4), ms.ops.zeros((1, 4))\n    net(x)\n"
    "    print('ready', flush=True)\n    while True: net(x)\n",
}


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("kind", STARTS)
def test_a_signal_ends_a_command_with_its_code(kind, number, code):
    """MindSpore's own handler would make a SIGTERM of SIGINT, once a graph has run."""
    program = (
        "from src.terminal.command import run_command\nfrom src.terminal.keyboard_interrupt import keep_sigint\n"
        f"keep_sigint()  # as root scripts do\n{STARTS[kind]}run_command(main)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    process.send_signal(number)
    output = b"clean\n" if kind == "cleans up" else b""
    assert process.communicate(timeout=60) == (output, b"interrupted\n") and process.returncode == code


def test_a_launch_script_that_is_still_importing_ends_quietly():
    process = subprocess.Popen(
        [sys.executable, "scripts/launch.py", "train.py", "script.sh"], cwd=REPOSITORY, stderr=subprocess.PIPE
    )
    while b"yaml" not in Path(f"/proc/{process.pid}/maps").read_bytes():  # the first extension module of those packages
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert errors in (b"interrupted\n", b"SIGINT: nothing was started\n") and process.returncode == 130


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
