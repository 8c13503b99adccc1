"""The two-layer perceptron of a transformer block."""

from mindspore import nn

from .activation import GELU
from .dropout import Dropout
from .linear import Linear


class Mlp(nn.Cell):
    """Linear, GELU, dropout, linear, dropout: (..., dim) -> (..., dim).

    Args:
        dim: width of input and output.
        hidden_dim: width between the two layers.
        drop_rate: dropout after each layer.
    """

    def __init__(self, dim: int, hidden_dim: int, drop_rate: float = 0.0):
        super().__init__()
        self.fc1 = Linear(dim, hidden_dim)
        self.act = GELU()
        self.drop1 = Dropout(drop_rate)
        self.fc2 = Linear(hidden_dim, dim)
        self.drop2 = Dropout(drop_rate)

    def construct(self, x):
        x = self.drop1(self.act(self.fc1(x)))
        return self.drop2(self.fc2(x))
