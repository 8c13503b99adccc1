"""Holds the detectors and their parts against reference cases, for benchmarks/parity.py.

Everything goes through the project's public functions.
"""

from collections.abc import Iterator

from src.errors import UserError

from . import data, masks, networks, parts, two_stage
from .case import Case, Row

CHECKS = parts.CHECKS | networks.CHECKS | two_stage.CHECKS | masks.CHECKS | data.CHECKS


def check(case: Case) -> Iterator[Row]:
    """Compares every array of a case.

    Raises:
        UserError: a kind that is not known.
    """
    if case.meta.get("kind") not in CHECKS:
        raise UserError(f"kind: expected one of {', '.join(CHECKS)}, got {case.meta.get('kind')!r}")
    yield from CHECKS[case.meta["kind"]](case)
