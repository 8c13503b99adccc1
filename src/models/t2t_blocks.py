"""Transformer blocks of T2T-ViT: plain, and as transfers of SE, GhostNet and DenseNet.

Source: Yuan et al., Tokens-to-Token ViT, ICCV 2021 (arXiv 2101.11986), section 3.2 and Table 6; reference files
models/transformer_block.py, t2t_vit_se.py, t2t_vit_ghost.py and t2t_vit_dense.py of yitu-opensource/T2T-ViT. Attribute
names are the authors'. Every oddity kept, and every departure, is in docs/differences.md.

Shapes: B batch, L tokens with the class token, D width of the tokens.
"""

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Uniform, initializer

from ..layers.activation import GELU
from ..layers.attention import ScaledDotProductAttention
from ..layers.drop_path import DropPath
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.mlp import Mlp
from ..layers.norm import LayerNorm


class ChannelGate(nn.Cell):
    """Squeeze-and-excitation: x * sigmoid(two layers of the mean over all tokens), (B, L, D) -> (B, L, D).

    The usual gate, not TNT's: no norm, no biases, sigmoid, and the result replaces its input.

    Source: Hu et al., Squeeze-and-Excitation Networks, 2018.

    Args:
        dim: D; the hidden width is a sixteenth of it.
    """

    def __init__(self, dim: int):
        super().__init__()
        hidden_dim = dim // 16
        self.fc = nn.SequentialCell(
            Linear(dim, hidden_dim, has_bias=False), nn.ReLU(), Linear(hidden_dim, dim, has_bias=False), nn.Sigmoid()
        )

    def construct(self, x):
        return x * self.fc(x.mean(axis=1, keep_dims=True))


class Attention(nn.Cell):
    """Self-attention, (B, L, D) -> (B, L, D).

    Args:
        dim: D.
        num_heads: heads; divides `dim`.
        qkv_bias: add a bias to queries, keys and values.
        attn_drop_rate: dropout on the attention weights.
        drop_rate: dropout on the output.
        se: gate the channels of the output, before its dropout.
    """

    def __init__(
        self, dim: int, num_heads: int, qkv_bias: bool, attn_drop_rate: float, drop_rate: float, se: bool = False
    ):
        super().__init__()
        self.qkv = Linear(dim, 3 * dim, has_bias=qkv_bias)
        self.attention = ScaledDotProductAttention(num_heads, dim, attn_drop_rate)
        self.proj = Linear(dim, dim)
        self.se_layer = ChannelGate(dim) if se else None
        self.proj_drop = Dropout(drop_rate)
        self.split = ops.Split(-1, 3)

    def construct(self, x):
        q, k, v = self.split(self.qkv(x))
        x = self.proj(self.attention(q, k, v))
        if self.se_layer is not None:
            x = self.se_layer(x)
        return self.proj_drop(x)


class ChannelScale(nn.Cell):
    """A factor for each channel, (B, L, channels) -> (B, L, channels): GhostNet's cheap operation.

    The authors write it as a depthwise convolution of width 1 without bias; the weight has that shape and PyTorch's
    initial values of it, U(-1, 1).

    Args:
        channels: width of the tokens.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = Parameter(initializer(Uniform(1.0), (channels, 1, 1)), name="weight")
        self.channels = channels

    def construct(self, x):
        return x * self.weight.reshape(self.channels)


class GhostAttention(nn.Cell):
    """Self-attention whose queries, keys and values are half computed and half scaled copies: (B, L, D) -> (B, L, D).

    The copies follow the originals, so that the first half of the heads is computed and the second copied.

    Source: Han et al., GhostNet, 2020; the authors' t2t_vit_ghost.py.

    Args:
        dim: D, even.
        num_heads: heads; divides `dim`.
        qkv_bias: add a bias to queries, keys and values.
        attn_drop_rate: dropout on the attention weights.
        drop_rate: dropout on the output.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, attn_drop_rate: float, drop_rate: float):
        super().__init__()
        half_dim = dim // 2
        self.q = Linear(dim, half_dim, has_bias=qkv_bias)
        self.k = Linear(dim, half_dim, has_bias=qkv_bias)
        self.v = Linear(dim, half_dim, has_bias=qkv_bias)
        self.cheap_operation_q = ChannelScale(half_dim)
        self.cheap_operation_k = ChannelScale(half_dim)
        self.cheap_operation_v = ChannelScale(half_dim)
        self.attention = ScaledDotProductAttention(num_heads, dim, attn_drop_rate)
        self.proj = Linear(dim, dim)
        self.proj_drop = Dropout(drop_rate)
        self.concat = ops.Concat(axis=2)

    def construct(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)  # B L D/2 each
        q = self.concat((q, self.cheap_operation_q(q)))  # B L D
        k = self.concat((k, self.cheap_operation_k(k)))
        v = self.concat((v, self.cheap_operation_v(v)))
        return self.proj_drop(self.proj(self.attention(q, k, v)))


