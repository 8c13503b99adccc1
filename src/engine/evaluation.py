"""Scores over a whole split."""

from collections.abc import Callable

from mindspore import nn

from ..devices.ranks import Exchange
from ..tasks.scores import Scores
from ..tasks.task import BatchesToJudge, Scorer
from ..terminal.progress import Progress
from .prefetch import on_device


def evaluate(
    net: nn.Cell,
    batches: BatchesToJudge,
    scorer: Scorer,
    exchange: Exchange,
    progress: Progress,
    limit_batches: int | None = None,
    ahead: int = 0,
    before_batch: Callable[[int], None] = lambda number: None,
) -> Scores:
    """Runs `net` in evaluation mode over all batches and leaves it there.

    Args:
        net: takes the inputs of a batch.
        batches: what it is judged on.
        scorer: counts; a new one.
        exchange: with the other ranks.
        progress: told about every batch.
        limit_batches: stop after so many.
        ahead: batches that are copied to the device ahead.
        before_batch: called with the number of each batch, from 1, before the network runs on it.

    Raises:
        NotFiniteError: the network gives infinities or NaN; says for how many images, and names the first.
    """
    net.set_train(False)
    count = min(len(batches), limit_batches or len(batches))
    with on_device(iter(batches), count, ahead, lambda batch: batch.inputs) as prepared:
        for number, (inputs, batch) in enumerate(prepared, start=1):
            before_batch(number)
            outputs = net(*inputs)
            as_arrays = tuple(x.asnumpy() for x in outputs) if isinstance(outputs, tuple) else outputs.asnumpy()
            scorer.add(as_arrays, batch.truth, batch.num_valid)
            progress.advance(batch.num_valid)
            if number == count:
                break
    return scorer.scores(exchange)
