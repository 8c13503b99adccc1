"""A batch of evaluation."""

from typing import NamedTuple

import numpy as np


class EvalBatch(NamedTuple):
    """Arrays of one fixed number of rows, of which the first count; the others fill the batch up.

    Attributes:
        inputs: what the network takes.
        truth: what its outputs are judged by.
        num_valid: how many rows count; can be 0.
    """

    inputs: tuple[np.ndarray, ...]
    truth: tuple[np.ndarray, ...]
    num_valid: int
