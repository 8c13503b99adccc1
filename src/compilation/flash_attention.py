"""Attention as one operator of Ascend, which never holds the scores of all pairs of tokens in memory.

Not run, for want of an Atlas A2: tests compile the graph, and compare what the operator is given with the plain form by
the formula that MindSpore documents for it.
"""

import itertools

from mindspore import nn

from ..errors import UserError
from ..layers.attention import ScaledDotProductAttention
from .mixed_precision import HALF_TYPES

HEAD_MULTIPLE, HEAD_MAXIMUM = 16, 512
"""Widths of a head that the operator takes."""


def use_flash_attention(net: nn.Cell, precision: str, device: str) -> None:
    """Makes the attentions in the blocks of `net` use it where their heads are a multiple of 16 wide, up to 512.

    Those are the outer transformers of TNT and of PyramidTNT-S, M and B, and the blocks of T2T-ViT. T2T-ViT's token
    layers are computed in float32, which the operator does not take. To be called before the network is compiled.

    Args:
        net: a network of `create_model`.
        precision: of its products.
        device: CPU, GPU or Ascend.

    Raises:
        UserError: the device is not Ascend, the precision not half, no attention of the network has such heads, or one
            has dropout on its weights.
    """
    halves = " or ".join(HALF_TYPES)
    if device != "Ascend" or precision not in HALF_TYPES:
        raise UserError(
            f"train.flash_attention: expected device Ascend and train.precision {halves}, got {device} and "
            f"{precision}; leave it out"
        )
    cells = [cell for block in itertools.chain(*net.block_stages()) for _, cell in block.cells_and_names()]
    attentions = [cell for cell in cells if isinstance(cell, ScaledDotProductAttention)]
    able = [a for a in attentions if a.head_dim % HEAD_MULTIPLE == 0 and a.head_dim <= HEAD_MAXIMUM]
    if not able:
        widths = ", ".join(map(str, sorted({attention.head_dim for attention in attentions})))
        raise UserError(
            f"train.flash_attention: expected heads of a multiple of {HEAD_MULTIPLE} channels up to {HEAD_MAXIMUM}, "
            f"this network has heads of {widths}; leave it out"
        )
    if any(attention.attn_drop.rate for attention in able):
        raise UserError(
            "train.flash_attention: expected model.attn_drop_rate 0, whose masks cannot be resumed otherwise"
        )
    for attention in able:
        attention.is_flash = True
