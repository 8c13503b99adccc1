"""The optimizer's moments when every rank keeps a share of them: a checkpoint holds them all, as without sharding."""

import numpy as np
from mindspore import Parameter, Tensor

from ..devices.ranks import Exchange
from ..optim.optimizer import AdamW
from ..weights.checkpoint import Checkpoint

PREFIXES = ("adam_m", "adam_v")


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
