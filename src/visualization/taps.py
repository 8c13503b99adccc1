"""What a network computes on its way: the attention weights and the tokens of every layer.

MindSpore ignores hooks in graph mode, so the network runs eagerly here, with hooks that note what goes into its
attention cells and comes out of its blocks. Nothing in the network changes. No cell gives its attention weights away:
they are computed once more from the noted input, with the cell's own projections.

Shapes: B images, h heads, L tokens that look (queries), S that are looked at (keys), N sentences, M words, D width. A
class token, where there is one, comes first in L and in S.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ..models import pyramid_tnt, t2t_blocks, tnt
from ..models.pyramid_tnt import STEM_STRIDE, PyramidTNT
from ..models.t2t_tokens import STRIDE, TokenAttention, TokenPerformer, TokensToToken, TokenTransformer
from ..models.t2t_vit import T2TViT, T2TViTDense
from ..models.tnt import TNT

TOKEN_LAYERS = "token layers"
"""The group of the layers that come before T2T-ViT's blocks."""

LARGEST_TOKEN_MAP = 256
"""Tokens of a token layer up to which its attention is kept as it is; at 224 pixels it has 3136 x 3136 weights."""


@dataclass(frozen=True)
class AttentionTaps:
    """Who looks where in one attention.

    Attributes:
        weights: (B, h, L, S) float32; every row sums to 1.
        query_grid, key_grid: (height, width) of the queries and keys, without class token.
        query_stride, key_stride: pixels between two of them.
        num_prefix_tokens: 1 where a class token comes before them, else 0.
    """

    weights: np.ndarray
    query_grid: tuple[int, int]
    key_grid: tuple[int, int]
    query_stride: int
    key_stride: int
    num_prefix_tokens: int

    def maps(self, image: int, query: int | None) -> np.ndarray:
        """Where `query` looks: (h, *key_grid); None: the class token, or where there is none the mean of all."""
        weights = self.weights[image]
        if query is None:
            rows = weights[:, 0] if self.num_prefix_tokens else weights.mean(axis=1)
        else:
            rows = weights[:, self.num_prefix_tokens + query]
        return rows[:, self.num_prefix_tokens :].reshape(-1, *self.key_grid)

    def query_at(self, x: float, y: float) -> int:
        """The query in whose square the pixel (x, y) lies, without class token."""
        height, width = self.query_grid
        row, column = int(y // self.query_stride), int(x // self.query_stride)
        return min(row, height - 1) * width + min(column, width - 1)


@dataclass(frozen=True)
class LayerTaps:
    """One layer.

    Attributes:
        name: 'block 3', 'stage 2, block 1', 'token layer 1', 'transition 4'.
        group: layers of one grid that are drawn together: 'blocks', 'stage 2', 'token layers'.
        grid: (height, width) of its tokens, without class token.
        stride: pixels between two tokens.
        num_prefix_tokens: 1 with a class token, else 0.
        tokens: (B, L, D) after the layer.
        attention: of the sentences; None where the layer has none.
        inner_attention: (B, N, h, M, M) of the words within each sentence; None where the layer has no words.
    """

    name: str
    group: str
    grid: tuple[int, int]
    stride: int
    num_prefix_tokens: int
    tokens: np.ndarray
    attention: AttentionTaps | None
    inner_attention: np.ndarray | None

    def maps(self) -> np.ndarray:
        """The tokens without class token as maps, (B, D, height, width)."""
        tokens = self.tokens[:, self.num_prefix_tokens :].swapaxes(1, 2)
        return tokens.reshape(*tokens.shape[:2], *self.grid)


@dataclass(frozen=True)
class Taps:
    """A network's way from images to logits.

    Attributes:
        logits: (B, K).
        layers: in the order in which they run.
    """

    logits: np.ndarray
    layers: list[LayerTaps]

    def blocks(self) -> list[LayerTaps]:
        """The layers without T2T-ViT's token layers."""
        return [layer for layer in self.layers if layer.group != TOKEN_LAYERS]


@dataclass(frozen=True)
class _Place:
    """Where in a network a layer is: the cells to hook, and the geometry of its tokens."""

    name: str
    group: str
    grid: tuple[int, int]
    stride: int
    num_prefix_tokens: int
    cell: nn.Cell
    attention: nn.Cell | None
    inner_attention: nn.Cell | None = None
    sr_ratio: int = 1
    is_pooled: bool = False


def record(net: nn.Cell, images: np.ndarray) -> Taps:
    """Runs `net` eagerly and notes what its layers compute. The mode is as before afterwards.

    Args:
        net: a TNT, PyramidTNT or T2T-ViT in evaluation mode.
        images: (B, C, H, W) float32, normalised.
    """
    places = find_layers(net)
    cells = [cell for place in places for cell in (place.cell, place.attention, place.inner_attention)]
    with eager_mode():
        with noted([cell for cell in cells if cell is not None]) as notes:
            logits = net(Tensor(images)).asnumpy()
        return Taps(logits, [_layer_taps(place, notes) for place in places])


@contextmanager
def eager_mode() -> Iterator[None]:
    """PyNative mode for a while."""
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=before)


