"""Where random decisions come from: each is a function of what it decides, never of the worker or the time it runs.

A stream is keyed by its purpose, the seed, the epoch and, for augmentation, the sample's index in the data set. The
purpose comes first because NumPy takes [a, b] and [a, b, 0] for the same key.
"""

import numpy as np

ORDER, AUGMENTATION = 1, 2


def order_stream(seed: int, epoch: int) -> np.random.Generator:
    """Decides the order of the samples in an epoch."""
    return np.random.default_rng([ORDER, seed, epoch])


def augmentation_stream(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Decides everything that happens to sample `index` in an epoch."""
    return np.random.default_rng([AUGMENTATION, seed, epoch, index])
