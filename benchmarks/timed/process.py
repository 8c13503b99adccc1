"""Processes that run steps when they are asked to, and stand still otherwise."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import UserError

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent


@dataclass(frozen=True)
class Round:
    """Some steps of one process.

    Attributes:
        times: seconds of each step.
        product_rate: multiply-adds a second of a matrix product by the same library.
        peak_memory: most resident memory so far, in bytes.
    """

    times: list[float]
    product_rate: float
    peak_memory: int


class TimedProcess:
    """A process that is stopped (SIGSTOP) while it is not asked for steps, so that idle threads of it wait for nothing.

    Attributes:
        facts: what it says about itself.
        pid: its number.

    Args:
        name: of the module in this folder that it runs.
        task: what that needs to know, for JSON.
        python: interpreter; this one when None.

    Raises:
        UserError: it cannot start; the end of what it printed is in the message.
    """

    def __init__(self, name: str, task: Mapping[str, Any], python: Path | None = None) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [str(python or sys.executable), str(FOLDER / f"{name}.py"), json.dumps(dict(task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Python's own view of the environment: importing MindSpore sets OMP_NUM_THREADS behind its back
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.pid = self._process.pid
        self.facts: dict[str, Any] = self._answer()

    def run(self, steps: int) -> Round:
        """Runs so many steps.

        Raises:
            UserError: the process has ended.
        """
        self._process.send_signal(signal.SIGCONT)
        try:
            print(steps, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it has ended, which the missing answer tells
        return Round(**self._answer())

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        while line and not line.startswith("{"):  # printed while libraries were imported
            line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"the process {self._name} ended with {code}: {' '.join(last) or 'no word'}")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def __enter__(self) -> "TimedProcess":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._errors):
            with suppress(OSError):
                file.close()
