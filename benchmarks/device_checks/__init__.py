"""Whether the networks compute the same function on a device, for check_device.py.

A check has parts; each measures a difference from what is right, and says what it may be. A check runs in a process of
its own, so that a crash, a hang or a lack of memory is a row of the table and not the end.
"""

from . import files, functions, operators, randomness, ranks, speed, training
from .check import Check

CHECKS: dict[str, Check] = {
    **operators.CHECKS,
    **functions.CHECKS,
    **randomness.CHECKS,
    **training.CHECKS,
    **files.CHECKS,
    **ranks.CHECKS,
    **speed.CHECKS,
}
