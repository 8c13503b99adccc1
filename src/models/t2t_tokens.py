"""Tokens of T2T-ViT: an image becomes overlapping tokens in three soft splits.

Source: Yuan et al., Tokens-to-Token ViT, ICCV 2021 (arXiv 2101.11986), section 3.1 and Table 7; reference files
models/t2t_vit.py, token_performer.py and token_transformer.py of yitu-opensource/T2T-ViT. Attribute names are the
authors', so that their weights load by name. Every oddity kept, and every departure, is in docs/differences.md.

Shapes: B batch, T tokens of a split (H/4 * W/4, then H/8 * W/8), E width of the split's windows, C width of a token
layer (`token_dim`), F random features, D width of the backbone.
"""

import math

from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import Orthogonal, initializer

from ..layers.activation import GELU
from ..layers.attention import ScaledDotProductAttention
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.mlp import Mlp
from ..layers.norm import LayerNorm
from ..layers.unfold import UnfoldConv2d, unfold

STRIDE = 16
SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))
"""Kernel, stride and padding of the three soft splits (paper section 3.1)."""


class Float32Cell(nn.Cell):
    """Computes in float32, with all its cells, also inside a network that `to_float` sets to a smaller type.

    A half-precision performer overflows: the exponents hold squared norms, and its epsilon of 1e-8 rounds to 0. Mixed
    precision that walks over cells by class, such as `amp.custom_mixed_precision`, needs this class in its black list.
    """

    def add_flags_recursive(self, **flags):
        """Sets flags as every Cell does, a type always to float32 (`to_float` of this and outer cells comes here)."""
        if "fp16" in flags:
            flags = {**flags, "fp16": False, "bf16": False, "fp32": True}
        return super().add_flags_recursive(**flags)


class TokenPerformer(Float32Cell):
    """Token layer with linear attention by positive random features: (B, T, E) -> (B, T, C).

    phi(x) = exp(w x - |x|^2 / 2) / sqrt(F), and y = phi(q) (phi(k)^T v) / (phi(q) sum_T phi(k) + 1e-8). There is one
    head, no scaling by the width, and the projection `kqv` holds keys before queries. The first residual is the values
    v, because the input has another width. `w` is drawn once and never trained; trained weights belong to their `w`.

    Source: Choromanski et al., Rethinking Attention with Performers, 2021; the authors' token_performer.py.

    Args:
        in_dim: E.
        dim: C; F is half of it.
        drop_rate: dropout after the projection and after the MLP.
    """

    def __init__(self, in_dim: int, dim: int, drop_rate: float):
        super().__init__()
        num_features = dim // 2
        self.dim, self.num_features = dim, num_features
        orthogonal = Orthogonal(gain=math.sqrt(num_features))
        self.w = Parameter(initializer(orthogonal, (num_features, dim)), name="w", requires_grad=False)
        self.norm1 = LayerNorm(in_dim)
        self.kqv = Linear(in_dim, 3 * dim)
        self.proj = Linear(dim, dim)
        self.dp = Dropout(drop_rate)
        self.norm2 = LayerNorm(dim)
        self.mlp = nn.SequentialCell(Linear(dim, dim), GELU(), Linear(dim, dim), Dropout(drop_rate))
        self.split = ops.Split(-1, 3)
        self.random_project = ops.MatMul(transpose_b=True)
        self.collect = ops.BatchMatMul(transpose_a=True)
        self.distribute = ops.BatchMatMul()
        self.sum = ops.ReduceSum(keep_dims=True)

    def features(self, x):
        """(B, T, C) -> phi, (B, T, F)."""
        length = x.shape[1]
        half_square = self.sum(x * x, 2) * 0.5  # B T 1
        projected = self.random_project(x.reshape(-1, self.dim), self.w)  # B*T F
        projected = projected.reshape(-1, length, self.num_features)
        return ops.exp(projected - half_square) * (1.0 / math.sqrt(self.num_features))

    def construct(self, x):
        kqv = self.kqv(self.norm1(x)).astype(mstype.float32)
        k, q, v = self.split(kqv)  # B T C each
        k, q = self.features(k), self.features(q)  # B T F each
        normaliser = self.sum(q * self.sum(k, 1), 2)  # B T 1
        y = self.distribute(q, self.collect(k, v)) / (normaliser + 1e-8)  # B T C
        y = v + self.dp(self.proj(y))
        return y + self.mlp(self.norm2(y))


class TokenAttention(nn.Cell):
    """One-headed self-attention that changes the width: (B, T, E) -> (B, T, C).

    The scale is E ** -0.5, of the input's width and not of the head's, and the residual is the values v.

    Args:
        in_dim: E.
        dim: C.
    """

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.qkv = Linear(in_dim, 3 * dim, has_bias=False)
        self.attention = ScaledDotProductAttention(1, dim, scale=in_dim**-0.5)
        self.proj = Linear(dim, dim)
        self.split = ops.Split(-1, 3)

    def construct(self, x):
        q, k, v = self.split(self.qkv(x))  # B T C each
        return v + self.proj(self.attention(q, k, v))


