"""TNT: Transformer in Transformer.

Source: Han et al., Transformer in Transformer, NeurIPS 2021 (arXiv 2103.00112v3), section 2 and Tables 1 and 5;
reference file tnt_pytorch/tnt.py of huawei-noah/Efficient-AI-Backbones. Attribute names are the authors', so that their
weights load by name. Every oddity kept, and every departure, is listed in docs/differences.md.

Shapes: B batch, N sentences, M words a sentence, L = N + 1 tokens with the class token, C inner width, D outer width,
K classes, P patch side.
"""

from collections.abc import Callable, Sequence

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, initializer

from ..errors import UserError
from ..layers.attention import ScaledDotProductAttention
from ..layers.drop_path import DropPath, drop_path_rates
from ..layers.dropout import Dropout
from ..layers.image_size import to_height_width
from ..layers.linear import Linear
from ..layers.mlp import Mlp
from ..layers.norm import LayerNorm
from ..layers.pos_embed import resize_pos_embed
from ..layers.squeeze_excitation import SqueezeExcitation
from ..layers.unfold import UnfoldConv2d
from .variant import FeatureInfo, Variant


class Attention(nn.Cell):
    """Self-attention with the authors' projections: one for queries and keys, another for values.

    Args:
        dim: width of the tokens.
        num_heads: heads; divides `dim`.
        qkv_bias: add a bias to queries, keys and values.
        attn_drop_rate: dropout on the attention weights.
        drop_rate: dropout on the output.
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, attn_drop_rate: float, drop_rate: float):
        super().__init__()
        self.qk = Linear(dim, 2 * dim, has_bias=qkv_bias)
        self.v = Linear(dim, dim, has_bias=qkv_bias)
        self.attention = ScaledDotProductAttention(num_heads, dim, attn_drop_rate)
        self.proj = Linear(dim, dim)
        self.proj_drop = Dropout(drop_rate)
        self.split = ops.Split(-1, 2)

    def construct(self, x):
        """(B, L, dim) -> (B, L, dim)."""
        q, k = self.split(self.qk(x))
        return self.proj_drop(self.proj(self.attention(q, k, self.v(x))))


class Block(nn.Cell):
    """One TNT block: the inner transformer over words, words added to sentences, the outer transformer.

    Without an inner transformer (`has_inner=False`, paper Table 5) it is a plain transformer block and the words pass
    unchanged.

    Args:
        num_patches: N.
        num_words: M.
        inner_dim, inner_num_heads: width and heads of the inner transformer.
        outer_dim, outer_num_heads: width and heads of the outer transformer.
        mlp_ratio: hidden width of both MLPs as a multiple of their width.
        qkv_bias: add a bias to queries, keys and values.
        drop_rate, attn_drop_rate: dropout rates.
        drop_path_rate: stochastic depth of this block; per sentence in the inner transformer, per image in the outer.
        se: gate the output of the outer MLP.
        has_inner: with or without the inner transformer.
    """

    def __init__(
        self,
        num_patches: int,
        num_words: int,
        inner_dim: int,
        inner_num_heads: int,
        outer_dim: int,
        outer_num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        se: bool,
        has_inner: bool,
    ):
        super().__init__()
        self.has_inner = has_inner
        if has_inner:
            words_dim = num_words * inner_dim
            self.words_shape = (num_words, inner_dim)
            self.inner_norm1 = LayerNorm(inner_dim)
            self.inner_attn = Attention(inner_dim, inner_num_heads, qkv_bias, attn_drop_rate, drop_rate)
            self.inner_drop_path1 = DropPath(drop_path_rate, num_patches)
            self.inner_norm2 = LayerNorm(inner_dim)
            self.inner_mlp = Mlp(inner_dim, int(inner_dim * mlp_ratio), drop_rate)
            self.inner_drop_path2 = DropPath(drop_path_rate, num_patches)
            self.proj_norm1 = LayerNorm(words_dim)
            self.proj = Linear(words_dim, outer_dim, has_bias=False)
            self.proj_norm2 = LayerNorm(outer_dim)
        self.outer_norm1 = LayerNorm(outer_dim)
        self.outer_attn = Attention(outer_dim, outer_num_heads, qkv_bias, attn_drop_rate, drop_rate)
        self.outer_drop_path1 = DropPath(drop_path_rate)
        self.outer_norm2 = LayerNorm(outer_dim)
        self.outer_mlp = Mlp(outer_dim, int(outer_dim * mlp_ratio), drop_rate)
        self.outer_drop_path2 = DropPath(drop_path_rate)
        self.se_layer = SqueezeExcitation(outer_dim) if se else None
        self.concat = ops.Concat(axis=1)

    def construct(self, inner_tokens, outer_tokens):
        """Words (B*N, M, C) and tokens (B, L, D) -> the same shapes."""
        if self.has_inner:
            num_words, inner_dim = self.words_shape
            x = inner_tokens
            x = x + self.inner_drop_path1(self.inner_attn(self.inner_norm1(x)))
            x = x + self.inner_drop_path2(self.inner_mlp(self.inner_norm2(x)))
            inner_tokens = x
            num_patches = outer_tokens.shape[1] - 1
            words = x.reshape(-1, num_patches, num_words * inner_dim)  # B N M*C
            words = self.proj_norm2(self.proj(self.proj_norm1(words)))  # B N D
            nothing = ops.zeros_like(outer_tokens[:, :1])  # the class token has no words
            outer_tokens = outer_tokens + self.concat((nothing, words))
        x = outer_tokens
        x = x + self.outer_drop_path1(self.outer_attn(self.outer_norm1(x)))
        m = self.outer_mlp(self.outer_norm2(x))
        if self.se_layer is not None:
            m = m + self.se_layer(m)
        return inner_tokens, x + self.outer_drop_path2(m)


class PatchEmbed(nn.Cell):
    """Words of every patch: a 7x7 convolution over each patch alone, (B, in_channels, H, W) -> (B*N, M, C).

    Zeros pad every patch's border: the patches are cut first and convolved then, so the words at the upper and left
    border differ from those of a convolution over the whole image. Patches and words are row-major.

    Args:
        in_channels: channels of the image.
        inner_dim: C.
        patch_size: P; divides both sides of the image.
        inner_stride: step between words, in pixels.
    """

    def __init__(self, in_channels: int, inner_dim: int, patch_size: int, inner_stride: int):
        super().__init__()
        self.patch_size = patch_size
        self.proj = UnfoldConv2d(in_channels, inner_dim, kernel_size=7, stride=inner_stride, padding=3)
        self.transpose = ops.Transpose()

    def construct(self, images):
        channels, height, width = images.shape[1:]
        p = self.patch_size
        x = images.reshape(-1, channels, height // p, p, width // p, p)
        x = self.transpose(x, (0, 2, 4, 1, 3, 5)).reshape(-1, channels, p, p)  # B*N in_channels P P
        return self.proj(x)  # B*N M C


class TNT(nn.Cell):
    """Transformer in Transformer, (B, in_channels, H, W) -> (B, K); with `num_classes=0` features (B, D).

    Args:
        image_size: side or (height, width) in pixels, multiples of `patch_size`.
        in_channels: channels of the image.
        num_classes: K; 0 leaves the head out.
        patch_size: side of a sentence in pixels.
        inner_stride: step between words in pixels.
        depth: number of blocks.
        inner_dim: C.
        inner_num_heads: heads of the inner transformer.
        outer_dim: D.
        outer_num_heads: heads of the outer transformer.
        mlp_ratio: hidden width of the MLPs as a multiple of their width.
        qkv_bias: add a bias to queries, keys and values.
        se: squeeze-and-excitation on the output of the outer MLP.
        inner_blocks: which blocks have an inner transformer, counted from 1 as in the paper's Table 5; None: all.
        drop_rate: dropout after the sentence position table, in MLPs and after attention.
        attn_drop_rate: dropout on attention weights.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.

    Raises:
        UserError: an image size, head count or block number that does not fit.
    """

    uses_convolution = False
    """Whether the compiled graph holds convolutions (some CPUs need a setting for them)."""
    uses_batch_norm = False

    def __init__(
        self,
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        patch_size: int = 16,
        inner_stride: int = 4,
        depth: int = 12,
        inner_dim: int = 24,
        inner_num_heads: int = 4,
        outer_dim: int = 384,
        outer_num_heads: int = 6,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        se: bool = False,
        inner_blocks: Sequence[int] | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        height, width = to_height_width(image_size, patch_size, "TNT")
        for dim, heads, kind in ((inner_dim, inner_num_heads, "inner"), (outer_dim, outer_num_heads, "outer")):
            if dim % heads:
                raise UserError(f"{kind}_dim: expected a multiple of {kind}_num_heads = {heads}, got {dim}")
        inner_blocks = range(1, depth + 1) if inner_blocks is None else inner_blocks
        if any(not 1 <= number <= depth for number in inner_blocks):
            raise UserError(f"inner_blocks: blocks are counted from 1 to {depth}, got {list(inner_blocks)}")
        self.image_size = (height, width)
        self.patch_size = patch_size
        self.grid_size = (height // patch_size, width // patch_size)
        self.num_classes = num_classes
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.num_words = (-(-patch_size // inner_stride)) ** 2
        self.feature_info = tuple(FeatureInfo(outer_dim, patch_size) for _ in range(depth))

        words_dim = self.num_words * inner_dim
        self.patch_embed = PatchEmbed(in_channels, inner_dim, patch_size, inner_stride)
        self.proj_norm1 = LayerNorm(words_dim)
        self.proj = Linear(words_dim, outer_dim)
        self.proj_norm2 = LayerNorm(outer_dim)
        position = Normal(0.02)
        self.cls_token = Parameter(initializer(position, (1, 1, outer_dim)), name="cls_token")
        self.outer_tokens = Parameter(  # never used by the authors, but in their files and parameter counts
            initializer("zeros", (1, self.num_patches, outer_dim)), name="outer_tokens", requires_grad=False
        )
        self.outer_pos = Parameter(initializer(position, (1, self.num_patches + 1, outer_dim)), name="outer_pos")
        self.inner_pos = Parameter(initializer(position, (1, self.num_words, inner_dim)), name="inner_pos")
        self.pos_drop = Dropout(drop_rate)
        self.blocks = nn.CellList(
            [
                Block(
                    num_patches=self.num_patches,
                    num_words=self.num_words,
                    inner_dim=inner_dim,
                    inner_num_heads=inner_num_heads,
                    outer_dim=outer_dim,
                    outer_num_heads=outer_num_heads,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=rate,
                    se=se,
                    has_inner=number in inner_blocks,
                )
                for number, rate in enumerate(drop_path_rates(drop_path_rate, depth), start=1)
            ]
        )
        self.norm = LayerNorm(outer_dim)
        self.head = Linear(outer_dim, num_classes) if num_classes > 0 else nn.Identity()
        self.concat = ops.Concat(axis=1)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the authors exempt from weight decay although they have more than one dimension."""
        return {"outer_pos", "inner_pos", "cls_token"}

    def table_resizers(self, image_size: tuple[int, int]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """What makes a table of this network's size of each whose size follows the image's, by its name.

        Args:
            image_size: (height, width) in pixels that the tables at hand are for.
        """
        old_grid = (image_size[0] // self.patch_size, image_size[1] // self.patch_size)
        return {
            "outer_pos": lambda table: resize_pos_embed(table, old_grid, self.grid_size, num_prefix_tokens=1),
            "outer_tokens": lambda table: np.zeros(self.outer_tokens.shape, np.float32),  # zeros at every size
        }

    def embed(self, images):
        """(B, in_channels, H, W) -> words (B*N, M, C) and tokens (B, L, D), positions added."""
        inner_tokens = self.patch_embed(images) + self.inner_pos
        num_words, inner_dim = inner_tokens.shape[1:]
        words = inner_tokens.reshape(-1, self.num_patches, num_words * inner_dim)  # B N M*C
        sentences = self.proj_norm2(self.proj(self.proj_norm1(words)))  # B N D
        cls_token = self.cls_token + ops.zeros_like(sentences[:, :1])  # B 1 D
        tokens = self.concat((cls_token, sentences))
        return inner_tokens, self.pos_drop(tokens + self.outer_pos)

    def block_stages(self) -> list[list[nn.Cell]]:
        """The transformer blocks; those of a list get inputs of the same shapes."""
        return [list(self.blocks)]

    def forward_features(self, images):
        """(B, in_channels, H, W) -> class token and sentences after the final norm, (B, L, D)."""
        inner_tokens, outer_tokens = self.embed(images)
        for block in self.blocks:
            inner_tokens, outer_tokens = block(inner_tokens, outer_tokens)
        return self.norm(outer_tokens)

    def forward_head(self, features, pre_logits: bool = False):
        """(B, L, D) -> logits (B, K), or the class token (B, D) with `pre_logits` or without a head."""
        cls_token = features[:, 0]
        return cls_token if pre_logits else self.head(cls_token)

    def forward_maps(self, images, stages):
        """Sentence tokens after each of the blocks `stages` (counted from 0), each (B, D, H / P, W / P)."""
        inner_tokens, outer_tokens = self.embed(images)
        maps = ()
        for index in range(max(stages) + 1):
            inner_tokens, outer_tokens = self.blocks[index](inner_tokens, outer_tokens)
            if index in stages:
                sentences = ops.transpose(outer_tokens[:, 1:], (0, 2, 1))  # B D N
                maps = maps + (sentences.reshape(-1, sentences.shape[1], *self.grid_size),)
        return maps

    def construct(self, images):
        return self.forward_head(self.forward_features(images))


def _variant(published: dict | None = None, **structure) -> Variant:
    return Variant(TNT, image_size=224, mean=(0.5,) * 3, std=(0.5,) * 3, structure=structure, published=published)


_S = {"inner_dim": 24, "inner_num_heads": 4, "outer_dim": 384, "outer_num_heads": 6}

# Paper Table 1 (sizes), Table 4 (accuracy) and Table 5 (blocks with an inner transformer).
VARIANTS = {
    "tnt_ti_patch16_224": _variant(
        {"top1": 73.9, "top5": 91.9}, inner_dim=12, inner_num_heads=2, outer_dim=192, outer_num_heads=3
    ),
    "tnt_s_patch16_224": _variant({"top1": 81.5, "top5": 95.7}, **_S),
    "tnt_b_patch16_224": _variant(
        {"top1": 82.9, "top5": 96.3}, inner_dim=40, inner_num_heads=4, outer_dim=640, outer_num_heads=10
    ),
    "tnt_s_1_patch16_224": _variant({"top1": 81.4}, **_S, inner_blocks=(1, 4, 8, 12)),
    "tnt_s_2_patch16_224": _variant({"top1": 81.3}, **_S, inner_blocks=(1, 6, 12)),
    "tnt_s_3_patch16_224": _variant({"top1": 81.1}, **_S, inner_blocks=(1, 6)),
    "tnt_s_4_patch16_224": _variant({"top1": 80.8}, **_S, inner_blocks=(1,)),
}
