"""Batches on the device before they are asked for: the next one is copied there while a step runs.

What data sinking is for, without a queue in the graph: the batches are those of the loader in its order, so that a run
that goes on sees what it would have seen, and the graph is the same with it and without.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mindspore import Tensor

from ..data.parallel_map import ParallelMap
from ..devices.device import current_device

Prepared = tuple[tuple[Tensor, ...], Any]
"""The Tensors of a batch, and the batch."""


def batches_ahead(wanted: int | None) -> int:
    """How many batches are copied ahead: `data.prefetch_to_device`, by default one, and none on CPU, which has no other
    memory to copy to."""
    if wanted is not None:
        return wanted
    return 0 if current_device() == "CPU" else 1


@contextmanager
def on_device(
    batches: Iterator[Any],
    count: int,
    ahead: int,
    arrays_of: Callable[[Any], tuple[np.ndarray, ...]] = lambda batch: batch,
) -> Iterator[Iterator[Prepared]]:
    """Iterates over the Tensors of each batch, together with the batch; the copying ends with the context.

    With none ahead the Tensors are the memory of the batch, which is valid until the next one is asked for. Otherwise
    they are copies, and of the batch only what does not belong to its loader is valid.

    Args:
        batches: of a loader; what it raises is raised at the batch's turn.
        count: of the batches that are asked for at most, so that none is read in vain.
        ahead: batches that a thread copies ahead.
        arrays_of: a batch -> what the network takes of it.
    """
    if ahead == 0:
        yield ((tuple(map(Tensor.from_numpy, arrays_of(batch))), batch) for batch in batches)
        return

    def prepare(_: int) -> Prepared:
        batch = next(batches)
        return tuple(map(_copy, arrays_of(batch))), batch

    prepared = ParallelMap(prepare, range(count), workers=1, ahead=1 + ahead)
    try:
        yield prepared
    finally:
        prepared.close()


def _copy(array: np.ndarray) -> Tensor:
    """On the device, when it returns."""
    device = current_device()
    return Tensor(array) if device == "CPU" else Tensor.from_numpy(array).move_to(device)
