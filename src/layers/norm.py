"""Normalisation with PyTorch's constants; MindSpore's own LayerNorm default is epsilon = 1e-7."""

from mindspore import dtype as mstype
from mindspore import nn, ops
from mindspore.communication import GlobalComm, get_group_size


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the last axis, epsilon = 1e-5, (..., dim) -> (..., dim).

    Args:
        dim: size of the last axis.
    """

    def __init__(self, dim: int):
        super().__init__((dim,), epsilon=1e-5)


BATCH_NORM_MODES = ("train", "synchronized", "eval", "frozen")


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of (B, C, H, W), epsilon = 1e-5, running averages that keep 0.9 of the old value.

    Args:
        channels: C.
        mode: 'train' normalises with the batch's statistics in training and tracks them; 'synchronized' does so with
            the statistics over all devices (MindSpore's `nn.SyncBatchNorm` runs on Ascend only); 'eval' always uses the
            running statistics and still trains gain and bias; 'frozen' uses the running statistics and trains nothing.

    Raises:
        ValueError: unknown mode.
    """

    def __init__(self, channels: int, mode: str = "train"):
        if mode not in BATCH_NORM_MODES:
            raise ValueError(f"batch_norm: expected one of {', '.join(BATCH_NORM_MODES)}, got {mode!r}")
        uses_batch = mode in ("train", "synchronized")
        super().__init__(channels, eps=1e-5, momentum=0.9, use_batch_statistics=None if uses_batch else False)
        self.is_synchronized = mode == "synchronized"  # by the same arithmetic on any number of devices
        self.num_devices = get_group_size() if self.is_synchronized and GlobalComm.INITED else 1
        if self.num_devices > 1:
            self.sum_over_devices = ops.AllReduce()
        if mode == "frozen":
            self.gamma.requires_grad = False
            self.beta.requires_grad = False

    def construct(self, x):
        if self.is_synchronized and self.training:
            return self.synchronized(x)
        return super().construct(x)

    def total(self, values):
        return self.sum_over_devices(values) if self.num_devices > 1 else values

    def synchronized(self, x):
        """Mean first, then the squares of what deviates from it: E[x^2] - E[x]^2 would lose digits."""
        per_channel = (1, -1, 1, 1)
        dtype, x = x.dtype, x.astype(mstype.float32)
        count = x.shape[0] * x.shape[2] * x.shape[3] * self.num_devices
        mean = self.total(x.sum((0, 2, 3))) / count
        centered = x - mean.reshape(per_channel)
        variance = self.total(ops.square(centered).sum((0, 2, 3))) / count
        share = self.momentum  # nn.BatchNorm2d turns the 0.9 it is given into the 0.1 of the new value
        new_mean = (1.0 - share) * self.moving_mean + share * ops.stop_gradient(mean)
        unbiased = ops.stop_gradient(variance) * (count / max(count - 1, 1))
        new_variance = (1.0 - share) * self.moving_variance + share * unbiased
        centered = ops.depend(centered, ops.assign(self.moving_mean, new_mean))
        centered = ops.depend(centered, ops.assign(self.moving_variance, new_variance))
        scale = self.gamma * ops.rsqrt(variance + self.eps)
        return (centered * scale.reshape(per_channel) + self.beta.reshape(per_channel)).astype(dtype)
