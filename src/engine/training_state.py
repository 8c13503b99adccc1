"""What a run is made of between two steps: the weights, and what training needs besides to go on."""

import numpy as np
from mindspore import Parameter, Tensor, nn

from ..devices.ranks import Exchange
from ..optim.optimizer import AdamW
from ..weights.checkpoint import Checkpoint
from ..weights.loading import load_state, load_weights
from .agreement import check_same_weights
from .train_step import TrainStep

PREFIXES = ("adam_m", "adam_v")
"""Of the names of AdamW's moments."""

STATISTICS = ("moving_mean", "moving_variance")
"""Ends of the names of what a batch norm has seen."""


class TrainingState:
    """The parameters of a network and of its training step, on this rank among others.

    A checkpoint holds them all, also where each rank keeps the optimizer's moments for a share of the weights only.

    Args:
        net: the network.
        step: its training step.
        exchange: with the other ranks.
        is_sharded: each rank keeps a share of AdamW's moments.
        is_synchronized: batch norms have the same statistics on all ranks.
    """

    def __init__(
        self, net: nn.Cell, step: TrainStep, exchange: Exchange, is_sharded: bool, is_synchronized: bool
    ) -> None:
        self.net, self._step, self._exchange = net, step, exchange
        self._is_sharded, self._is_synchronized = is_sharded, is_synchronized

    def weights(self) -> list[Parameter]:
        return list(self.net.get_parameters())

    def to_save(self) -> list[Parameter]:
        """Everything but the weights; to be called by all ranks at once, because moments are gathered for rank 0."""
        state = self._state(with_moments=not self._is_sharded)
        return state + gather_moments(self._step.optimizer, self._exchange) if self._is_sharded else state

    def load(self, checkpoint: Checkpoint) -> None:
        """Fills everything from a checkpoint of this run.

        Raises:
            UserError: it is of another network or run, or holds weights only.
        """
        load_weights(self.net, checkpoint)
        if self._is_sharded:
            drop_other_moments(checkpoint, self._step.optimizer)
        load_state(self._state(), checkpoint)

    def agree(self) -> None:
        """Makes everything what it is on rank 0."""
        self._exchange.agree([*self.weights(), *self._state(with_moments=not self._is_sharded)])

    def agree_on_statistics(self) -> None:
        """Makes the statistics of batch norms what they are on rank 0: each rank saw other images."""
        ema = self._step.ema
        state = [*self.weights(), *(ema.averages if ema else ())]
        if statistics := [p for p in state if p.name.endswith(STATISTICS)]:
            self._exchange.agree(statistics)

    def check_same(self, step: int) -> None:
        """Raises UserError, on every rank, unless the weights are the same on all, to the bit."""
        of_the_rank = () if self._is_synchronized else STATISTICS
        check_same_weights(self._exchange, [p for p in self.weights() if not p.name.endswith(of_the_rank)], step)

    def find_not_finite(self) -> str | None:
        """What of all that would be saved is not finite on any rank, in words; None where everything is."""
        names = [p.name for p in (*self.weights(), *self._state()) if not np.isfinite(p.asnumpy()).all()]
        if not self._exchange.gather([len(names)]).any():
            return None
        return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else (names or ["another rank's state"])[0]

    def _state(self, with_moments: bool = True) -> list[Parameter]:
        """What training needs besides the weights. Sums of gradients are empty after a step, and what the losses have
        besides the network stays as it is."""
        left_out = {p.name for p in (*self.weights(), *self._step.losses.get_parameters())}
        if not with_moments:
            optimizer = self._step.optimizer
            left_out |= {p.name for p in (*optimizer.moment1, *optimizer.moment2)}
        return [p for p in self._step.get_parameters() if p.name not in left_out and "accumulated" not in p.name]


def gather_moments(optimizer: AdamW, exchange: Exchange) -> list[Parameter]:
    """All moments, from the ranks that keep them; to be called by all ranks at once. Empty but on rank 0."""
    own = {moment.name: moment for moment in (*optimizer.moment1, *optimizer.moment2)}
    gathered = []
    for parameter, owner in zip(optimizer.parameters, optimizer.owners, strict=True):
        for prefix in PREFIXES:
            name = f"{prefix}.{parameter.name}"
            value = own[name].asnumpy() if name in own else np.zeros(parameter.shape, np.float32)
            value = exchange.send(value, owner)
            if exchange.ranks.is_first:
                gathered.append(Parameter(Tensor(value), name=name))
    return gathered


def drop_other_moments(checkpoint: Checkpoint, optimizer: AdamW) -> None:
    """Leaves in `checkpoint` the moments that this rank keeps, and everything that is no moment."""
    own = {moment.name for moment in (*optimizer.moment1, *optimizer.moment2)}
    all_names = {f"{prefix}.{parameter.name}" for prefix in PREFIXES for parameter in optimizer.parameters}
    for name in all_names - own:
        checkpoint.state.pop(name, None)
