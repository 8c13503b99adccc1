"""Which images an epoch of training takes, in which order, and which of them a device gets.

Repeated augmentation (Hoffer et al., arXiv 1901.09335) follows timm's RASampler: every image of the shuffled data set
is repeated in a row, and the sequence is cut to about the length of the data set, so that an epoch of three repetitions
sees about a third of the images.
"""

import numpy as np

from ..errors import UserError
from .random_streams import order_stream

REPEATED_LENGTH_UNIT = 256


def epoch_length(num_images: int, repeats: int) -> int:
    """Entries of an epoch's sequence: with repetitions a multiple of 256 (RASampler's rule) where there are so many."""
    if repeats == 1 or num_images < REPEATED_LENGTH_UNIT:
        return num_images
    return num_images // REPEATED_LENGTH_UNIT * REPEATED_LENGTH_UNIT


def epoch_order(
    num_images: int, seed: int, epoch: int, repeats: int, shares: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The sequence of an epoch.

    Args:
        num_images: of the data set.
        seed, epoch: decide it.
        repeats: of each image, in a row.
        shares: (num_images,) probability of each image, which is then drawn with replacement; None for every image
            once.

    Returns:
        (n,) int64 index in the data set, and (n,) int64 how often the image was there before; n is `epoch_length`.
    """
    length = epoch_length(num_images, repeats)
    stream, count = order_stream(seed, epoch), -(-length // repeats)
    if shares is None:
        indices = np.repeat(stream.permutation(num_images)[:count], repeats)[:length]
        return indices, np.arange(length) % repeats
    indices = np.repeat(stream.choice(num_images, count, p=shares), repeats)[:length]
    return indices, _occurrences(indices)


def balanced_shares(labels: np.ndarray, power: float) -> np.ndarray:
    """Probability of each image, (n,) float64, so that a class of m images has a share of m^(1 - `power`).

    Args:
        labels: (n,) of the images, whole numbers from 0.
        power: 0 leaves the shares of classes as they are, 1 makes them equal.
    """
    shares = np.bincount(labels)[labels] ** -power
    return shares / shares.sum()


def _occurrences(values: np.ndarray) -> np.ndarray:
    """How often each of (n,) stands before, (n,) int64."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    found = np.empty(len(values), np.int64)
    found[order] = np.arange(len(values)) - np.repeat(first, counts)
    return found


def positions(part: int, num_parts: int, batch_size: int, paired: bool) -> np.ndarray:
    """The positions in the global batch, of B = `num_parts` * `batch_size` images, that one part of it takes.

    Part p takes the positions i < B / 2 with i % `num_parts` == p, followed by their mirror images B - 1 - i in reverse
    order. So the partner of position j in a part is at `batch_size` - 1 - j, as if the part were a batch of its own.
    (With an odd `batch_size` the middle one has no partner in its part.) The masks of dropout rely on the same rule,
    see `src.layers.random_mask`.

    Args:
        part: 0 .. `num_parts` - 1.
        num_parts: devices * micro-batches that are accumulated.
        batch_size: images of a part.
        paired: whether positions i and B - 1 - i must be in the same part. Only then an odd `batch_size` is refused.

    Returns:
        (batch_size,) int64.

    Raises:
        UserError: several parts of an odd number of images that are to be mixed.
    """
    if paired and batch_size % 2 and num_parts > 1:
        raise UserError(
            f"batch_size must be even to mix images (mixup, cutmix) over {num_parts} parts of a batch "
            f"(devices * accumulated steps), got {batch_size}"
        )
    place = np.arange(batch_size)
    return num_parts * place + np.where(2 * place < batch_size, part, num_parts - 1 - part)
