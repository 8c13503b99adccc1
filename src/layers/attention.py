"""Scaled dot-product attention with heads; how queries, keys and values are projected is the networks' matter."""

from mindspore import dtype as mstype
from mindspore import nn, ops

from .dropout import Dropout
from .softmax import Softmax


class ScaledDotProductAttention(nn.Cell):
    """softmax(q k^T / sqrt(head_dim) + bias) v, for all heads at once.

    Source: Vaswani et al., Attention Is All You Need, 2017, equation 1.

    Args:
        num_heads: h.
        dim: width of queries and keys, h * d.
        attn_drop_rate: dropout on the attention weights.
        scale: factor on q k^T; d ** -0.5 when None.

    Attributes:
        head_dim: d.
        is_flash: compute everything in an operator of Ascend, see src/compilation/flash_attention.py.
    """

    scores, weigh, transpose = ops.BatchMatMul(), ops.BatchMatMul(), ops.Transpose()
    widen_queries, widen_keys = ops.Concat(axis=3), ops.Concat(axis=2)

    def __init__(self, num_heads: int, dim: int, attn_drop_rate: float = 0.0, scale: float | None = None):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, dim // num_heads
        self.scale = self.head_dim**-0.5 if scale is None else scale
        self.is_flash = False
        self.softmax = Softmax()
        self.attn_drop = Dropout(attn_drop_rate)

    def split_heads(self, x, order):
        """(B, L, h * d) -> (B, L, h, d), permuted by `order`."""
        length, dim = x.shape[1:]
        return self.transpose(x.reshape(-1, length, self.num_heads, dim // self.num_heads), order)

    def repeat(self, factor, like):
        """(1, h, m, n) -> (B, h, m, n)."""
        return ops.tile(factor, (like.shape[0], 1, 1, 1)).astype(like.dtype)

    def construct(self, q, k, v, bias=None):
        """q (B, L, h * d), k (B, S, h * d), v (B, S, h * e), bias or None -> (B, L, h * e).

        A bias is (1, h, L, S), or of low rank r: (1, h, L, r) and (1, h, r, S), whose product it is.
        """
        q = q * self.scale
        if self.is_flash:  # its own factor is 1: documents disagree on whether that would be on the bias too
            return ops.flash_attention_score(q, k, v, self.num_heads, bias)
        q = self.split_heads(q, (0, 2, 1, 3))  # B h L d
        k = self.split_heads(k, (0, 2, 3, 1))  # B h d S
        v = self.split_heads(v, (0, 2, 1, 3))  # B h S e
        if isinstance(bias, tuple):
            q = self.widen_queries((q, self.repeat(bias[0], q)))  # B h L d+r
            k = self.widen_keys((k, self.repeat(bias[1], k)))  # B h d+r S
        scores = self.scores(q, k)  # B h L S
        if bias is not None and not isinstance(bias, tuple):
            scores = scores + bias
        # The softmax over a single key is 1. Besides, MindSpore 2.10 in PyNative mode on CPU gives wrong gradients for
        # every softmax of the process once it has differentiated one over an axis of size 1.
        # In float32 also where the products are in half precision, see src/compilation/mixed_precision.py.
        scores = scores.astype(mstype.float32)
        weights = ops.ones_like(scores) if scores.shape[-1] == 1 else self.softmax(scores)
        x = self.weigh(self.attn_drop(weights).astype(v.dtype), v)  # B h L e
        x = self.transpose(x, (0, 2, 1, 3))  # B L h e
        length, heads, head_dim = x.shape[1:]
        return x.reshape(-1, length, heads * head_dim)
