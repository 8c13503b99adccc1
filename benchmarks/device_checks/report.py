"""What the checks found: as a table, as JSON, as Markdown. No name of a host or a user and no path is in it."""

import datetime
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mindspore as ms

from src.devices.versions import describe_environment
from src.errors import counted
from src.terminal.text_table import Table

from .check import FAIL, PASS, REFUSED
from .runner import CheckResult

TOOLS = {
    "GPU": ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
    "Ascend": ["npu-smi", "info"],
}
SHOWN = 5
"""Parts that are named in a line."""


def describe_device(device: str) -> dict[str, Any]:
    """Versions, card, driver, memory."""
    found = describe_environment(device)
    found["platform"] = f"{platform.system()} {platform.machine()}"  # a kernel may be named after its host
    found["processor"] = _processor()
    found["device_name"] = (
        ms.hal.get_device_name(0, device) if device != "CPU" and ms.hal.is_available(device) else None
    )
    found["card"] = _ask(TOOLS.get(device))
    found["toolkit"] = _toolkit(device)
    for package in ("onnx", "onnxruntime"):
        found["packages"][package] = _version(package)
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _ask(command: list[str] | None) -> str | None:
    if command is None or shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _toolkit(device: str) -> str | None:
    """Version of CUDA or CANN, read where each says it."""
    if device == "GPU":
        said = _ask([os.path.join(os.environ.get("CUDA_HOME", ""), "bin", "nvcc"), "--version"]) or _ask(
            ["nvcc", "--version"]
        )
        found = re.search(r"release ([\d.]+)", said or "")
        return f"CUDA {found[1]}" if found else None
    if device == "Ascend":
        home = os.environ.get("ASCEND_HOME_PATH", "/usr/local/Ascend/latest")
        try:
            with open(os.path.join(home, "version.cfg"), encoding="utf-8") as text:
                found = re.search(r"([\d.]+(?:RC\d+)?)", text.read())
        except OSError:
            return None
        return f"CANN {found[1]}" if found else None
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table_of(results: Sequence[CheckResult]) -> Table:
    """A row for each check."""
    rows = []
    for result in results:
        nearest = result.nearest
        numbers = ["-", "-"] if nearest is None else [f"{nearest.difference:.1e}", f"{nearest.bound:.0e}"]
        passed = sum(part.state == PASS for part in result.parts)
        rows.append(
            [
                result.name,
                result.compares,
                *numbers,
                f"{result.seconds:.0f}",
                f"{passed}/{len(result.parts)}",
                result.state,
            ]
        )
    header = ["Check", "Compares", "Difference", "Bound", "Seconds", "Parts", "Result"]
    return Table("", header, rows)


def remarks_of(results: Sequence[CheckResult]) -> list[str]:
    """A line for each part that did not pass, or that has something to say; those that say the same share one."""
    found: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for part in result.parts:
            if part.state != PASS or part.note:
                said = f"{part.state}{_numbers(part)}{': ' if part.note else ''}{part.note}"
                found.setdefault((result.name, said), []).append(part.name)
    return [f"{check}, {_listed(parts)}: {said}" for (check, said), parts in found.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _numbers(part: Any) -> str:
    return (
        "" if part.state != FAIL or part.difference is None else f" ({part.difference:.2e}, allowed {part.bound:.0e})"
    )


def summary_of(results: Sequence[CheckResult]) -> str:
    """What it means, in a sentence."""
    states = [part.state for result in results for part in result.parts]
    bad = [f"{states.count(state)} {state}" for state in (FAIL, REFUSED) if state in states]
    found = ", ".join(bad) or "none failed or was refused"
    return f"{counted(len(results), 'check')}, {counted(len(states), 'part')}: {found}"


def exit_code_of(results: Sequence[CheckResult]) -> int:
    """0 where everything that applies passed, else 1."""
    return int(any(part.state in (FAIL, REFUSED) for result in results for part in result.parts))


def to_dict(device: dict[str, Any], results: Sequence[CheckResult], quick: bool) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "quick": quick,
        "environment": device,
        "summary": summary_of(results),
        "checks": [{**asdict(result), "state": result.state} for result in results],
    }


def to_markdown(device: dict[str, Any], results: Sequence[CheckResult]) -> str:
    """The table with what it ran on, to be read by people."""
    packages = ", ".join(f"{name} {number}" for name, number in device["packages"].items() if number)
    facts = {
        "Device": device["device_name"] or device["processor"],
        "Card, driver, memory": device["card"],
        "Toolkit": device["toolkit"],
        "Processor": f"{device['processor']}, {counted(device['cpu_count'], 'core')}",
        "System": f"{device['platform']}, Python {device['python']}",
        "Packages": packages,
        "Revision": device["source_revision"],
    }
    lines = [f"# Device report: {device['device']}", ""]
    lines += [f"- {name}: {' '.join(str(value).split())}" for name, value in facts.items() if value]
    lines += ["", summary_of(results), "", table_of(results).markdown().strip()]
    if remarks := remarks_of(results):
        lines += ["", "## Remarks", "", *(f"- {remark}" for remark in remarks)]
    facts_rows = [
        [result.name, part.name, ", ".join(f"{name} {value:.4g}" for name, value in part.facts.items())]
        for result in results
        for part in result.parts
        if part.facts
    ]
    if facts_rows:
        lines += ["", "## Numbers", "", Table("", ["Check", "Part", "Numbers"], facts_rows).markdown().strip()]
    return "\n".join(lines) + "\n"
