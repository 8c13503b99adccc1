"""Whole numbers in the graph."""

from mindspore import dtype as mstype
from mindspore import ops


def whole_numbers(n: int):
    """From 0 on, (n,) int32: a constant. `ops.arange` makes the same, and takes a seventh of a second to compile."""
    return ops.range(0, n, 1).astype(mstype.int32)
