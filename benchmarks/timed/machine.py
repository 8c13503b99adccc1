"""What figures of time are worth nothing without."""

import os
from pathlib import Path


def machine() -> str:
    """The machine's processor, its cores, and how busy it is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load before the start {os.getloadavg()[0]:.2f}"
