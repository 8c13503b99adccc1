"""Learning rate of the authors' recipes, evaluated on the device."""

import math

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype


class WarmupCosine(nn.learning_rate_schedule.LearningRateSchedule):
    """Linear warm-up, then a cosine that is not shifted by it, then a constant; constant within an epoch.

    In epoch t, counted from 0: warmup_lr + t (lr - warmup_lr) / warmup_epochs while t < warmup_epochs; afterwards
    min_lr + (lr - min_lr) (1 + cos(pi t / epochs)) / 2; and min_lr from t = epochs on (cooldown).

    Source: timm's CosineLRScheduler as tnt_pytorch/train.py calls it.

    Args:
        lr: peak learning rate.
        steps_per_epoch: optimizer steps of an epoch.
        epochs: epochs of warm-up and cosine together.
        warmup_epochs: epochs of warm-up.
        warmup_lr: learning rate of the first warm-up epoch.
        min_lr: learning rate at the end.
    """

    def __init__(
        self,
        lr: float,
        steps_per_epoch: int,
        epochs: int,
        warmup_epochs: int = 0,
        warmup_lr: float = 1e-6,
        min_lr: float = 1e-5,
    ):
        super().__init__()
        self.lr, self.min_lr, self.warmup_lr = lr, min_lr, warmup_lr
        self.steps_per_epoch, self.epochs, self.warmup_epochs = steps_per_epoch, epochs, warmup_epochs

    def construct(self, global_step):
        """Step number, int32 of shape (1,) -> learning rate, float32 of shape (1,)."""
        epoch = ops.floor_div(global_step, self.steps_per_epoch).astype(mstype.float32)
        progress = ops.minimum(epoch / self.epochs, ops.ones_like(epoch))
        cosine = self.min_lr + 0.5 * (self.lr - self.min_lr) * (1.0 + ops.cos(math.pi * progress))
        warmup = self.warmup_lr + epoch * ((self.lr - self.warmup_lr) / max(self.warmup_epochs, 1))
        is_warmup = ops.less(epoch, Tensor(self.warmup_epochs, mstype.float32))
        return ops.select(is_warmup, warmup, cosine)

    def at(self, step: int) -> float:
        """The same on the host, for the log."""
        epoch = step // self.steps_per_epoch
        if epoch < self.warmup_epochs:
            return self.warmup_lr + epoch * (self.lr - self.warmup_lr) / self.warmup_epochs
        progress = min(epoch / self.epochs, 1.0)
        return self.min_lr + 0.5 * (self.lr - self.min_lr) * (1.0 + math.cos(math.pi * progress))
