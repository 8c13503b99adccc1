"""T2T-ViT: a deep, narrow vision transformer over overlapping tokens.

Source: Yuan et al., Tokens-to-Token ViT: Training Vision Transformers from Scratch on ImageNet, ICCV 2021
(arXiv 2101.11986); reference files models/t2t_vit*.py of yitu-opensource/T2T-ViT. Attribute names are the authors', so
that their weights load by name. Every oddity kept, and every departure, is listed in docs/differences.md.

Shapes: B batch, N tokens of the image (H/16 * W/16), L = N + 1 tokens with the class token, D width of the tokens,
K classes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ..errors import UserError
from ..layers.drop_path import drop_path_rates
from ..layers.dropout import Dropout
from ..layers.image_size import to_height_width
from ..layers.linear import Linear
from ..layers.mlp import Mlp
from ..layers.norm import LayerNorm
from ..layers.sinusoid import sinusoid_table
from .t2t_blocks import BLOCK_TYPES, Attention, Block, DenseBlock, Transition, create_block
from .t2t_tokens import STRIDE, TOKENS_TYPES, create_tokens
from .variant import FeatureInfo, Variant

SE_RULE = "T2T-ViT has squeeze-and-excitation only as the variant t2t_vit_14_se, whose gate is not TNT's"


class _Backbone(nn.Cell):
    """Everything but the choice of blocks: tokens, class token, fixed positions, blocks, norm, head.

    Args:
        blocks: cells (B, L, D of the block before) -> (B, L, D).
        dims: D after each of `blocks`.
        The others: see `T2TViT`.
    """

    uses_convolution = False
    """Whether the compiled graph holds convolutions; all of this family are unfold and matrix products."""
    uses_batch_norm = False

    def __init__(
        self,
        image_size: int | Sequence[int],
        in_channels: int,
        num_classes: int,
        tokens_type: str,
        token_dim: int,
        token_drop_rate: float,
        embed_dim: int,
        blocks: Sequence[nn.Cell],
        dims: Sequence[int],
        drop_rate: float,
    ):
        super().__init__()
        self.image_size = to_height_width(image_size, STRIDE, "T2T-ViT")
        if tokens_type not in TOKENS_TYPES:
            raise UserError(f"tokens_type: expected one of {', '.join(TOKENS_TYPES)}, got {tokens_type!r}")
        if token_dim < 2 or token_dim % 2:
            raise UserError(f"token_dim: expected an even number of at least 2, got {token_dim}")
        self.grid_size = (self.image_size[0] // STRIDE, self.image_size[1] // STRIDE)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.num_classes = num_classes
        self.feature_info = tuple(FeatureInfo(dim, STRIDE) for dim in dims)

        self.tokens_to_token = create_tokens(
            tokens_type, self.image_size, in_channels, token_dim, embed_dim, token_drop_rate
        )
        self.cls_token = Parameter(initializer(Normal(0.02), (1, 1, embed_dim)), name="cls_token")
        table = sinusoid_table(self.num_patches + 1, embed_dim)[None]  # position 0 is the class token
        self.pos_embed = Parameter(Tensor(table), name="pos_embed", requires_grad=False)
        self.pos_drop = Dropout(drop_rate)
        self.blocks = nn.CellList(list(blocks))
        self.norm = LayerNorm(dims[-1])
        self.head = Linear(dims[-1], num_classes) if num_classes > 0 else nn.Identity()
        self.concat = ops.Concat(axis=1)

    def no_weight_decay(self) -> set[str]:
        """Parameters that the authors exempt from weight decay although they have more than one dimension."""
        return {"cls_token"}

    def table_resizers(self, image_size: tuple[int, int]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """What makes a table of this network's size of each whose size follows the image's, by its name.

        Args:
            image_size: (height, width) in pixels that the tables at hand are for; sinusoids are computed anew.
        """
        return {"pos_embed": lambda table: sinusoid_table(*self.pos_embed.shape[1:])[None]}

    def embed(self, images):
        """(B, in_channels, H, W) -> class token and tokens with their positions, (B, L, D)."""
        tokens = self.tokens_to_token(images).astype(images.dtype)  # B N D; float32 inside
        cls_token = self.cls_token + ops.zeros_like(tokens[:, :1])  # B 1 D
        return self.pos_drop(self.concat((cls_token, tokens)) + self.pos_embed)

    def block_stages(self) -> list[list[nn.Cell]]:
        """The transformer blocks; those of a list get inputs of the same shapes."""
        return [[block for block in self.blocks if isinstance(block, Block)]]

    def forward_features(self, images):
        """(B, in_channels, H, W) -> class token and tokens after the final norm, (B, L, D)."""
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward_head(self, features, pre_logits: bool = False):
        """(B, L, D) -> logits (B, K), or the class token (B, D) with `pre_logits` or without a head."""
        cls_token = features[:, 0]
        return cls_token if pre_logits else self.head(cls_token)

    def forward_maps(self, images, stages):
        """Tokens after each of the blocks `stages` (counted from 0), each (B, D of the block, H / 16, W / 16)."""
        x = self.embed(images)
        maps = ()
        for index in range(max(stages) + 1):
            x = self.blocks[index](x)
            if index in stages:
                tokens = ops.transpose(x[:, 1:], (0, 2, 1))  # B D N
                maps = maps + (tokens.reshape(-1, tokens.shape[1], *self.grid_size),)
        return maps

    def construct(self, images):
        return self.forward_head(self.forward_features(images))


class T2TViT(_Backbone):
    """T2T-ViT, (B, in_channels, H, W) -> (B, K); with `num_classes=0` features (B, D).

    Args:
        image_size: side or (height, width) in pixels, multiples of 16.
        in_channels: channels of the image.
        num_classes: K; 0 leaves the head out.
        tokens_type: 'performer' or 'transformer' token layers between soft splits, three plain 'convolution's, or one
            convolution over each 'patch' of 16 x 16, which is ViT's.
        token_dim: width of the token layers.
        embed_dim: D.
        depth: number of blocks.
        num_heads: heads of the blocks.
        mlp_ratio: hidden width of the MLPs as a multiple of D.
        qkv_bias: add a bias to queries, keys and values of the blocks.
        block_type: 'plain', 'se' or 'ghost' blocks.
        se: asks for squeeze-and-excitation, which only 'se' blocks have; refused with all others.
        token_drop_rate: dropout of the performer, a constant in the authors' code and apart from `drop_rate`.
        drop_rate: dropout after the position table, in MLPs and after attention.
        attn_drop_rate: dropout on attention weights.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.

    Raises:
        UserError: an image size, width, head count, ratio or type that does not fit.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        tokens_type: str = "performer",
        token_dim: int = 64,
        embed_dim: int = 384,
        depth: int = 14,
        num_heads: int = 6,
        mlp_ratio: float = 3.0,
        qkv_bias: bool = False,
        block_type: str = "plain",
        se: bool = False,
        token_drop_rate: float = 0.1,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        if block_type not in BLOCK_TYPES:
            raise UserError(f"block_type: expected one of {', '.join(BLOCK_TYPES)}, got {block_type!r}")
        if se and block_type != "se":
            raise UserError(f"se: {SE_RULE}; got se=True with {block_type!r} blocks")
        if depth < 1:
            raise UserError(f"depth: expected at least one block, got {depth}")
        if embed_dim % num_heads:
            raise UserError(f"embed_dim: expected a multiple of num_heads = {num_heads}, got {embed_dim}")
        if block_type == "ghost" and (mlp_ratio != 3.0 or embed_dim % 2):
            raise UserError(
                f"ghost blocks need mlp_ratio = 3 and an even embed_dim, got mlp_ratio = {mlp_ratio} and "
                f"embed_dim = {embed_dim}"
            )
        blocks = [
            create_block(block_type, embed_dim, num_heads, mlp_ratio, qkv_bias, drop_rate, attn_drop_rate, rate)
            for rate in drop_path_rates(drop_path_rate, depth)
        ]
        super().__init__(
            image_size=image_size,
            in_channels=in_channels,
            num_classes=num_classes,
            tokens_type=tokens_type,
            token_dim=token_dim,
            token_drop_rate=token_drop_rate,
            embed_dim=embed_dim,
            blocks=blocks,
            dims=[embed_dim] * depth,
            drop_rate=drop_rate,
        )


