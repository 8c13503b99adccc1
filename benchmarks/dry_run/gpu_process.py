"""A process that runs a script on MindSpore's GPU backend with CUDA's stand-ins."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.dry_run.kernel_log import MODULES, KernelChoice, read_kernel_choice
from benchmarks.dry_run.stand_ins import StandIns

INFORMATION, ERRORS, NOTHING = "1", "3", "4"
"""Levels of MindSpore's log."""


@dataclass(frozen=True)
class DryRun:
    """What came out.

    Attributes:
        exit_code: of the script; None where its time was over.
        choice: of kernels, as far as it came.
    """

    exit_code: int | None
    choice: KernelChoice


def run_dry(
    cuda: StandIns,
    command: Sequence[str],
    seconds: float | None = None,
    output: IO | None = None,
    variables: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> DryRun:
    """Runs a script of Python with its arguments.

    Args:
        cuda: what stands for CUDA.
        command: the script's file and its arguments.
        seconds: after which it is ended; no limit when None.
        output: where it prints; as this process does when None.
        variables: of its environment, in addition.
        folder: where it runs, in which MindSpore leaves folders of its own; where this process does when None.
    """
    with tempfile.TemporaryDirectory(prefix="gpu-dry-run-") as logs:
        levels = ",".join(f"{module}:{INFORMATION}" for module in MODULES)
        environment = cuda.environment({**os.environ, **(variables or {})}) | {
            "GLOG_v": ERRORS,
            "MS_SUBMODULE_LOG_v": f"{{{levels}}}",
            "GLOG_logtostderr": "0",
            "GLOG_stderrthreshold": NOTHING,  # the script raises what is wrong
            "GLOG_log_dir": logs,
            "GLOG_max_log_size": "2000",  # MB: one file
        }
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            process.kill()
        finally:
            process.wait()  # after Ctrl-C too, which it gets from the terminal
        return DryRun(code, read_kernel_choice(_lines(Path(logs))))


def _lines(logs: Path) -> Iterator[str]:
    for path in sorted(path for path in logs.rglob("*") if path.is_file() and not path.is_symlink()):
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from lines