class TokenTransformer(Float32Cell):
    """Token layer with ordinary attention: (B, T, E) -> (B, T, C). It has no dropout and no stochastic depth.

    Source: the authors' token_transformer.py.

    Args:
        in_dim: E.
        dim: C, also the hidden width of the MLP.
    """

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        self.norm1 = LayerNorm(in_dim)
        self.attn = TokenAttention(in_dim, dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, dim)

    def construct(self, x):
        x = self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TokensToToken(Float32Cell):
    """Three soft splits by unfold with a token layer after each of the first two.

    (B, in_channels, H, W) -> float32 (B, H/16 * W/16, D); H and W are multiples of 16. The columns of a window are
    ordered channel, row, column; tokens are row-major.

    Args:
        attention1: the layer after the first split, (B, T, 49 * in_channels) -> (B, T, C).
        attention2: the layer after the second split, (B, T, 9 * C) -> (B, T, C).
        token_dim: C.
        embed_dim: D.
        image_size: (H, W).
    """

    def __init__(
        self, attention1: nn.Cell, attention2: nn.Cell, token_dim: int, embed_dim: int, image_size: tuple[int, int]
    ):
        super().__init__()
        self.attention1, self.attention2 = attention1, attention2
        self.project = Linear(9 * token_dim, embed_dim)
        height, width = image_size
        self.map1 = (-1, token_dim, height // 4, width // 4)
        self.map2 = (-1, token_dim, height // 8, width // 8)

    def construct(self, images):
        x = self.attention1(unfold(images.astype(mstype.float32), *SPLITS[0]))  # B H/4*W/4 C
        x = ops.transpose(x, (0, 2, 1)).reshape(self.map1)
        x = self.attention2(unfold(x, *SPLITS[1]))  # B H/8*W/8 C
        x = ops.transpose(x, (0, 2, 1)).reshape(self.map2)
        return self.project(unfold(x, *SPLITS[2]))


class ConvolutionTokens(nn.Cell):
    """Three plain convolutions in place of the soft splits, nothing between them (paper Table 7, T2T-ViT_c-14).

    (B, in_channels, H, W) -> (B, H/16 * W/16, D). The authors declare these layers, but their forward cannot run them.

    Args:
        in_channels: channels of the image.
        token_dim: C.
        embed_dim: D.
        image_size: (H, W), multiples of 16.
    """

    def __init__(self, in_channels: int, token_dim: int, embed_dim: int, image_size: tuple[int, int]):
        super().__init__()
        self.soft_split0 = UnfoldConv2d(in_channels, token_dim, *SPLITS[0])
        self.soft_split1 = UnfoldConv2d(token_dim, token_dim, *SPLITS[1])
        self.project = UnfoldConv2d(token_dim, embed_dim, *SPLITS[2])
        height, width = image_size
        self.map1 = (-1, token_dim, height // 4, width // 4)
        self.map2 = (-1, token_dim, height // 8, width // 8)

    def construct(self, images):
        x = ops.transpose(self.soft_split0(images), (0, 2, 1)).reshape(self.map1)
        x = ops.transpose(self.soft_split1(x), (0, 2, 1)).reshape(self.map2)
        return self.project(x)


class PatchTokens(nn.Cell):
    """One convolution over patches of 16 x 16, as in ViT: the paper's network without tokens-to-token (Table 7).

    (B, in_channels, H, W) -> (B, H/16 * W/16, D).

    Args:
        in_channels: channels of the image.
        embed_dim: D.
    """

    def __init__(self, in_channels: int, embed_dim: int):
        super().__init__()
        self.proj = UnfoldConv2d(in_channels, embed_dim, STRIDE, STRIDE, 0)

    def construct(self, images):
        return self.proj(images)


TOKENS_TYPES = ("performer", "transformer", "convolution", "patch")


def create_tokens(
    tokens_type: str,
    image_size: tuple[int, int],
    in_channels: int,
    token_dim: int,
    embed_dim: int,
    drop_rate: float,
) -> nn.Cell:
    """The layer from images to tokens, (B, in_channels, H, W) -> (B, H/16 * W/16, D).

    Args:
        tokens_type: one of `TOKENS_TYPES`.
        image_size: (H, W), multiples of 16.
        in_channels: channels of the image.
        token_dim: C; not used by 'patch'.
        embed_dim: D.
        drop_rate: dropout of the performer.
    """
    if tokens_type == "patch":
        return PatchTokens(in_channels, embed_dim)
    if tokens_type == "convolution":
        return ConvolutionTokens(in_channels, token_dim, embed_dim, image_size)
    in_dims = (SPLITS[0][0] ** 2 * in_channels, SPLITS[1][0] ** 2 * token_dim)
    if tokens_type == "performer":
        layers = [TokenPerformer(in_dim, token_dim, drop_rate) for in_dim in in_dims]
    else:
        layers = [TokenTransformer(in_dim, token_dim) for in_dim in in_dims]
    return TokensToToken(*layers, token_dim, embed_dim, image_size)
