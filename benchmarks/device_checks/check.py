"""What a check of a device is: parts that each measure a difference and say what it may be."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PASS, FAIL, REFUSED, NOT_APPLICABLE = "PASS", "FAIL", "REFUSED", "NOT APPLICABLE"

STARTS = "start of the device"
"""Name of the part that stands for all where the device computes nothing."""


class NotApplicable(Exception):
    """The part says nothing about this device, and why."""


@dataclass(frozen=True)
class Measurement:
    """What a part found.

    Attributes:
        difference: from what it should be; None where only the facts count.
        bound: what it may be.
        note: what a reader should know.
        facts: numbers for the report, with their units in the names.
    """

    difference: float | None = None
    bound: float | None = None
    note: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.difference is None or self.difference <= self.bound  # false for NaN


Part = Callable[[], Measurement]
"""Runs on the device that is set up. What MindSpore raises counts as refused, AssertionError as failed."""


@dataclass(frozen=True)
class Check:
    """A row of the table.

    Attributes:
        compares: what is held against what.
        parts: device and whether it is the quick run -> name and part, each run on its own.
        seconds: after which a part is given up.
        is_quick: whether the quick run has it.
    """

    compares: str
    parts: Callable[[str, bool], dict[str, Part]]
    seconds: int = 300
    is_quick: bool = True


def largest_difference(found: Any, expected: Any) -> float:
    """The largest difference of two arrays, relative to the largest expected value; infinite for another shape, and
    where one is not finite and the other is."""
    found, expected = (np.asarray(x.asnumpy() if hasattr(x, "asnumpy") else x, np.float64) for x in (found, expected))
    if found.shape != expected.shape:
        return np.inf
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        differences = np.where(same, 0.0, np.abs(found - expected))
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return float(np.nan_to_num(differences, nan=np.inf).max(initial=0.0) / (largest or 1.0))


def module_environment() -> dict[str, str]:
    """Variables for a process that runs a module of this repository in whatever folder."""
    folders = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
