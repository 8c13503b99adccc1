"""Normalisation with PyTorch's constants; MindSpore's own LayerNorm default is epsilon = 1e-7."""

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype
from mindspore.communication import GlobalComm, get_group_size

from ..rule import BatchNormMode, names_of
from .cpu_kernels import kernel
from .cpu_operators import HasCpuOperators, is_static
from .custom_gradient import CustomGradient

EPSILON = 1e-5


class LayerNorm(nn.LayerNorm, HasCpuOperators):
    """Layer normalisation over the last axis, epsilon = 1e-5, (..., dim) -> (..., dim).

    Args:
        dim: size of the last axis.
    """

    def __init__(self, dim: int):
        super().__init__((dim,), epsilon=EPSILON)
        self.dim = dim
        self.normalize_rows = NormalizeRows(dim)
        self.by_kernel = NormalizeRowsByKernel() if self.uses_kernels else None
        self.reshape = ops.Reshape()

    def construct(self, x):
        if not self.uses_cpu_operators:
            return super().construct(x)
        rows = self.reshape(x, (-1, self.dim)).astype(mstype.float32)
        if self.uses_kernels and is_static(x):
            rows = self.by_kernel(rows, self.gamma, self.beta)[0]
        else:
            rows = self.normalize_rows(rows, self.gamma, self.beta)[0]
        return self.reshape(rows, (-1, *x.shape[1:]))


class NormalizeRows(CustomGradient):
    """Layer normalisation by operators that are fast on CPU.

    MindSpore's kernels of LayerNorm, and of sums and products of a matrix with a column or row, are slow there; a
    column repeated in a matrix product with ones, and products of equal shapes, are fast. Forward and backward take a
    quarter of the native time.

    Args:
        dim: width of the rows.
    """

    mean, sum = ops.ReduceMean(keep_dims=True), ops.ReduceSum()  # of the class: a network has a hundred of these
    matmul, square, rsqrt = ops.MatMul(), ops.Square(), ops.Rsqrt()
    reshape, add_bias = ops.Reshape(), ops.BiasAdd()

    def __init__(self, dim: int):
        super().__init__()
        self.inverse_dim = 1.0 / dim
        self.ones = Tensor(np.ones((1, dim), np.float32))

    def construct(self, x, gamma, beta):
        """x (R, dim), gamma and beta (dim,) -> rows (R, dim), and mean and 1 / deviation of each row, (R, 1)."""
        mean = self.mean(x, 1)
        centered = x - self.matmul(mean, self.ones)
        scale = self.rsqrt(self.mean(self.square(centered), 1) + EPSILON)
        factors = self.matmul(scale, self.reshape(gamma, (1, -1)))
        return self.add_bias(centered * factors, beta), mean, scale

    def bprop(self, x, gamma, beta, out, dout):
        """The derivative: scale * (g - mean of g - n * mean of g * n), with n the normalised rows, g = dout * gamma."""
        _, mean, scale = out
        dy = dout[0]
        normalized = (x - self.matmul(mean, self.ones)) * self.matmul(scale, self.ones)
        product = dy * normalized
        share = self.reshape(gamma, (-1, 1)) * self.inverse_dim
        mean_g = self.matmul(self.matmul(dy, share) * scale, self.ones)
        mean_gn = self.matmul(self.matmul(product, share) * scale, self.ones)
        dx = dy * self.matmul(scale, self.reshape(gamma, (1, -1))) - mean_g - normalized * mean_gn
        return dx, self.sum(product, 0), self.sum(dy, 0)


class NormalizeRowsByKernel(CustomGradient):
    """The same in one pass forward and one backward."""

    def __init__(self):
        super().__init__()
        self.forward = kernel("layer_norm", _shapes_of_rows, 3)
        self.backward = kernel("layer_norm_grad", _shapes_of_gradients, 3)

    def construct(self, x, gamma, beta):
        """As `NormalizeRows`."""
        return self.forward(x, gamma, beta)

    def bprop(self, x, gamma, beta, out, dout):
        _, mean, scale = out
        return self.backward(x, gamma, mean, scale, dout[0])


def _shapes_of_rows(x, gamma, beta):
    return x, (x[0], 1), (x[0], 1)


def _shapes_of_gradients(x, gamma, mean, scale, dy):
    return x, gamma, gamma


BATCH_NORM_MODES = names_of(BatchNormMode)


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

    def freeze_statistics(self) -> None:
        """Makes it normalise with the running statistics, which then never change; before the first compilation."""
        self.use_batch_statistics, self.is_synchronized = False, False

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