class T2TViTDense(_Backbone):
    """T2T-ViT with densely connected blocks, (B, in_channels, H, W) -> (B, K); with `num_classes=0` features (B, D).

    D grows by `growth_rate` in each block, and a transition after every stage but the last halves it: 128 to 320, 160
    to 544, 272 to 656, 328 to 584 in the published network. Transitions count as blocks in `feature_info`.

    Args:
        block_config: dense blocks of each stage.
        embed_dim: D of the tokens that enter the first block.
        growth_rate: channels that each dense block appends.
        drop_path_rate: as the authors do, their rule for twelve blocks applied to the number of the stage: at 0.1 the
            stages have 0, 0.009, 0.018 and 0.027.
        The others: see `T2TViT`.

    Raises:
        UserError: an image size, width, head count or type that does not fit.
    """

    def __init__(
        self,
        image_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        num_classes: int = 1000,
        tokens_type: str = "performer",
        token_dim: int = 64,
        embed_dim: int = 128,
        growth_rate: int = 64,
        block_config: Sequence[int] = (3, 6, 6, 4),
        num_heads: int = 8,
        mlp_ratio: float = 2.0,
        qkv_bias: bool = False,
        se: bool = False,
        token_drop_rate: float = 0.1,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ):
        if se:
            raise UserError(f"se: {SE_RULE}; got se=True with dense blocks")
        if not 1 <= len(block_config) <= 12 or min(block_config) < 1:
            raise UserError(f"block_config: expected 1 to 12 stages of at least one block, got {list(block_config)}")
        rates = drop_path_rates(drop_path_rate, 12)
        blocks, dims, dim = [], [], embed_dim
        for stage, num_blocks in enumerate(block_config):
            if stage > 0:
                blocks.append(Transition(dim, dim // 2))
                dim = dim // 2
                dims.append(dim)
            for _ in range(num_blocks):
                if dim % num_heads:
                    raise UserError(
                        f"embed_dim, growth_rate, block_config: every block's width must be a multiple of "
                        f"num_heads = {num_heads}, got a width of {dim}"
                    )
                attn = Attention(dim, num_heads, qkv_bias, attn_drop_rate, drop_rate)
                mlp = Mlp(dim, int(dim * mlp_ratio), drop_rate)
                blocks.append(DenseBlock(dim, growth_rate, attn, mlp, rates[stage]))
                dim += growth_rate
                dims.append(dim)
        super().__init__(
            image_size=image_size,
            in_channels=in_channels,
            num_classes=num_classes,
            tokens_type=tokens_type,
            token_dim=token_dim,
            token_drop_rate=token_drop_rate,
            embed_dim=embed_dim,
            blocks=blocks,
            dims=dims,
            drop_rate=drop_rate,
        )


def _variant(top1: float, top5: float | None = None, network: type[nn.Cell] = T2TViT, **structure) -> Variant:
    published = {"top1": top1} if top5 is None else {"top1": top1, "top5": top5}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Variant(network, image_size=224, mean=mean, std=std, structure=structure, published=published)


_LITE = {"embed_dim": 256, "num_heads": 4, "mlp_ratio": 2.0}
_14 = {"embed_dim": 384, "depth": 14, "num_heads": 6, "mlp_ratio": 3.0}
_19 = {"embed_dim": 448, "depth": 19, "num_heads": 7, "mlp_ratio": 3.0}
_24 = {"embed_dim": 512, "depth": 24, "num_heads": 8, "mlp_ratio": 3.0}

# Sizes: paper Table 1 and the authors' models/*.py (which have depth 7, 4 and 16 where the paper prints 8, 14 and 14).
# Top-1: the authors' readme, and paper Tables 6 and 7 (for the wide network 77.9 in Table 6; Table 7 prints 78.8 for
# the same sizes). Top-5: the authors' readme gives it for t2t_vit_14 only.
VARIANTS = {
    "t2t_vit_7": _variant(71.7, tokens_type="performer", depth=7, **_LITE),
    "t2t_vit_10": _variant(75.2, tokens_type="performer", depth=10, **_LITE),
    "t2t_vit_12": _variant(76.5, tokens_type="performer", depth=12, **_LITE),
    "t2t_vit_14": _variant(81.5, 95.67, tokens_type="performer", **_14),
    "t2t_vit_19": _variant(81.9, tokens_type="performer", **_19),
    "t2t_vit_24": _variant(82.3, tokens_type="performer", **_24),
    "t2t_vit_t_14": _variant(81.7, tokens_type="transformer", **_14),
    "t2t_vit_t_19": _variant(82.4, tokens_type="transformer", **_19),
    "t2t_vit_t_24": _variant(82.6, tokens_type="transformer", **_24),
    "t2t_vit_c_14": _variant(80.8, tokens_type="convolution", **_14),
    "t2t_vit_14_resnext": _variant(81.5, tokens_type="performer", **{**_14, "num_heads": 32}),
    "t2t_vit_14_wide": _variant(77.9, tokens_type="performer", embed_dim=768, depth=4, num_heads=12, mlp_ratio=3.0),
    "t2t_vit_14_se": _variant(81.6, tokens_type="performer", **_14, block_type="se"),
    "t2t_vit_16_ghost": _variant(79.5, tokens_type="performer", **{**_14, "depth": 16}, block_type="ghost"),
    "t2t_vit_dense": _variant(
        80.6,
        network=T2TViTDense,
        tokens_type="performer",
        embed_dim=128,
        growth_rate=64,
        block_config=(3, 6, 6, 4),
        num_heads=8,
        mlp_ratio=2.0,
    ),
}
