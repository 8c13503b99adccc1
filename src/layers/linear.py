"""Linear layer with the authors' initial values: weights N(0, 0.02), biases 0."""

from mindspore import nn
from mindspore.common.initializer import Normal

from ..errors import UserError
from .bias import AddBias


class Linear(nn.Dense):
    """y = x W^T + b, (..., in_channels) -> (..., out_channels).

    The authors draw weights with timm's `trunc_normal_(std=.02)`, which cuts at +-2 absolute, a hundred standard
    deviations away: a plain normal distribution.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        has_bias: add a bias.

    Raises:
        UserError: a width is 0, as a share of a small one may be.
    """

    def __init__(self, in_channels: int, out_channels: int, has_bias: bool = True):
        if min(in_channels, out_channels) < 1:
            raise UserError(
                f"a layer from a width of {in_channels} to one of {out_channels} cannot be: make the network's widths, "
                "or the ratio that a width is a share by, larger"
            )
        super().__init__(in_channels, out_channels, weight_init=Normal(0.02), bias_init="zeros", has_bias=has_bias)
        self.bias_add = AddBias()
