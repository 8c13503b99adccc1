"""Learning rates of the recipes, evaluated on the device."""

import math
from collections.abc import Sequence

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


class WarmupSteps(nn.learning_rate_schedule.LearningRateSchedule):
    """Linear warm-up over some steps from a thousandth of the rate, then a factor at the end of some epochs.

    Source: mmdetection's schedule_1x.py (LinearLR and MultiStepLR of mmengine 0.10).

    Args:
        lr: learning rate after warm-up.
        steps_per_epoch: optimizer steps of an epoch.
        decay_epochs: rising.
        decay_factor: at the end of each.
        warmup_steps: 0 for none.
    """

    START = 0.001

    def __init__(
        self,
        lr: float,
        steps_per_epoch: int,
        decay_epochs: Sequence[int],
        decay_factor: float = 0.1,
        warmup_steps: int = 0,
    ):
        super().__init__()
        self.lr, self.decay_factor, self.warmup_steps = lr, decay_factor, warmup_steps
        self.decay_steps = tuple(epoch * steps_per_epoch for epoch in decay_epochs)

    def construct(self, global_step):
        """Step number, int32 of shape (1,) -> learning rate, float32 of shape (1,)."""
        step = global_step.astype(mstype.float32)
        rate = ops.ones_like(step) * self.lr
        for decay_step in self.decay_steps:
            rate = ops.select(step >= decay_step, rate * self.decay_factor, rate)
        if self.warmup_steps == 0:
            return rate
        share = ops.minimum(step / max(self.warmup_steps - 1, 1), ops.ones_like(step))
        return rate * (self.START + (1.0 - self.START) * share)

    def at(self, step: int) -> float:
        """The same on the host, for the log."""
        rate = self.lr * self.decay_factor ** sum(step >= decay_step for decay_step in self.decay_steps)
        if self.warmup_steps == 0:
            return rate
        return rate * (self.START + (1.0 - self.START) * min(step / max(self.warmup_steps - 1, 1), 1.0))
