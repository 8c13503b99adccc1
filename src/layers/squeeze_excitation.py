"""The squeeze-and-excitation gate of TNT and PyramidTNT."""

from mindspore import nn

from .linear import Linear
from .norm import LayerNorm


class SqueezeExcitation(nn.Cell):
    """x * gate, the gate in (-1, 1) computed from the mean over all tokens: (B, L, D) -> (B, L, D).

    Differs from the usual block: a LayerNorm before the two layers, tanh instead of sigmoid, and the block adds the
    result to its input (x + gate * x). The paper's wording mentions word tokens; the authors gate sentences only.

    Source: TNT paper, Table 12; huawei-noah tnt_pytorch/tnt.py, class SE.

    Args:
        dim: D.
        hidden_ratio: width between the two layers as a share of D.
    """

    def __init__(self, dim: int, hidden_ratio: float = 0.25):
        super().__init__()
        hidden_dim = int(dim * hidden_ratio)
        self.fc = nn.SequentialCell(
            LayerNorm(dim), Linear(dim, hidden_dim), nn.ReLU(), Linear(hidden_dim, dim), nn.Tanh()
        )

    def construct(self, x):
        return x * self.fc(x.mean(axis=1, keep_dims=True))
