"""Where random decisions come from: each is a function of what it decides, never of the worker or the time it runs.

A stream is keyed by its purpose, the seed, and what is decided. The purpose comes first because NumPy takes [a, b] and
[a, b, 0] for the same key.
"""

import numpy as np

ORDER, AUGMENTATION, ERASING, MIXING = 1, 2, 3, 4


def order_stream(seed: int, epoch: int) -> np.random.Generator:
    """Decides the order of the samples in an epoch."""
    return np.random.default_rng([ORDER, seed, epoch])


def augmentation_stream(seed: int, epoch: int, index: int, copy: int) -> np.random.Generator:
    """Decides what happens to the `copy`-th repetition (from 0) of sample `index` in an epoch, before it is mixed."""
    return np.random.default_rng([AUGMENTATION, seed, epoch, index, copy])


def erasing_stream(seed: int, epoch: int, index: int, copy: int) -> np.random.Generator:
    """Decides what is erased from the `copy`-th repetition (from 0) of sample `index` in an epoch."""
    return np.random.default_rng([ERASING, seed, epoch, index, copy])


def mixing_stream(seed: int, step: int) -> np.random.Generator:
    """Decides how the global batch of an optimizer step, counted from 0 over the whole run, is mixed."""
    return np.random.default_rng([MIXING, seed, step])
