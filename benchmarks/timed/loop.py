"""The half of a timed process that runs in it. Only Python's own library and NumPy: it runs in other environments too.

The process answers on its standard output, a JSON value a line: first what it is, then to every number N that comes
in, the seconds of N steps. Whatever else is printed there goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE = 2048
"""Of the matrices whose product tells the machine's rate."""


def serve(step: Callable[[], Any], product: Callable[[], Any], **facts: Any) -> None:
    """Runs steps until nothing more is asked for.

    Args:
        step: one step, to its result on the host.
        product: a float32 product of two matrices of `SIDE`, by the library that computes the step.
        facts: about the process.
    """
    step()
    product()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps(facts), file=answers)
    for line in sys.stdin:
        step()  # caches are another process's
        times = [_seconds(step) for _ in range(int(line))]
        rate = SIDE**3 / min(_seconds(product) for _ in range(5))
        print(json.dumps({"times": times, "product_rate": rate, "peak_memory": peak_memory()}), file=answers)


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peak_memory() -> int:
    """Bytes; not `getrusage`, whose maximum a new process takes over from its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