@contextmanager
def noted(cells: list[nn.Cell]) -> Iterator[dict[int, tuple[tuple, Any]]]:
    """Notes (inputs, output) of the latest call of each cell, by the cell's `id`."""
    notes: dict[int, tuple[tuple, Any]] = {}

    def note(cell, inputs, output):
        notes[id(cell)] = (inputs, output)

    handles = [cell.register_forward_hook(note) for cell in cells]
    try:
        yield notes
    finally:
        for handle in handles:
            handle.remove()


@singledispatch
def find_layers(net: nn.Cell) -> list[_Place]:
    """The layers of a network.

    Raises:
        TypeError: a network of another family.
    """
    raise TypeError(f"expected a TNT, PyramidTNT or T2T-ViT, got {type(net).__name__}")


@find_layers.register
def _(net: TNT) -> list[_Place]:
    return [
        _Place(
            f"block {number}",
            "blocks",
            net.grid_size,
            net.patch_size,
            num_prefix_tokens=1,
            cell=block,
            attention=block.outer_attn,
            inner_attention=block.inner_attn if block.has_inner else None,
        )
        for number, block in enumerate(net.blocks, start=1)
    ]


@find_layers.register
def _(net: PyramidTNT) -> list[_Place]:
    return [
        _Place(
            f"stage {index + 1}, block {number}",
            f"stage {index + 1}",
            net.grid_sizes[index],
            STEM_STRIDE * 2**index,
            num_prefix_tokens=0,
            cell=block,
            attention=block.outer_attn,
            inner_attention=block.inner_attn if block.has_inner else None,
            sr_ratio=net.sr_ratios[index],
        )
        for index, stage in enumerate(net.stages)
        for number, block in enumerate(stage.blocks, start=1)
    ]


