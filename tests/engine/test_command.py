"""The frame of the root scripts."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_reader_that_has_enough_ends_the_command_quietly():
    code = (
        "from src.engine.command import run_command\n"
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
