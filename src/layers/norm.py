"""Normalisation with PyTorch's constants; MindSpore's own LayerNorm default is epsilon = 1e-7."""

from mindspore import nn


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the last axis, epsilon = 1e-5, (..., dim) -> (..., dim).

    Args:
        dim: size of the last axis.
    """

    def __init__(self, dim: int):
        super().__init__((dim,), epsilon=1e-5)


BATCH_NORM_MODES = ("train", "eval", "frozen")


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of (B, C, H, W), epsilon = 1e-5, running averages that keep 0.9 of the old value.

    Args:
        channels: C.
        mode: 'train' normalises with the batch's statistics in training and tracks them; 'eval' always uses the
            running statistics and still trains gain and bias; 'frozen' uses the running statistics and trains nothing.

    Raises:
        ValueError: unknown mode.
    """

    def __init__(self, channels: int, mode: str = "train"):
        if mode not in BATCH_NORM_MODES:
            raise ValueError(f"batch_norm: expected one of {', '.join(BATCH_NORM_MODES)}, got {mode!r}")
        super().__init__(channels, eps=1e-5, momentum=0.9, use_batch_statistics=None if mode == "train" else False)
        if mode == "frozen":
            self.gamma.requires_grad = False
            self.beta.requires_grad = False
