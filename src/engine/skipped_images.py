"""What is told about images that could not be read and were skipped (`data.on_bad_image: skip`)."""

from collections.abc import Callable

from ..devices.ranks import Exchange
from ..tasks.task import BatchesToJudge, BatchesToTrain

NAMED_AT_ONCE = 20


class SkippedImages:
    """Images that some loaders skipped. Each rank names what it met itself; the sum is over all ranks.

    Args:
        loaders: which count them.
        exchange: with the other ranks.
        tell: prints a line.
    """

    def __init__(self, *loaders: BatchesToTrain | BatchesToJudge, exchange: Exchange, tell: Callable[[str], None]):
        self._loaders, self._exchange, self._tell = loaders, exchange, tell
        self._named: set[tuple[int, int]] = set()  # loader, index

    def name(self) -> None:
        """Names those that are new."""
        new = {
            (number, index): reason
            for number, loader in enumerate(self._loaders)
            for index, reason in loader.bad_images.copy().items()  # which a thread may be adding to
            if (number, index) not in self._named
        }
        self._named |= new.keys()
        for reason in list(new.values())[:NAMED_AT_ONCE]:
            self._tell(f"skipped: {reason}")
        if len(new) > NAMED_AT_ONCE:
            self._tell(f"skipped: {len(new) - NAMED_AT_ONCE} more")

    def count(self) -> int:
        """How many there are on all ranks, each counted once; all ranks must ask."""
        return sum(len(self._exchange.union(loader.bad_images)) for loader in self._loaders)