@find_layers.register(T2TViT)
@find_layers.register(T2TViTDense)
def _(net: T2TViT | T2TViTDense) -> list[_Place]:
    places = []
    tokens = net.tokens_to_token
    if isinstance(tokens, TokensToToken):
        for number, (cell, stride) in enumerate(((tokens.attention1, 4), (tokens.attention2, 8)), start=1):
            grid = (net.image_size[0] // stride, net.image_size[1] // stride)
            attention = cell.attn if isinstance(cell, TokenTransformer) else cell
            is_pooled = grid[0] * grid[1] > LARGEST_TOKEN_MAP
            places.append(
                _Place(f"token layer {number}", TOKEN_LAYERS, grid, stride, 0, cell, attention, is_pooled=is_pooled)
            )
    for number, block in enumerate(net.blocks, start=1):
        is_block = isinstance(block, t2t_blocks.Block)
        name = f"block {number}" if is_block else f"transition {number}"
        places.append(_Place(name, "blocks", net.grid_size, STRIDE, 1, block, block.attn if is_block else None))
    return places


def _layer_taps(place: _Place, notes: dict[int, tuple[tuple, Any]]) -> LayerTaps:
    output = notes[id(place.cell)][1]
    tokens = output[-1] if isinstance(output, tuple) else output  # blocks with words give them before the sentences
    attention = inner_attention = None
    if place.attention is not None:
        attention = _attention_taps(place, notes[id(place.attention)][0])
    if place.inner_attention is not None:
        weights, _ = attend(place.inner_attention, *notes[id(place.inner_attention)][0])  # B*N h M M
        inner_attention = weights.reshape(-1, place.grid[0] * place.grid[1], *weights.shape[1:])
    return LayerTaps(
        place.name,
        place.group,
        place.grid,
        place.stride,
        place.num_prefix_tokens,
        tokens.asnumpy(),
        attention,
        inner_attention,
    )


def _attention_taps(place: _Place, inputs: tuple) -> AttentionTaps:
    if place.is_pooled:  # one image at a time: the whole matrix of a batch would be large
        ratio = STRIDE // place.stride
        images = [inputs[0][index : index + 1] for index in range(inputs[0].shape[0])]
        weights = np.concatenate([pool_attention(attend(place.attention, x)[0], place.grid, ratio) for x in images])
        grid = (place.grid[0] // ratio, place.grid[1] // ratio)
        return AttentionTaps(weights, grid, grid, STRIDE, STRIDE, 0)
    weights, _ = attend(place.attention, *inputs)
    ratio = place.sr_ratio
    key_grid = (place.grid[0] // ratio, place.grid[1] // ratio)
    return AttentionTaps(weights, place.grid, key_grid, place.stride, ratio * place.stride, place.num_prefix_tokens)


def pool_attention(weights: np.ndarray, grid: tuple[int, int], ratio: int) -> np.ndarray:
    """The attention between squares of ratio x ratio tokens: mean over those that look, sum over those looked at.

    Args:
        weights: (B, h, N, N), N tokens row-major.
        grid: (height, width) of the tokens, multiples of `ratio`.
        ratio: side of the squares.
    """
    height, width = grid[0] // ratio, grid[1] // ratio
    squares = weights.reshape(*weights.shape[:2], height, ratio, width, ratio, height, ratio, width, ratio)
    return squares.mean(axis=(3, 5)).sum(axis=(5, 7)).reshape(*weights.shape[:2], height * width, height * width)


@singledispatch
def attend(cell: nn.Cell, x: Tensor, *rest: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """The weights and values of an attention cell for its input `x`: (B, h, L, S), (B, h, S, D / h).

    Weights times values, heads side by side, are what the cell's `proj` is applied to.

    Raises:
        TypeError: a cell that is no attention.
    """
    raise TypeError(f"expected an attention cell, got {type(cell).__name__}")


@attend.register
def _(cell: tnt.Attention, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    q, k = _parts(cell.qk(x), 2)
    return _softmax_attention(q, k, cell.v(x).asnumpy(), cell.attention.num_heads)


@attend.register
def _(cell: pyramid_tnt.Attention, x: Tensor, relative_pos: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    k, v = _parts(cell.kv(cell.reduce(x) if cell.sr_ratio > 1 else x), 2)
    bias = None if relative_pos is None else relative_pos.asnumpy()
    return _softmax_attention(cell.q(x).asnumpy(), k, v, cell.attention.num_heads, bias=bias)


@attend.register
def _(cell: t2t_blocks.Attention, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return _softmax_attention(*_parts(cell.qkv(x), 3), cell.attention.num_heads)


@attend.register
def _(cell: t2t_blocks.GhostAttention, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    q, k, v = (
        np.concatenate([half.asnumpy(), copy(half).asnumpy()], axis=2)
        for half, copy in (
            (cell.q(x), cell.cheap_operation_q),
            (cell.k(x), cell.cheap_operation_k),
            (cell.v(x), cell.cheap_operation_v),
        )
    )
    return _softmax_attention(q, k, v, cell.attention.num_heads)


@attend.register
def _(cell: TokenAttention, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return _softmax_attention(*_parts(cell.qkv(x), 3), num_heads=1, scale=x.shape[2] ** -0.5)


@attend.register
def _(cell: TokenPerformer, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The performer never forms this matrix: phi(q) phi(k)^T, each row divided by its sum + 1e-8."""
    k, q, v = _parts(cell.kqv(cell.norm1(x)), 3)
    w = cell.w.asnumpy()

    def phi(values: np.ndarray) -> np.ndarray:
        half_square = 0.5 * np.square(values).sum(axis=2, keepdims=True)
        return np.exp(values @ w.T - half_square) / np.sqrt(np.float32(len(w)))

    products = phi(q) @ phi(k).swapaxes(1, 2)  # B T T
    weights = products / (products.sum(axis=2, keepdims=True) + 1e-8)
    return weights[:, None], v[:, None]


def _parts(x: Tensor, count: int) -> list[np.ndarray]:
    return np.split(x.asnumpy(), count, axis=-1)


def _softmax_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    num_heads: int,
    scale: float | None = None,
    bias: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """softmax(q k^T * scale + bias) and v by heads; the scale is (width of a head) ** -0.5 when None."""
    q, k, v = (x.reshape(*x.shape[:2], num_heads, -1).swapaxes(1, 2) for x in (q, k, v))  # B h L d
    scores = q @ k.swapaxes(2, 3) * np.float32(q.shape[3] ** -0.5 if scale is None else scale)  # B h L S
    if bias is not None:
        scores = scores + bias
    weights = np.exp(scores - scores.max(axis=3, keepdims=True))
    return weights / weights.sum(axis=3, keepdims=True), v
