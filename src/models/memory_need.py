"""What a network needs, told from its arguments alone, before anything is built.

Counted is what grows with widths, depth and image, and makes up nearly all of the published networks: matrices and
tables of the weights; inputs and outputs of the layers of each block. Norms, biases and small layers are left out, so
that the true numbers are higher.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from ..layers.image_size import to_sides
from .pyramid_tnt import NUM_WORDS, PyramidTNT, stage_grids
from .t2t_tokens import STRIDE
from .t2t_vit import T2TViTDense
from .tnt import TNT


def num_weights(network: type, arguments: Mapping[str, Any]) -> int:
    """Numbers in the weights of a network, nearly all of them.

    Args:
        network: its class.
        arguments: all arguments of its constructor, as `resolve_arguments` gives them.
    """
    a = arguments
    square = 4 + 2 * a["mlp_ratio"]  # matrices of a block, in squares of its width: q, k, v, output, two of the MLP
    if network is TNT:
        words = _num_words(a) * a["inner_dim"] * a["outer_dim"]
        inner = _num_inner(a) * (square * a["inner_dim"] ** 2 + words)
        tables = 2 * _num_tokens(a, a["patch_size"]) * a["outer_dim"]
        outer = a["depth"] * square * a["outer_dim"] ** 2
        return int(outer + inner + words + tables + a["outer_dim"] * a["num_classes"])
    if network is PyramidTNT:
        total = a["outer_dims"][3] * a["num_classes"]
        for i, (_, scores) in enumerate(_stages(a)):
            inner, outer, depth = a["inner_dims"][i], a["outer_dims"][i], a["depths"][i]
            words = square * inner**2 + NUM_WORDS * inner * outer
            total += depth * square * outer**2 + (2 if depth > 6 else 1) * words + scores
            if i < 3:
                total += 9 * (outer * a["outer_dims"][i + 1] + inner * a["inner_dims"][i + 1])
        return int(total)
    if a.get("block_type") == "ghost":
        square = 6.5  # half of queries, keys and values is computed, and a third of the MLP's first layer
    widths = _widths(network, a)
    total = _num_tokens(a, STRIDE) * widths[0] + sum(square * width**2 for width in widths)
    if network is T2TViTDense:
        total += sum(width * a["growth_rate"] for width in widths)
    return int(total + widths[-1] * a["num_classes"])


def num_activations(network: type, arguments: Mapping[str, Any]) -> list[int]:
    """Numbers that go into and come out of the layers of each block for one image; see `num_weights`.

    Training keeps them for the backward pass. Measured with MindSpore 2.10 on CPU, an image more in a batch takes 2 to
    3 times as many as all together in training, and 0.4 to 0.9 times as many in evaluation.
    """
    a = arguments
    values = 10 + 2 * a["mlp_ratio"]  # of a block, in tokens * width

    def block(num_tokens: int, width: int, scores: int) -> int:
        return int(values * num_tokens * width) + 2 * scores  # before and after the softmax

    if network is TNT:
        patches, words = _num_tokens(a, a["patch_size"]), _num_words(a)
        inner = block(patches * words, a["inner_dim"], patches * a["inner_num_heads"] * words**2)
        outer = block(patches, a["outer_dim"], a["outer_num_heads"] * patches**2)
        return [inner] * _num_inner(a) + [outer] * a["depth"]
    if network is PyramidTNT:
        blocks = []
        for i, (patches, scores) in enumerate(_stages(a)):
            depth, inner_scores = a["depths"][i], patches * a["inner_num_heads"][i] * NUM_WORDS**2
            blocks += [block(patches, a["outer_dims"][i], scores)] * depth
            blocks += [block(patches * NUM_WORDS, a["inner_dims"][i], inner_scores)] * (2 if depth > 6 else 1)
        return blocks
    patches = _num_tokens(a, STRIDE)
    blocks = [block(patches, width, a["num_heads"] * patches**2) for width in _widths(network, a)]
    if a["tokens_type"] in ("performer", "transformer"):
        for stride, window in ((4, 49 * a["in_channels"]), (8, 9 * a["token_dim"])):  # soft splits and token layers
            tokens = _num_tokens(a, stride)
            scores = 2 * tokens**2 if a["tokens_type"] == "transformer" else 0
            blocks.append(tokens * (2 * window + 10 * a["token_dim"]) + scores)
    return blocks


def _num_tokens(arguments: Mapping[str, Any], stride: int) -> int:
    return prod(side // stride for side in to_sides(arguments["image_size"]))


def _num_words(arguments: Mapping[str, Any]) -> int:
    """Words of a patch of TNT."""
    return (-(-arguments["patch_size"] // arguments["inner_stride"])) ** 2


def _num_inner(arguments: Mapping[str, Any]) -> int:
    """Blocks of TNT with words."""
    blocks = arguments["inner_blocks"]
    return arguments["depth"] if blocks is None else len(set(blocks))


def _stages(arguments: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Sentences of each stage of PyramidTNT, and pairs of a query and a key in all heads, as many as its table has."""
    grids = stage_grids(to_sides(arguments["image_size"]))
    return [
        (prod(grid), heads * prod(grid) * prod(side // ratio for side in grid))
        for grid, heads, ratio in zip(grids, arguments["outer_num_heads"], arguments["sr_ratios"], strict=True)
    ]


def _widths(network: type, arguments: Mapping[str, Any]) -> list[int]:
    """D in each block of T2T-ViT."""
    width = arguments["embed_dim"]
    if network is not T2TViTDense:
        return [width] * arguments["depth"]
    widths = []
    for stage, num_blocks in enumerate(arguments["block_config"]):
        width = width // 2 if stage else width
        widths += [width + index * arguments["growth_rate"] for index in range(num_blocks)]
        width += num_blocks * arguments["growth_rate"]
    return widths
