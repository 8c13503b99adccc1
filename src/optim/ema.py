"""Exponential moving average of a network's weights, as the authors evaluate it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore import dtype as mstype

PREFIX = "ema"

_move = ops.MultitypeFuncGraph("move_average")


@_move.register("Tensor", "Tensor", "Tensor")
def _move_average(share, average, value):
    return ops.assign_add(average, share * (value - average))


class Ema(nn.Cell):
    """average = decay * average + (1 - decay) * weight, after every update of the weights.

    It covers everything that training changes: trainable parameters and batch norm's running statistics. With a
    decay of 0.99996 the average holds mostly initial values for the first tens of thousands of steps; `warmup` lets the
    decay of update t be at most (1 + t) / (10 + t), so that short runs can use it.

    Source: timm's ModelEma (without warm-up).

    Args:
        net: the network.
        decay: in [0, 1).
        warmup: smaller decays at the beginning.
    """

    def __init__(self, net: nn.Cell, decay: float, warmup: bool = False):
        super().__init__(auto_prefix=False)
        self.decay, self.warmup = decay, warmup
        tracked = [
            p for p in net.get_parameters() if p.requires_grad or p.name.endswith(("moving_mean", "moving_variance"))
        ]
        self.weights = ParameterTuple(tracked)
        self.averages = self.weights.clone(PREFIX, "same")
        for average in self.averages:
            average.requires_grad = False
        self.updates = Parameter(Tensor(0, mstype.int32), name=f"{PREFIX}_updates", requires_grad=False)
        self.map = ops.HyperMap()

    def construct(self):
        """Moves the averages towards the weights."""
        updates = self.updates.astype(mstype.float32) + 1.0
        share = ops.ones_like(updates) * (1.0 - self.decay)
        if self.warmup:
            share = ops.maximum(share, 1.0 - (1.0 + updates) / (10.0 + updates))
        done = self.map(ops.partial(_move, share), self.averages, self.weights)
        return ops.depend(done, ops.assign_add(self.updates, 1))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network has the averages as its weights, and gets its own back, to the bit, in the end."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        """Swaps by `assign`, not `set_data`: after that a compiled step with a branch (accumulation, loss scale) would
        go on with a tensor of its own for parameters that only the branch uses, and `average` would stand still."""
        for weight, average in zip(self.weights, self.averages, strict=True):
            value = weight.asnumpy().copy()
            ops.assign(weight, Tensor(average.asnumpy().copy()))
            ops.assign(average, Tensor(value))
