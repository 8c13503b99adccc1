"""Whether something fits into the machine's memory, said before it is tried."""

import os
import resource
from pathlib import Path

from .errors import UserError

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # of a container


def machine_memory() -> int:
    """Bytes that this process could have if nothing else ran: memory and swap, or what it is limited to."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _swap()]
    for path in _LIMITS:
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():  # else there is no limit
            sizes.append(int(text))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min(sizes if limit == resource.RLIM_INFINITY else [*sizes, limit])


def check_fits(num_bytes: float, what: str, advice: str) -> None:
    """Refuses what needs more memory than the machine has, free or not.

    Args:
        num_bytes: that it takes at least.
        what: what it is, for the message.
        advice: what to do instead.

    Raises:
        UserError: it does not fit.
    """
    memory = machine_memory()
    if num_bytes > memory:
        raise UserError(
            f"{what} would take at least {num_bytes / 1e9:,.1f} GB of memory, and this machine has "
            f"{memory / 1e9:,.1f} GB; {advice}"
        )


def _swap() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("SwapTotal:"))
