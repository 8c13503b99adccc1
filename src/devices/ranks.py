"""Several devices as one: which rank this process is, sums and averages over ranks, the same start everywhere.

MindSpore's launcher (`msrun`) starts one process a device and tells each its place in the environment. Everything here
works with one process too, and then does nothing.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops

from ..errors import TemporaryError

BACKENDS = {"Ascend": "hccl", "GPU": "nccl", "CPU": "mccl"}


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's folder and tells how it goes."""
        return self.rank == 0


def serve_if_scheduler() -> None:
    """msrun starts one process more, with the same command, through which the others find each other: it stays here
    until they are done, and ends."""
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        ms.communication.init("mccl")
        sys.exit(0)


def start_distribution(device: str) -> Ranks:
    """Joins the other processes where msrun started this one; to be called after the device is set up, before a network
    is built.

    Raises:
        TemporaryError: the others cannot be reached.
    """
    if os.environ.get("MS_ROLE") != "MS_WORKER" or int(os.environ.get("MS_WORKER_NUM", "1")) == 1:
        return Ranks()
    try:
        ms.communication.init(BACKENDS[device])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise TemporaryError(
            f"the {os.environ['MS_WORKER_NUM']} processes of this run did not all come: {reason}"
        ) from error
    return Ranks(ms.communication.get_rank(), ms.communication.get_group_size())


_average = ops.MultitypeFuncGraph("average_over_ranks")


@_average.register("Function", "Number", "Tensor")
def _average_gradient(all_reduce, count, gradient):
    return all_reduce(gradient) / count


class AverageOverRanks(nn.Cell):
    """Gradients of each rank -> their average over all of them. Ranks have equal shares of a batch.

    Args:
        count: number of ranks.
        in_order: one gradient after the other, for ranks whose graphs differ and would choose orders of their own.
    """

    def __init__(self, count: int, in_order: bool = False):
        super().__init__(auto_prefix=False)
        self.count, self.in_order = count, in_order
        self.all_reduce = ops.AllReduce()
        self.map = ops.HyperMap()

    def construct(self, gradients):
        if not self.in_order:
            return self.map(ops.partial(_average, self.all_reduce, self.count), gradients)
        averages = ()
        for gradient in gradients:
            if len(averages) > 0:
                gradient = ops.depend(gradient, averages[-1])
            averages = averages + (self.all_reduce(gradient) / self.count,)
        return averages


class _Broadcast(nn.Cell):
    def __init__(self, rank: int):
        super().__init__()
        self.broadcast = ops.Broadcast(rank)

    def construct(self, values):
        return self.broadcast((values,))[0]


class _Gather(nn.Cell):
    def __init__(self):
        super().__init__()
        self.all_gather = ops.AllGather()

    def construct(self, values):
        return self.all_gather(values)


class Exchange:
    """What ranks tell each other outside of the training step. With one rank nothing is sent.

    Args:
        ranks: this one and how many there are.
    """

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        if ranks.count > 1:
            self._gather = _Gather()
            self._broadcasts = [_Broadcast(rank) for rank in range(ranks.count)]

    def gather(self, values: Sequence[float]) -> np.ndarray:
        """Everybody's `values`, float64 of shape (ranks, n), to the bit.

        They travel as the two float32 that have their bits, because not every device can send float64.
        """
        own = np.asarray(values, np.float64)
        if self.ranks.count == 1:
            return own[None]
        return self._gather(ms.Tensor(own.view(np.float32))).asnumpy().view(np.float64).reshape(self.ranks.count, -1)

    def union(self, indices: Iterable[int]) -> set[int]:
        """Everybody's `indices`, which are not negative."""
        own = list(indices)
        length = int(self.gather([len(own)]).max())
        if length == 0:
            return set()
        return {int(index) for index in self.gather(own + [-1] * (length - len(own))).flat if index >= 0}

    def rows(self, own: np.ndarray) -> np.ndarray:
        """Everybody's rows, float64 (n, k), one rank's behind the other's; each rank has as many as it has."""
        counts = self.gather([len(own)])[:, 0].astype(int)
        padded = np.zeros((max(counts), own.shape[1]))
        padded[: len(own)] = own
        told = self.gather(padded.reshape(-1)) if padded.size else np.zeros((len(counts), 0))
        parts = told.reshape(len(counts), *padded.shape)
        return np.concatenate([part[:count] for part, count in zip(parts, counts, strict=True)])

    def byte_rows(self, own: Sequence[bytes]) -> list[bytes]:
        """Everybody's rows of bytes, each as long as it is, one rank's behind the other's.

        They travel as the floats that have their bits.
        """
        if self.ranks.count == 1:
            return list(own)
        lengths = self.rows(np.array([len(row) for row in own], np.float64).reshape(-1, 1))[:, 0].astype(int)
        joined = b"".join(own)
        totals = self.gather([len(joined)])[:, 0].astype(int)
        padded = np.frombuffer(joined.ljust(-(-int(totals.max()) // 8) * 8, b"\0"), np.float64)
        told = self.gather(padded) if padded.size else np.zeros((len(totals), 0))
        everything = b"".join(part.tobytes()[:total] for part, total in zip(told, totals, strict=True))
        ends = np.cumsum(lengths).tolist()
        return [everything[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]

    def send(self, values: np.ndarray, rank: int) -> np.ndarray:
        """The float32 array of `rank`; those of the others give the shape."""
        if self.ranks.count == 1:
            return values
        return self._broadcasts[rank](ms.Tensor(values.reshape(-1))).asnumpy().reshape(values.shape)

    def agree(self, parameters: Sequence[Parameter]) -> None:
        """Sets `parameters` everywhere to what they are on rank 0. (MindSpore does not do it by itself.)"""
        if self.ranks.count == 1:
            return
        for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
            alike = [parameter for parameter in parameters if parameter.dtype == dtype]
            values = [parameter.asnumpy() for parameter in alike]
            # integers travel as the floats that have their bits, because not every device can send them
            flat = np.concatenate([value.reshape(-1) for value in values]).view(np.float32)
            sent = self.send(flat, 0).view(values[0].dtype)
            for parameter, value in zip(alike, np.split(sent, np.cumsum([v.size for v in values])[:-1]), strict=True):
                ops.assign(parameter, ms.Tensor(value.reshape(parameter.shape)))
