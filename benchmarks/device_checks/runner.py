"""Runs checks, each in a process of its own that is started anew behind a part that ended it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import CHECKS
from .check import FAIL, NOT_APPLICABLE, PASS, REFUSED, STARTS, Check, module_environment

START = 120.0
"""Seconds that a process has to begin its first part."""

RESTARTS = 20
"""Of a check; what is left then is not run."""


@dataclass(frozen=True)
class PartResult:
    """What came out of a part.

    Attributes:
        name: of the part.
        state: PASS, FAIL, REFUSED or NOT APPLICABLE.
        seconds: it took.
        difference, bound: see `Measurement`.
        note: what a reader should know; the device's message where it refused.
        facts: numbers.
    """

    name: str
    state: str
    seconds: float
    difference: float | None = None
    bound: float | None = None
    note: str = ""
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckResult:
    """A row of the table; see `Check`."""

    name: str
    compares: str
    parts: list[PartResult]
    seconds: float

    @property
    def state(self) -> str:
        """That of the worst part; NOT APPLICABLE where no part is anything else."""
        found = {part.state for part in self.parts}
        return next((state for state in (FAIL, REFUSED, PASS) if state in found), NOT_APPLICABLE)

    @property
    def has_started(self) -> bool:
        """Whether the device computed anything."""
        return self.parts[:1] != [] and self.parts[0].name != STARTS

    @property
    def nearest(self) -> PartResult | None:
        """The part that is nearest to its bound, or furthest beyond."""
        measured = [part for part in self.parts if part.difference is not None]
        return max(measured, key=lambda p: p.difference / p.bound if p.bound else p.difference * 1e9, default=None)


def run_check(name: str, device: str, quick: bool, tell: Callable[[str], None]) -> CheckResult:
    """Runs a check of `CHECKS`.

    Args:
        name: of the check.
        device: 'Ascend', 'GPU' or 'CPU'.
        quick: leave out what takes long.
        tell: gets the name of each part that begins.
    """
    check, since = CHECKS[name], time.monotonic()
    results: list[PartResult] = []
    for _ in range(RESTARTS):
        done = _run_process(check, name, device, quick, results, tell)
        if done:
            break
    else:
        results.append(PartResult("the rest", FAIL, 0.0, note=f"not run: {RESTARTS} processes ended before"))
    return CheckResult(name, check.compares, results, time.monotonic() - since)


def _run_process(
    check: Check, name: str, device: str, quick: bool, results: list[PartResult], tell: Callable[[str], None]
) -> bool:
    """Runs the parts behind `results`, adds what came out, and returns whether nothing is left."""
    with tempfile.TemporaryDirectory(prefix="check-device-") as folder:
        file = Path(folder, "parts.jsonl")
        file.touch()
        command = [sys.executable, "-m", "benchmarks.device_checks.child", name, device]
        command += ["quick" if quick else "whole", str(len(results)), str(file)]
        with open(Path(folder, "output"), "w+b") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=module_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                begun, is_done, reason = _follow(process, file, check.seconds, results, tell)
            finally:
                _end(process)
            if is_done:
                return True
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:200]}" if lines else ""
        results.append(PartResult(begun or STARTS, FAIL, 0.0, note=reason + said))
        return begun in (None, STARTS)  # a process that cannot start does not start the next time either


def _follow(
    process: subprocess.Popen, file: Path, seconds: float, results: list[PartResult], tell: Callable[[str], None]
) -> tuple[str | None, bool, str]:
    """Reads what the process tells until it ends.

    Returns:
        the part that had begun and not ended, whether all is done, and what ended the process.
    """
    begun, since, limit = None, time.monotonic(), START
    with open(file, encoding="utf-8") as lines:
        while True:
            has_ended = process.poll() is not None  # before what is read last
            for entry in _entries(lines):
                since = time.monotonic()
                if "begins" in entry:
                    begun, limit = entry["begins"], seconds if entry["begins"] else START
                    tell(begun or "")
                elif "part" in entry:
                    results.append(PartResult(name=entry.pop("part"), **entry))
                    begun, limit = None, START
                elif "done" in entry:
                    return None, True, ""
            if has_ended:
                return begun, False, _describe_end(process.returncode)
            if time.monotonic() - since > limit:
                return begun, False, f"gave nothing within {limit:.0f} s"
            time.sleep(0.05)


def _entries(lines: Any) -> Iterator[dict[str, Any]]:
    while line := lines.readline():
        while not line.endswith("\n"):  # it is still being written
            time.sleep(0.01)
            line += lines.readline()
        yield json.loads(line)


def _describe_end(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with {code}"


def _end(process: subprocess.Popen) -> None:
    """Ends the process with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def choose(names: Sequence[str], quick: bool) -> list[str]:
    """The checks to run: those named, or those of the quick run, or all."""
    return list(names) or [name for name, check in CHECKS.items() if check.is_quick or not quick]