class GhostMlp(nn.Cell):
    """Two-layer perceptron whose hidden width of 3 D is D computed and 2 D scaled copies: (B, L, D) -> (B, L, D).

    Args:
        dim: D.
        drop_rate: dropout after each layer.
    """

    def __init__(self, dim: int, drop_rate: float):
        super().__init__()
        self.fc1 = Linear(dim, dim)
        self.act = GELU()
        self.cheap_operation2 = ChannelScale(dim)
        self.cheap_operation3 = ChannelScale(dim)
        self.drop1 = Dropout(drop_rate)
        self.fc2 = Linear(3 * dim, dim)
        self.drop2 = Dropout(drop_rate)
        self.concat = ops.Concat(axis=2)

    def construct(self, x):
        x = self.act(self.fc1(x))  # B L D
        copies = (self.act(self.cheap_operation2(x)), self.act(self.cheap_operation3(x)))
        x = self.drop1(self.concat((x, *copies)))  # B L 3D
        return self.drop2(self.fc2(x))


class Block(nn.Cell):
    """Pre-norm transformer block, (B, L, D) -> (B, L, D).

    Args:
        dim: D.
        attn, mlp: the layers of the two branches.
        drop_path_rate: stochastic depth of both branches.
    """

    def __init__(self, dim: int, attn: nn.Cell, mlp: nn.Cell, drop_path_rate: float):
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = attn
        self.drop_path1 = DropPath(drop_path_rate)
        self.norm2 = LayerNorm(dim)
        self.mlp = mlp
        self.drop_path2 = DropPath(drop_path_rate)

    def construct(self, x):
        x = x + self.drop_path1(self.attn(self.norm1(x)))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


BLOCK_TYPES = ("plain", "se", "ghost")


def create_block(
    block_type: str,
    dim: int,
    num_heads: int,
    mlp_ratio: float,
    qkv_bias: bool,
    drop_rate: float,
    attn_drop_rate: float,
    drop_path_rate: float,
) -> Block:
    """A block that keeps the width.

    Args:
        block_type: one of `BLOCK_TYPES`; 'se' gates the attention's output, 'ghost' halves and copies.
        dim: D.
        num_heads: heads; divides `dim`.
        mlp_ratio: hidden width of the MLP as a multiple of `dim`; 3 in 'ghost' blocks.
        qkv_bias: add a bias to queries, keys and values.
        drop_rate, attn_drop_rate: dropout rates.
        drop_path_rate: stochastic depth.
    """
    if block_type == "ghost":
        attn = GhostAttention(dim, num_heads, qkv_bias, attn_drop_rate, drop_rate)
        mlp = GhostMlp(dim, drop_rate)
    else:
        attn = Attention(dim, num_heads, qkv_bias, attn_drop_rate, drop_rate, se=block_type == "se")
        mlp = Mlp(dim, int(dim * mlp_ratio), drop_rate)
    return Block(dim, attn, mlp, drop_path_rate)


class DenseBlock(Block):
    """A block that appends `growth_rate` channels to its input, (B, L, D) -> (B, L, D + growth_rate).

    Source: Huang et al., Densely Connected Convolutional Networks, 2017; the authors' t2t_vit_dense.py.

    Args:
        dim: D.
        growth_rate: channels to append.
        attn, mlp: the layers of the two branches.
        drop_path_rate: stochastic depth of both branches.
    """

    def __init__(self, dim: int, growth_rate: int, attn: nn.Cell, mlp: nn.Cell, drop_path_rate: float):
        super().__init__(dim, attn, mlp, drop_path_rate)
        self.dense_linear = Linear(dim, growth_rate)
        self.concat = ops.Concat(axis=2)

    def construct(self, x):
        new = x + self.drop_path1(self.attn(self.norm1(x)))
        new = new + self.drop_path2(self.mlp(self.norm2(new)))
        return self.concat((x, self.dense_linear(new)))


class Transition(nn.Cell):
    """Linear, then GELU, between two dense stages: (B, L, dim_in) -> (B, L, dim_out).

    Args:
        dim_in, dim_out: width before and after.
    """

    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.linear = Linear(dim_in, dim_out)
        self.act = GELU()

    def construct(self, x):
        return self.act(self.linear(x))
