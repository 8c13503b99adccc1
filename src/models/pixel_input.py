"""A network that takes pixels: what normalises them is part of its graph."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype


class PixelInput(nn.Cell):
    """Normalises, then runs a network: images (B, H, W, C) uint8 -> what `net` returns for (B, C, H, W) float32.

    Parameters keep the names they have in the network.

    Args:
        net: a network of `create_model`, or a `FeatureExtractor` of one; the weights are shared.
        mean, std: of each channel, for pixel values in [0, 1].
    """

    def __init__(self, net: nn.Cell, mean: Sequence[float], std: Sequence[float]):
        super().__init__(auto_prefix=False)
        self.net = net
        self.mean = Tensor(np.asarray(mean, np.float32))
        self.std = Tensor(np.asarray(std, np.float32))
        self.transpose = ops.Transpose()

    def construct(self, images):
        values = (images.astype(mstype.float32) * (1.0 / 255.0) - self.mean) / self.std
        return self.net(self.transpose(values, (0, 3, 1, 2)))
