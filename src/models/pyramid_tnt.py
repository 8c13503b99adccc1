"""PyramidTNT: TNT with a convolutional stem and four stages of falling resolution.

Source: Han et al., PyramidTNT: Improved Transformer-in-Transformer Baselines with Pyramid Architecture, 2022
(arXiv 2201.00978); reference file tnt_pytorch/pyramid_tnt.py of huawei-noah/Efficient-AI-Backbones. Attribute names are
the authors', so that their weights load by name. Every oddity kept, and every departure, is in docs/differences.md.

Shapes: B batch, N sentences (H_out x W_out), M = 16 words a sentence (4 x 4), C inner width, D outer width, K classes,
S keys after spatial reduction.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import Normal, initializer

from ..errors import UserError
from ..layers.attention import ScaledDotProductAttention
from ..layers.conv import Conv2d
from ..layers.drop_path import DropPath, drop_path_rates
from ..layers.dropout import Dropout
from ..layers.image_size import to_height_width
from ..layers.linear import Linear
from ..layers.mlp import Mlp
from ..layers.norm import BATCH_NORM_MODES, BatchNorm2d, LayerNorm
from ..layers.pos_embed import resize_pos_embed, resize_relative_pos
from ..layers.resized_pos import ResizedPosEmbed, ResizedRelativePos
from ..layers.squeeze_excitation import SqueezeExcitation
from .variant import FeatureInfo, Variant

WORD_GRID = 4
NUM_WORDS = WORD_GRID * WORD_GRID
STEM_STRIDE = 8
SIDE_MULTIPLE = 32


class Attention(nn.Cell):
    """Self-attention, its keys and values optionally from tokens averaged over squares of sr_ratio x sr_ratio.

    The reduction is average pooling, a linear layer and a LayerNorm; PVT's, of the same name, is a strided convolution.

    Args:
        dim: width of the tokens.
        num_heads: heads; divides `dim`.
        qkv_bias: add a bias to queries, keys and values.
        attn_drop_rate: dropout on the attention weights.
        drop_rate: dropout on the output.
        sr_ratio: side of the averaged squares; 1 for none.
        grid: (H_out, W_out) of the tokens, multiples of `sr_ratio`; needed for `sr_ratio` above 1.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool,
        attn_drop_rate: float,
        drop_rate: float,
        sr_ratio: int = 1,
        grid: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.q = Linear(dim, dim, has_bias=qkv_bias)
        self.kv = Linear(dim, 2 * dim, has_bias=qkv_bias)
        self.attention = ScaledDotProductAttention(num_heads, dim, attn_drop_rate)
        self.proj = Linear(dim, dim)
        self.proj_drop = Dropout(drop_rate)
        self.split = ops.Split(-1, 2)
        self.sr_ratio, self.grid = sr_ratio, grid
        if sr_ratio > 1:
            self.linear = Linear(dim, dim)
            self.norm = LayerNorm(dim)

    def reduce(self, x):
        """(B, N, dim) -> (B, S, dim)."""
        (height, width), ratio, dim = self.grid, self.sr_ratio, x.shape[2]
        x = x.reshape(-1, height // ratio, ratio, width // ratio, ratio, dim).mean(axis=(2, 4))
        return self.norm(self.linear(x.reshape(-1, (height // ratio) * (width // ratio), dim)))

    def construct(self, x, relative_pos=None):
        """Tokens (B, N, dim), relative_pos (1, heads, N, S) or None -> (B, N, dim)."""
        k, v = self.split(self.kv(self.reduce(x) if self.sr_ratio > 1 else x))
        return self.proj_drop(self.proj(self.attention(self.q(x), k, v, relative_pos)))


class Block(nn.Cell):
    """The inner transformer over words (in some blocks), words added to sentences, the outer transformer.

    The norms before the inner attention, the inner MLP and the projection normalise all words of a sentence together,
    16 * C values, not each word.

    Args:
        inner_dim, inner_num_heads: width and heads of the inner transformer.
        outer_dim, outer_num_heads: width and heads of the outer transformer.
        grid: (H_out, W_out) of the sentences.
        sr_ratio: spatial reduction of the outer attention.
        mlp_ratio: hidden width of both MLPs as a multiple of their width.
        qkv_bias: add a bias to queries, keys and values.
        drop_rate, attn_drop_rate: dropout rates.
        drop_path_rate: stochastic depth of this block; per sentence in the inner transformer, per image in the outer.
        se: gate the output of the outer MLP.
        has_inner: with or without the inner transformer.
    """

    def __init__(
        self,
        inner_dim: int,
        inner_num_heads: int,
        outer_dim: int,
        outer_num_heads: int,
        grid: tuple[int, int],
        sr_ratio: int,
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
            words_dim = NUM_WORDS * inner_dim
            self.words_shape = (-1, NUM_WORDS, inner_dim)
            self.sentences_shape = (-1, grid[0] * grid[1], words_dim)
            self.inner_norm1 = LayerNorm(words_dim)
            self.inner_attn = Attention(inner_dim, inner_num_heads, qkv_bias, attn_drop_rate, drop_rate)
            self.inner_drop_path1 = DropPath(drop_path_rate, grid[0] * grid[1])
            self.inner_norm2 = LayerNorm(words_dim)
            self.inner_mlp = Mlp(inner_dim, int(inner_dim * mlp_ratio), drop_rate)
            self.inner_drop_path2 = DropPath(drop_path_rate, grid[0] * grid[1])
            self.proj_norm1 = LayerNorm(words_dim)
            self.proj = Linear(words_dim, outer_dim, has_bias=False)
            self.proj_norm2 = LayerNorm(outer_dim)
        self.outer_norm1 = LayerNorm(outer_dim)
        self.outer_attn = Attention(outer_dim, outer_num_heads, qkv_bias, attn_drop_rate, drop_rate, sr_ratio, grid)
        self.outer_drop_path1 = DropPath(drop_path_rate)
        self.outer_norm2 = LayerNorm(outer_dim)
        self.outer_mlp = Mlp(outer_dim, int(outer_dim * mlp_ratio), drop_rate)
        self.outer_drop_path2 = DropPath(drop_path_rate)
        self.se_layer = SqueezeExcitation(outer_dim) if se else None

    def normed_words(self, norm, inner_tokens):
        """(B*N, M, C), normalised over the M * C values of each sentence."""
        return norm(inner_tokens.reshape(self.sentences_shape)).reshape(self.words_shape)

    def construct(self, inner_tokens, outer_tokens, relative_pos):
        """Words (B*N, M, C), sentences (B, N, D), relative_pos (1, heads, N, S) -> words, sentences."""
        if self.has_inner:
            x = inner_tokens
            x = x + self.inner_drop_path1(self.inner_attn(self.normed_words(self.inner_norm1, x)))
            x = x + self.inner_drop_path2(self.inner_mlp(self.normed_words(self.inner_norm2, x)))
            inner_tokens = x
            words = self.proj_norm1(x.reshape(self.sentences_shape))  # B N M*C
            outer_tokens = outer_tokens + self.proj_norm2(self.proj(words))
        x = outer_tokens
        x = x + self.outer_drop_path1(self.outer_attn(self.outer_norm1(x), relative_pos))
        m = self.outer_mlp(self.outer_norm2(x))
        if self.se_layer is not None:
            m = m + self.se_layer(m)
        return inner_tokens, x + self.outer_drop_path2(m)


class Stage(nn.Cell):
    """Blocks of one resolution that share a learned bias of the outer attention.

    Only the first block has an inner transformer, and the second too where the stage has more than six blocks.

    Args:
        num_blocks: number of blocks.
        grid: (H_out, W_out) of the sentences.
        drop_path_rates: stochastic depth of each block.
        table_grid: (H_out, W_out) that the learned bias is for, where it is not `grid`; it is brought to that in the
            graph.
        uses_relative_pos: with or without the bias, whose parameter is there in any case.
        The others: see `Block`.
    """

    def __init__(
        self,
        num_blocks: int,
        inner_dim: int,
        inner_num_heads: int,
        outer_dim: int,
        outer_num_heads: int,
        grid: tuple[int, int],
        sr_ratio: int,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rates: Sequence[float],
        se: bool,
        table_grid: tuple[int, int] | None = None,
        uses_relative_pos: bool = True,
    ):
        super().__init__()
        num_inner = 2 if num_blocks > 6 else 1
        self.blocks = nn.CellList(
            [
                Block(
                    inner_dim=inner_dim,
                    inner_num_heads=inner_num_heads,
                    outer_dim=outer_dim,
                    outer_num_heads=outer_num_heads,
                    grid=grid,
                    sr_ratio=sr_ratio,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=drop_path_rates[index],
                    se=se,
                    has_inner=index < num_inner,
                )
                for index in range(num_blocks)
            ]
        )
        table_grid = table_grid or grid
        keys, table_keys = ((side // sr_ratio for side in of) for of in (grid, table_grid))
        keys, table_keys = tuple(keys), tuple(table_keys)
        shape = (1, outer_num_heads, prod(table_grid), prod(table_keys))
        self.relative_pos = Parameter(initializer(Normal(1.0), shape), name="relative_pos")
        self.uses_relative_pos = uses_relative_pos
        is_resized = uses_relative_pos and table_grid != grid
        self.resize = ResizedRelativePos(table_grid, table_keys, grid, keys) if is_resized else None

    def construct(self, inner_tokens, outer_tokens):
        relative_pos = self.bias()
        for block in self.blocks:
            inner_tokens, outer_tokens = block(inner_tokens, outer_tokens, relative_pos)
        return inner_tokens, outer_tokens

    def bias(self):
        """The learned bias of the attention, as `ScaledDotProductAttention` takes it."""
        if not self.uses_relative_pos:
            return None
        return self.relative_pos if self.resize is None else self.resize(self.relative_pos)


class Stem(nn.Cell):
    """Image to words and sentences: (B, in_channels, H, W) -> (B*N, M, C), (B, N, D), N = H / 8 * W / 8.

    Args:
        in_channels: channels of the image.
        inner_dim: C of the first stage.
        outer_dim: D of the first stage.
        batch_norm: mode of the batch norms, see `BatchNorm2d`.
    """

    def __init__(self, in_channels: int, inner_dim: int, outer_dim: int, batch_norm: str):
        super().__init__()

        def convs(channels: Sequence[int], strides: Sequence[int]) -> nn.SequentialCell:
            cells = []
            for c_in, c_out, stride in zip(channels[:-1], channels[1:], strides, strict=True):
                cells += [Conv2d(c_in, c_out, 3, stride, 1), BatchNorm2d(c_out, batch_norm), nn.ReLU()]
            return nn.SequentialCell(cells)

        c = inner_dim
        self.common_conv = convs((in_channels, 2 * c), (2,))
        self.inner_convs = convs((2 * c, c), (1,))
        self.outer_convs = convs((2 * c, 4 * c, 8 * c, outer_dim), (2, 2, 1))
        self.transpose = ops.Transpose()

    def construct(self, images):
        x = self.common_conv(images)  # B 2C H/2 W/2
        words = self.inner_convs(x)  # B C H/2 W/2
        c, height, width = words.shape[1:]
        words = words.reshape(-1, c, height // WORD_GRID, WORD_GRID, width // WORD_GRID, WORD_GRID)
        words = self.transpose(words, (0, 2, 4, 3, 5, 1)).reshape(-1, NUM_WORDS, c)  # B*N M C
        sentences = self.outer_convs(x)  # B D H/8 W/8
        d, height, width = sentences.shape[1:]
        return words, ops.transpose(sentences.reshape(-1, d, height * width), (0, 2, 1))


class WordAggregation(nn.Cell):
    """Merges the words of 2 x 2 sentences by a strided convolution over each merged sentence alone.

    Four neighbouring sentences form an 8 x 8 image of words; zeros pad the border of each. An odd grid gets a row or
    column of zero words at its end, after the norm.

    Args:
        dim_in, dim_out: C before and after.
        grid: (H_out, W_out) before.
    """

    def __init__(self, dim_in: int, dim_out: int, grid: tuple[int, int]):
        super().__init__()
        self.grid = grid
        self.norm = LayerNorm(dim_in)
        self.conv = nn.SequentialCell(Conv2d(dim_in, dim_out, 3, 2, 1))
        self.transpose = ops.Transpose()
        self.concat_rows, self.concat_columns = ops.Concat(axis=1), ops.Concat(axis=2)

    def construct(self, inner_tokens):
        """(B * H_out * W_out, M, dim_in) -> (B * ceil(H_out / 2) * ceil(W_out / 2), M, dim_out)."""
        height, width = self.grid
        c = inner_tokens.shape[2]
        x = self.norm(inner_tokens).reshape(-1, height, width, NUM_WORDS * c)
        if height % 2:
            x = self.concat_rows((x, ops.zeros_like(x[:, :1])))
        if width % 2:
            x = self.concat_columns((x, ops.zeros_like(x[:, :, :1])))
        width = x.shape[2]
        x = x.reshape(-1, 2, width // 2, 2, WORD_GRID, WORD_GRID, c)  # B*H_out/2 2 W_out/2 2 4 4 C
        x = self.transpose(x, (0, 2, 6, 1, 4, 3, 5)).reshape(-1, c, 2 * WORD_GRID, 2 * WORD_GRID)  # B*N/4 C 8 8
        x = self.conv(x)  # B*N/4 dim_out 4 4
        words = ops.transpose(x.reshape(-1, x.shape[1], NUM_WORDS), (0, 2, 1))
        return words.astype(mstype.float32)  # which the blocks add to, also where the convolution is in half precision


class SentenceAggregation(nn.Cell):
    """Merges sentences by an ordinary strided convolution over their grid.

    Args:
        dim_in, dim_out: D before and after.
        grid: (H_out, W_out) before.
    """

    def __init__(self, dim_in: int, dim_out: int, grid: tuple[int, int]):
        super().__init__()
        self.grid = grid
        self.norm = LayerNorm(dim_in)
        self.conv = nn.SequentialCell(Conv2d(dim_in, dim_out, 3, 2, 1))

    def construct(self, outer_tokens):
        """(B, H_out * W_out, dim_in) -> (B, ceil(H_out / 2) * ceil(W_out / 2), dim_out)."""
        x = ops.transpose(self.norm(outer_tokens), (0, 2, 1))  # B dim_in N
        x = self.conv(x.reshape(-1, x.shape[1], *self.grid))
        d, height, width = x.shape[1:]
        return ops.transpose(x.reshape(-1, d, height * width), (0, 2, 1))


def stage_grids(image_size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(H_out, W_out) of each stage for images of (height, width) pixels; merging rounds up."""
    grids = [(image_size[0] // STEM_STRIDE, image_size[1] // STEM_STRIDE)]
    for _ in range(3):
        grids.append((-(-grids[-1][0] // 2), -(-grids[-1][1] // 2)))
    return tuple(grids)


class PyramidTNT(nn.Cell):
    """PyramidTNT, (B, in_channels, H, W) -> (B, K); with `num_classes=0` features (B, D of the last stage).

    Args:
        image_size: side or (height, width) in pixels, multiples of 32. Sides that are not multiples of 64 work too:
            merging rounds grids up, and the tables are sized from the real grids.
        in_channels: channels of the image.
        num_classes: K; 0 leaves the head out.
        depths: blocks of each stage.
        inner_dims, inner_num_heads: width and heads of the inner transformer in each stage.
        outer_dims, outer_num_heads: width and heads of the outer transformer in each stage.
        sr_ratios: spatial reduction of the outer attention in each stage.
        mlp_ratio: hidden width of the MLPs as a multiple of their width.
        qkv_bias: add a bias to queries, keys and values.
        se: squeeze-and-excitation on the output of the outer MLP.
        table_size: side or (height, width) of the images that the position tables are for, where it is not
            `image_size`: the tables keep its size, so that weights of it load, and are brought to `image_size` in the
            graph, as `table_resizers` does on the host.
        relative_pos: for each stage whether its outer attention has the learned bias.
        batch_norm: 'train', 'eval' (running statistics also in training) or 'frozen' (neither statistics nor gain and
            bias change).
        drop_rate: dropout on the sentence position table, in MLPs and after attention.
        attn_drop_rate: dropout on attention weights.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.

    Raises:
        UserError: an image size, list length, head count or mode that does not fit.
    """

    uses_convolution = True
    """Whether the compiled graph holds convolutions (some CPUs need a setting for them)."""
    uses_batch_norm = True

    def __init__(
        self,
        image_size: int | Sequence[int] = 256,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: Sequence[int] = (2, 8, 4, 2),
        inner_dims: Sequence[int] = (8, 16, 32, 32),
        inner_num_heads: Sequence[int] = (2, 4, 8, 8),
        outer_dims: Sequence[int] = (128, 256, 512, 512),
        outer_num_heads: Sequence[int] = (4, 8, 16, 16),
        sr_ratios: Sequence[int] = (4, 2, 1, 1),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = False,
        se: bool = False,
        table_size: int | Sequence[int] | None = None,
        relative_pos: Sequence[bool] = (True, True, True, True),
        batch_norm: str = "train",
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        self.image_size = to_height_width(image_size, SIDE_MULTIPLE, "PyramidTNT")
        if table_size is None:
            table_size = self.image_size
        self.table_size = to_height_width(table_size, SIDE_MULTIPLE, "PyramidTNT")
        if batch_norm not in BATCH_NORM_MODES:
            raise UserError(f"batch_norm: expected one of {', '.join(BATCH_NORM_MODES)}, got {batch_norm!r}")
        per_stage = {
            "depths": depths,
            "inner_dims": inner_dims,
            "inner_num_heads": inner_num_heads,
            "outer_dims": outer_dims,
            "outer_num_heads": outer_num_heads,
            "sr_ratios": sr_ratios,
            "relative_pos": relative_pos,
        }
        for name, values in per_stage.items():
            if len(values) != 4:
                raise UserError(f"{name}: expected one number for each of the four stages, got {list(values)}")
        for kind, dims, heads in (("inner", inner_dims, inner_num_heads), ("outer", outer_dims, outer_num_heads)):
            if any(d % h for d, h in zip(dims, heads, strict=True)):
                raise UserError(f"{kind}_dims: expected multiples of {kind}_num_heads {list(heads)}, got {list(dims)}")

        grids, table_grids = stage_grids(self.image_size), stage_grids(self.table_size)
        for grid, ratio in zip((*grids, *table_grids), (*sr_ratios, *sr_ratios), strict=True):
            if grid[0] % ratio or grid[1] % ratio:
                raise UserError(f"sr_ratios: {ratio} does not divide its stage's grid of {grid[0]} x {grid[1]} tokens")
        self.grid_sizes, self.table_grids = grids, table_grids
        self.sr_ratios = tuple(sr_ratios)
        self.num_classes = num_classes
        self.feature_info = tuple(FeatureInfo(dim, STEM_STRIDE * 2**i) for i, dim in enumerate(outer_dims))

        self.patch_embed = Stem(in_channels, inner_dims[0], outer_dims[0], batch_norm)
        position = Normal(0.02)
        num_patches = table_grids[0][0] * table_grids[0][1]
        self.resize_outer_pos = None if table_grids[0] == grids[0] else ResizedPosEmbed(table_grids[0], grids[0])
        self.outer_pos = Parameter(initializer(position, (1, num_patches, outer_dims[0])), name="outer_pos")
        self.inner_pos = Parameter(initializer(position, (1, NUM_WORDS, inner_dims[0])), name="inner_pos")
        self.pos_drop = Dropout(drop_rate)
        rates = drop_path_rates(drop_path_rate, sum(depths))
        self.stages = nn.CellList(
            [
                Stage(
                    num_blocks=depths[i],
                    drop_path_rates=rates[sum(depths[:i]) : sum(depths[: i + 1])],
                    grid=grids[i],
                    sr_ratio=sr_ratios[i],
                    outer_num_heads=outer_num_heads[i],
                    outer_dim=outer_dims[i],
                    inner_dim=inner_dims[i],
                    inner_num_heads=inner_num_heads[i],
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    se=se,
                    table_grid=table_grids[i],
                    uses_relative_pos=relative_pos[i],
                )
                for i in range(4)
            ]
        )
        self.word_merges = nn.CellList([WordAggregation(inner_dims[i], inner_dims[i + 1], grids[i]) for i in range(3)])
        self.sentence_merges = nn.CellList(
            [SentenceAggregation(outer_dims[i], outer_dims[i + 1], grids[i]) for i in range(3)]
        )
        self.norm = LayerNorm(outer_dims[-1])
        self.head = Linear(outer_dims[-1], num_classes) if num_classes > 0 else nn.Identity()

    def no_weight_decay(self) -> set[str]:
        """Parameters that the authors exempt from weight decay although they have more than one dimension."""
        return {"outer_pos", "inner_pos"}

    def table_resizers(self, image_size: tuple[int, int]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """What makes a table of this network's size of each whose size follows the image's, by its name.

        Args:
            image_size: (height, width) in pixels that the tables at hand are for.
        """
        old_grids, new_grids = stage_grids(image_size), self.table_grids
        resizers = {"outer_pos": lambda table: resize_pos_embed(table, old_grids[0], new_grids[0], num_prefix_tokens=0)}
        for i, ratio in enumerate(self.sr_ratios):
            old_keys, new_keys = ((grid[0] // ratio, grid[1] // ratio) for grid in (old_grids[i], new_grids[i]))
            resizers[f"stages.{i}.relative_pos"] = partial(
                resize_relative_pos,
                old_query_grid=old_grids[i],
                old_key_grid=old_keys,
                new_query_grid=new_grids[i],
                new_key_grid=new_keys,
            )
        return resizers

    def forward_stages(self, images, num_stages: int):
        """Sentences after each of the first `num_stages` stages, (B, N, D) each, before the final norm."""
        inner_tokens, outer_tokens = self.patch_embed(images)
        inner_tokens = inner_tokens + self.inner_pos
        outer_pos = self.outer_pos if self.resize_outer_pos is None else self.resize_outer_pos(self.outer_pos)
        outer_tokens = outer_tokens + self.pos_drop(outer_pos)  # the authors drop entries of the table itself
        sentences = ()
        for i in range(num_stages):
            if i > 0:
                inner_tokens = self.word_merges[i - 1](inner_tokens)
                outer_tokens = self.sentence_merges[i - 1](outer_tokens)
            inner_tokens, outer_tokens = self.stages[i](inner_tokens, outer_tokens)
            sentences = sentences + (outer_tokens,)
        return sentences

    def block_stages(self) -> list[list[nn.Cell]]:
        """The transformer blocks; those of a list get inputs of the same shapes."""
        return [list(stage.blocks) for stage in self.stages]

    def forward_features(self, images):
        """(B, in_channels, H, W) -> sentences of the last stage after the final norm, (B, N, D)."""
        return self.norm(self.forward_stages(images, 4)[3])

    def forward_head(self, features, pre_logits: bool = False):
        """(B, N, D) -> logits (B, K), or the mean over sentences (B, D) with `pre_logits` or without a head."""
        pooled = features.mean(axis=1)
        return pooled if pre_logits else self.head(pooled)

    def forward_maps(self, images, stages):
        """Sentences after each of `stages` (counted from 0), each (B, D, H_out, W_out): strides 8, 16, 32, 64."""
        sentences = self.forward_stages(images, max(stages) + 1)
        maps = ()
        for i in stages:
            x = ops.transpose(sentences[i], (0, 2, 1))  # B D N
            maps = maps + (x.reshape(-1, x.shape[1], *self.grid_sizes[i]),)
        return maps

    def construct(self, images):
        return self.forward_head(self.forward_features(images))


def _variant(image_size: int, top1: float, **structure) -> Variant:
    return Variant(
        PyramidTNT, image_size, mean=(0.5,) * 3, std=(0.5,) * 3, structure=structure, published={"top1": top1}
    )


# Sizes: the authors' pyramid_tnt.py; accuracy: their readme.
VARIANTS = {
    "ptnt_ti_patch16_192": _variant(
        192,
        75.2,
        depths=(2, 6, 3, 2),
        outer_dims=(80, 160, 320, 320),
        inner_dims=(5, 10, 20, 20),
        outer_num_heads=(2, 4, 8, 8),
        inner_num_heads=(1, 2, 4, 4),
    ),
    "ptnt_s_patch16_256": _variant(
        256,
        82.0,
        depths=(2, 8, 4, 2),
        outer_dims=(128, 256, 512, 512),
        inner_dims=(8, 16, 32, 32),
        outer_num_heads=(4, 8, 16, 16),
        inner_num_heads=(2, 4, 8, 8),
    ),
    "ptnt_m_patch16_256": _variant(
        256,
        83.5,
        depths=(2, 8, 6, 2),
        outer_dims=(192, 384, 768, 768),
        inner_dims=(12, 24, 48, 48),
        outer_num_heads=(4, 8, 16, 16),
        inner_num_heads=(2, 4, 8, 8),
    ),
    "ptnt_b_patch16_256": _variant(
        256,
        84.1,
        depths=(2, 10, 6, 2),
        outer_dims=(256, 512, 1024, 1024),
        inner_dims=(16, 32, 64, 64),
        outer_num_heads=(4, 8, 16, 16),
        inner_num_heads=(2, 4, 8, 8),
    ),
}
