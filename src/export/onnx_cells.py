"""Networks as ONNX files, written cell by cell from our own layers.

MindSpore's exporter knows neither erf nor unfold, and fixes the batch size. Here every class of cell says which nodes
compute what its `construct` computes in evaluation; a class that is not known stops the export. What is written
otherwise than in the cell, with the same result: a soft split is a convolution of every channel with the unit vectors
of the window; the last one and its projection are one convolution; zeros in front of the sentences and a table in which
the class token is already added replace the class token's copies.
"""

import math
from collections.abc import Iterator, Sequence
from functools import reduce, singledispatch
from itertools import islice
from math import prod
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn

from ..errors import UserError
from ..layers.activation import GELU
from ..layers.attention import ScaledDotProductAttention
from ..layers.mlp import Mlp
from ..layers.random_mask import RandomMask
from ..layers.resized_pos import ResizedPosEmbed, ResizedRelativePos
from ..layers.squeeze_excitation import SqueezeExcitation
from ..layers.unfold import UnfoldConv2d
from ..models import pyramid_tnt, t2t_blocks, tnt
from ..models.feature_extractor import FeatureExtractor
from ..models.pyramid_tnt import NUM_WORDS, WORD_GRID, PyramidTNT, SentenceAggregation, Stage, Stem, WordAggregation
from ..models.t2t_blocks import ChannelGate, ChannelScale, DenseBlock, GhostAttention, GhostMlp, Transition
from ..models.t2t_tokens import (
    SPLITS,
    ConvolutionTokens,
    Float32Cell,
    PatchTokens,
    TokenAttention,
    TokenPerformer,
    TokensToToken,
    TokenTransformer,
)
from ..models.t2t_vit import T2TViT, T2TViTDense
from ..models.tnt import TNT
from .onnx_graph import INPUT_NAME, LOGITS_NAME, Graph, Value, import_extra

PRODUCT_TYPES = {"float32": np.float32, "float16": np.float16}


def build_onnx(
    net: nn.Cell,
    image_shape: Sequence[int],
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str | None = None,
) -> Any:
    """Writes a network in evaluation mode as an ONNX model, checked by `onnx.checker`.

    The input is `images`, float32 (B, channels, height, width); the outputs, float32, are `logits` (B, K), or `map0`,
    `map1`, ... of a `FeatureExtractor`, or what src/export/onnx_detector.py says of a detector.

    Args:
        net: a network of `create_model`, a `FeatureExtractor` of one, or a `RetinaNet`; it stays as it is.
        image_shape: (channels, height, width).
        batch_size: B; None leaves it open.
        precision: 'float32', or 'float16' for the matrix products and convolutions that
            `src.compilation.mixed_precision.store_half` sets; norms, softmax, sums and the head stay in float32.
        mean, std: of each channel; with them the input is uint8 (B, height, width, channels), and the model computes
            (pixels / 255 - mean) / std first.
        name: of the model; the class of `net` when None.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        UserError: `onnx` is not installed, or an unknown precision.
        TypeError: a cell of a class that is not known here.
    """
    if precision not in PRODUCT_TYPES:
        raise UserError(f"expected a precision of {', '.join(PRODUCT_TYPES)} for an ONNX file, got {precision!r}")
    root = net.net if isinstance(net, FeatureExtractor) else net
    graph = Graph(PRODUCT_TYPES[precision], {id(cell): path for path, cell in root.cells_and_names()})
    batch = batch_size or "batch"
    channels, height, width = image_shape
    if mean is None or std is None:
        images = graph.input(INPUT_NAME, (batch, channels, height, width), np.float32)
    else:
        pixels = graph.input(INPUT_NAME, (batch, height, width, channels), np.uint8).to(np.float32)
        images = ((pixels / 255.0 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    outputs = write_cell(net, images)
    if isinstance(outputs, Value):
        outputs = {LOGITS_NAME: outputs}
    elif isinstance(outputs, list):
        outputs = {f"map{i}": x for i, x in enumerate(outputs)}
    for output_name, value in outputs.items():
        graph.output(output_name, value, batch)
    metadata = {"precision": precision, "mindspore": ms.__version__}
    return graph.to_model(name or type(root).__name__, metadata)


def check_onnx() -> None:
    """Makes sure that ONNX files can be written and run here.

    Raises:
        UserError: `onnx` or `onnxruntime` is not installed.
    """
    import_extra("onnx")
    import_extra("onnxruntime")


def _through(x: Value, *cells: nn.Cell) -> Value:
    """`cells` one after the other."""
    return reduce(lambda value, cell: write_cell(cell, value), cells, x)


def write_cell(cell: nn.Cell, *inputs: Value, in_float32: bool = False) -> Any:
    """The nodes of `cell`, named after its place in the network, in float32 where half-precision files keep that."""
    graph = inputs[0].graph
    float32 = np.float32 if in_float32 or isinstance(cell, Float32Cell | Transition) else None
    with graph.part(graph.paths.get(id(cell)), float32):
        return nodes_of(cell, *inputs)


@singledispatch
def nodes_of(cell: nn.Cell, *inputs: Value) -> Any:
    """What `construct` of `cell` gives for `inputs`."""
    raise TypeError(f"how a {type(cell).__name__} is written as ONNX is not known; add it to src/export/onnx_cells.py")


def parameter_of(graph: Graph, parameter: Parameter, dtype: type[np.floating] = np.float32) -> Value:
    return graph.constant(parameter.asnumpy().astype(dtype), parameter.name)


# Layers


@nodes_of.register(nn.Identity)
@nodes_of.register(RandomMask)
def _(cell: nn.Cell, x: Value) -> Value:
    return x


@nodes_of.register
def _(cell: nn.SequentialCell, x: Value) -> Value:
    return _through(x, *cell.cells())


@nodes_of.register(nn.ReLU)
@nodes_of.register(nn.Tanh)
@nodes_of.register(nn.Sigmoid)
def _(cell: nn.ReLU | nn.Tanh | nn.Sigmoid, x: Value) -> Value:
    return x.node(type(cell).__name__.capitalize())


@nodes_of.register
def _(cell: GELU, x: Value) -> Value:
    return x * ((x / math.sqrt(2.0)).node("Erf") + 1.0) * 0.5  # the form that ONNX Runtime makes one operator of


@nodes_of.register
def _(cell: nn.Dense, x: Value) -> Value:
    dtype = x.graph.product_type
    x = x.to(dtype) @ x.graph.constant(cell.weight.asnumpy().T.astype(dtype), f"{cell.weight.name}.T")
    return x + parameter_of(x.graph, cell.bias, dtype) if cell.has_bias else x


@nodes_of.register
def _(cell: nn.LayerNorm, x: Value) -> Value:
    gain, bias = parameter_of(x.graph, cell.gamma), parameter_of(x.graph, cell.beta)
    return x.to(np.float32).node("LayerNormalization", gain, bias, axis=-1, epsilon=cell.epsilon)


@nodes_of.register
def _(cell: nn.BatchNorm2d, x: Value) -> Value:
    parameters = (cell.gamma, cell.beta, cell.moving_mean, cell.moving_variance)
    parameters = (parameter_of(x.graph, parameter) for parameter in parameters)
    return x.to(np.float32).node("BatchNormalization", *parameters, epsilon=cell.eps)


@nodes_of.register
def _(cell: nn.Conv2d, x: Value) -> Value:
    return _convolve(x, cell.weight, cell.bias, (cell.kernel_size[0], cell.stride[0], cell.padding))


@nodes_of.register
def _(cell: UnfoldConv2d, x: Value) -> Value:
    return _to_tokens(_convolve(x, cell.weight, cell.bias, (cell.kernel_size, cell.stride, cell.padding)))


def _convolve(x: Value, weight: Parameter, bias: Parameter, window: tuple[int, int, int]) -> Value:
    """`weight` of any shape that holds (C', C, kernel, kernel); `window` is kernel, stride and padding."""
    dtype, (kernel, stride, padding) = x.graph.product_type, window
    values = weight.asnumpy().astype(dtype).reshape(-1, x.shape[1], kernel, kernel)
    factors = x.graph.constant(values, weight.name), parameter_of(x.graph, bias, dtype)
    return x.to(dtype).conv(*factors, kernel_size=kernel, stride=stride, padding=padding)


def _to_tokens(x: Value) -> Value:
    """(B, C, H, W) -> (B, H * W, C)."""
    return x.reshape(-1, x.shape[1], prod(x.shape[2:])).transpose(0, 2, 1)


def to_image(x: Value, grid: Sequence[int]) -> Value:
    """(B, H * W, C) -> (B, C, H, W)."""
    return x.transpose(0, 2, 1).reshape(-1, x.shape[2], *grid)


@nodes_of.register
def _(cell: Mlp, x: Value) -> Value:
    return _through(x, cell.fc1, cell.act, cell.fc2)


@nodes_of.register(SqueezeExcitation)
@nodes_of.register(ChannelGate)
def _(cell: SqueezeExcitation | ChannelGate, x: Value) -> Value:
    return x * _through(x.mean(1, keep=True), cell.fc)


@nodes_of.register
def _(cell: ScaledDotProductAttention, q: Value, k: Value, v: Value, *bias: Value) -> Value:
    """`bias`: nothing, a whole table, or two factors of low rank."""

    def heads(x: Value, *order: int) -> Value:
        x = x.to(x.graph.product_type)
        return x.reshape(-1, x.shape[1], cell.num_heads, x.shape[2] // cell.num_heads).transpose(*order)

    # ONNX Runtime multiplies by transposed factors; a transposition of single elements would cost it more
    q, k = heads(q, 0, 2, 1, 3) * cell.scale, heads(k, 0, 2, 1, 3).transpose(0, 1, 3, 2)  # B h L d, B h d S
    if len(bias) == 2:
        of_queries, of_keys = (factor.to(q.dtype).repeat_as(q) for factor in bias)
        q, k = q.concat(of_queries), k.concat(of_keys, axis=2)
    scores = (q @ k).to(np.float32)  # B h L S
    weights = sum(bias if len(bias) == 1 else (), start=scores).node("Softmax", axis=-1)
    v = heads(v, 0, 2, 1, 3)  # B h S e
    x = (weights.to(v.dtype) @ v).transpose(0, 2, 1, 3)  # B L h e
    return x.reshape(-1, x.shape[1], prod(x.shape[2:]))


@nodes_of.register
def _(cell: ResizedPosEmbed, table: Value) -> Value:
    width = table.shape[2]
    return _over_grid(cell.over_grid, table.reshape(-1, width)).reshape(1, prod(cell.over_grid.new), width)


@nodes_of.register
def _(cell: ResizedRelativePos, table: Value) -> tuple[Value, Value]:
    (_, heads, queries, rank), over = table.shape, cell.over_queries
    rows = table.reshape(heads, queries, rank).transpose(1, 0, 2).reshape(queries, heads * rank)
    rows = _over_grid(over, rows).reshape(prod(over.new), heads, rank).transpose(1, 0, 2)
    keys = table.graph.constant(cell.keys.asnumpy(), f"{table.name}/keys_{'x'.join(map(str, cell.keys.shape[2:]))}")
    return rows.reshape(1, heads, prod(over.new), rank), keys


def _over_grid(cell: nn.Cell, x: Value) -> Value:
    """Rows (h * w, C) -> (H * W, C), by a matrix product for each axis."""
    (height, width), (rows, columns), c = cell.old, cell.new, x.shape[1]
    over_rows = x.graph.constant(cell.rows.asnumpy(), f"resize_{height}_to_{rows}")
    over_columns = x.graph.constant(cell.columns.asnumpy(), f"resize_{width}_to_{columns}")
    x = (over_rows @ x.reshape(height, width * c)).reshape(rows, width, c).transpose(1, 0, 2)
    x = (over_columns @ x.reshape(width, rows * c)).reshape(columns, rows, c).transpose(1, 0, 2)
    return x.reshape(rows * columns, c)


# TNT and PyramidTNT


@nodes_of.register
def _(cell: tnt.Attention, x: Value) -> Value:
    q, k = write_cell(cell.qk, x).split(2)
    return write_cell(cell.proj, write_cell(cell.attention, q, k, write_cell(cell.v, x)))


@nodes_of.register
def _(cell: pyramid_tnt.Attention, x: Value, *relative_pos: Value) -> Value:
    keys = x
    if cell.sr_ratio > 1:
        (height, width), ratio = cell.grid, cell.sr_ratio
        keys = x.reshape(-1, height // ratio, ratio, width // ratio, ratio, x.shape[2]).mean(2, 4)
        keys = _through(keys.reshape(-1, prod(keys.shape[1:3]), x.shape[2]), cell.linear, cell.norm)
    k, v = write_cell(cell.kv, keys).split(2)
    return write_cell(cell.proj, write_cell(cell.attention, write_cell(cell.q, x), k, v, *relative_pos))


@nodes_of.register
def _(block: tnt.Block, words: Value, tokens: Value) -> tuple[Value, Value]:
    if block.has_inner:
        words = words + _through(words, block.inner_norm1, block.inner_attn)
        words = words + _through(words, block.inner_norm2, block.inner_mlp)
        sentences = words.reshape(-1, tokens.shape[1] - 1, prod(words.shape[1:]))
        sentences = _through(sentences, block.proj_norm1, block.proj, block.proj_norm2)
        tokens = tokens + sentences.pad(1, before=1)  # the class token has no words
    return words, _outer(block, tokens)


@nodes_of.register
def _(block: pyramid_tnt.Block, words: Value, sentences: Value, *relative_pos: Value) -> tuple[Value, Value]:
    if block.has_inner:
        of_words, of_sentences = words.shape, (-1, sentences.shape[1], prod(words.shape[1:]))

        def normed(norm: nn.Cell) -> Value:
            return write_cell(norm, words.reshape(*of_sentences)).reshape(*of_words)

        words = words + write_cell(block.inner_attn, normed(block.inner_norm1))
        words = words + write_cell(block.inner_mlp, normed(block.inner_norm2))
        joined = words.reshape(*of_sentences)
        sentences = sentences + _through(joined, block.proj_norm1, block.proj, block.proj_norm2)
    return words, _outer(block, sentences, *relative_pos)


def _outer(block: tnt.Block | pyramid_tnt.Block, x: Value, *relative_pos: Value) -> Value:
    x = x + write_cell(block.outer_attn, write_cell(block.outer_norm1, x), *relative_pos)
    hidden = _through(x, block.outer_norm2, block.outer_mlp)
    if block.se_layer is not None:
        hidden = hidden + write_cell(block.se_layer, hidden)
    return x + hidden


@nodes_of.register
def _(cell: tnt.PatchEmbed, images: Value) -> Value:
    (channels, height, width), p = images.shape[1:], cell.patch_size
    x = images.reshape(-1, channels, height // p, p, width // p, p).transpose(0, 2, 4, 1, 3, 5)
    return write_cell(cell.proj, x.reshape(-1, channels, p, p))


@nodes_of.register
def _(stem: Stem, images: Value) -> tuple[Value, Value]:
    x = write_cell(stem.common_conv, images)
    words = write_cell(stem.inner_convs, x)
    c, height, width = words.shape[1:]
    words = words.reshape(-1, c, height // WORD_GRID, WORD_GRID, width // WORD_GRID, WORD_GRID)
    words = words.transpose(0, 2, 4, 3, 5, 1).reshape(-1, NUM_WORDS, c)
    return words, _to_tokens(write_cell(stem.outer_convs, x))


@nodes_of.register
def _(cell: WordAggregation, words: Value) -> Value:
    (height, width), c = cell.grid, words.shape[2]
    x = write_cell(cell.norm, words).reshape(-1, height, width, NUM_WORDS * c)
    x = x.pad(1, after=1) if height % 2 else x
    x = x.pad(2, after=1) if width % 2 else x
    x = x.reshape(-1, 2, x.shape[2] // 2, 2, WORD_GRID, WORD_GRID, c).transpose(0, 2, 6, 1, 4, 3, 5)
    return _to_tokens(write_cell(cell.conv, x.reshape(-1, c, 2 * WORD_GRID, 2 * WORD_GRID))).to(np.float32)


@nodes_of.register
def _(cell: SentenceAggregation, sentences: Value) -> Value:
    return _to_tokens(write_cell(cell.conv, to_image(write_cell(cell.norm, sentences), cell.grid)))


# T2T-ViT


@nodes_of.register
def _(cell: t2t_blocks.Attention, x: Value) -> Value:
    x = _through(write_cell(cell.attention, *write_cell(cell.qkv, x).split(3)), cell.proj)
    return x if cell.se_layer is None else write_cell(cell.se_layer, x)


@nodes_of.register
def _(cell: ChannelScale, x: Value) -> Value:
    dtype = x.graph.product_type
    return x.to(dtype) * x.graph.constant(cell.weight.asnumpy().ravel().astype(dtype), cell.weight.name)


@nodes_of.register
def _(cell: GhostAttention, x: Value) -> Value:
    halves = ((cell.q, cell.cheap_operation_q), (cell.k, cell.cheap_operation_k), (cell.v, cell.cheap_operation_v))
    halves = ((write_cell(linear, x), scale) for linear, scale in halves)
    return write_cell(
        cell.proj, write_cell(cell.attention, *(half.concat(write_cell(scale, half)) for half, scale in halves))
    )


@nodes_of.register
def _(cell: GhostMlp, x: Value) -> Value:
    x = _through(x, cell.fc1, cell.act)
    copies = (_through(x, scale, cell.act) for scale in (cell.cheap_operation2, cell.cheap_operation3))
    return write_cell(cell.fc2, x.concat(*copies))


@nodes_of.register
def _(block: t2t_blocks.Block, x: Value) -> Value:
    x = x + _through(x, block.norm1, block.attn)
    return x + _through(x, block.norm2, block.mlp)


@nodes_of.register
def _(block: DenseBlock, x: Value) -> Value:
    new = nodes_of.dispatch(t2t_blocks.Block)(block, x)
    with x.graph.part(product_type=np.float32):  # appends to its input, which is float32
        return x.concat(write_cell(block.dense_linear, new))


@nodes_of.register
def _(cell: Transition, x: Value) -> Value:
    return _through(x, cell.linear, cell.act)


@nodes_of.register
def _(cell: TokenPerformer, x: Value) -> Value:
    num_features = cell.w.shape[0]
    w = x.graph.constant(cell.w.asnumpy().T, f"{cell.w.name}.T")

    def features(x: Value) -> Value:
        return (x @ w - (x * x).sum(2) * 0.5).node("Exp") * (1.0 / math.sqrt(num_features))

    k, q, v = _through(x, cell.norm1, cell.kqv).split(3)
    k, q = features(k), features(q)
    normaliser = (q * k.sum(1)).sum(2)  # B T 1
    x = v + write_cell(cell.proj, q @ (k.transpose(0, 2, 1) @ v) / (normaliser + 1e-8))
    return x + _through(x, cell.norm2, cell.mlp)


@nodes_of.register
def _(cell: TokenAttention, x: Value) -> Value:
    q, k, v = write_cell(cell.qkv, x).split(3)
    return v + write_cell(cell.proj, write_cell(cell.attention, q, k, v))


@nodes_of.register
def _(cell: TokenTransformer, x: Value) -> Value:
    x = _through(x, cell.norm1, cell.attn)
    return x + _through(x, cell.norm2, cell.mlp)


@nodes_of.register
def _(cell: TokensToToken, images: Value) -> Value:
    x = _through(_soft_split(images, SPLITS[0]), cell.attention1)
    x = _through(_soft_split(to_image(x, cell.map1[2:]), SPLITS[1]), cell.attention2)
    return _to_tokens(_convolve(to_image(x, cell.map2[2:]), cell.project.weight, cell.project.bias, SPLITS[2]))


def _soft_split(x: Value, split: tuple[int, int, int]) -> Value:
    """(B, C, H, W) -> windows (B, T, C * kernel * kernel)."""
    (kernel, stride, padding), channels = split, x.shape[1]
    units = np.eye(kernel * kernel, dtype=x.dtype).reshape(-1, 1, kernel, kernel)
    units = x.graph.constant(np.tile(units, (channels, 1, 1, 1)), f"window_{kernel}_of_{channels}")
    return _to_tokens(x.conv(units, kernel_size=kernel, stride=stride, padding=padding, group=channels))


@nodes_of.register
def _(cell: ConvolutionTokens, images: Value) -> Value:
    x = to_image(write_cell(cell.soft_split0, images), cell.map1[2:])
    x = to_image(write_cell(cell.soft_split1, x), cell.map2[2:])
    return write_cell(cell.project, x)


@nodes_of.register
def _(cell: PatchTokens, images: Value) -> Value:
    return write_cell(cell.proj, images)


# Networks


@singledispatch
def stages_of(net: nn.Cell, images: Value) -> Iterator[Value]:
    """The tokens after each of the stages of `net.feature_info`, (B, L, D)."""
    raise TypeError(f"how a {type(net).__name__} is written as ONNX is not known; add it to src/export/onnx_cells.py")


@stages_of.register
def _(net: TNT, images: Value) -> Iterator[Value]:
    words = write_cell(net.patch_embed, images) + parameter_of(images.graph, net.inner_pos)
    sentences = words.reshape(-1, net.num_patches, prod(words.shape[1:]))
    tokens = _add_class_token(
        _through(sentences, net.proj_norm1, net.proj, net.proj_norm2), net.cls_token, net.outer_pos
    )
    for block in net.blocks:
        words, tokens = write_cell(block, words, tokens)
        yield tokens


@stages_of.register(T2TViT)
@stages_of.register(T2TViTDense)
def _(net: T2TViT | T2TViTDense, images: Value) -> Iterator[Value]:
    tokens = _add_class_token(write_cell(net.tokens_to_token, images).to(np.float32), net.cls_token, net.pos_embed)
    for block in net.blocks:
        tokens = write_cell(block, tokens)
        yield tokens


def _add_class_token(tokens: Value, cls_token: Parameter, table: Parameter) -> Value:
    """(B, N, D) -> (B, N + 1, D), positions added."""
    values = table.asnumpy().copy()
    values[:, :1] += cls_token.asnumpy()
    return tokens.pad(1, before=1) + tokens.graph.constant(values, f"{table.name}+{cls_token.name}")


@stages_of.register
def _(net: PyramidTNT, images: Value) -> Iterator[Value]:
    graph = images.graph
    words, sentences = write_cell(net.patch_embed, images)
    words = words + parameter_of(graph, net.inner_pos)
    outer_pos = parameter_of(graph, net.outer_pos)
    if net.resize_outer_pos is not None:
        outer_pos = write_cell(net.resize_outer_pos, outer_pos)
    sentences = sentences + outer_pos
    for i, stage in enumerate(net.stages):
        if i > 0:
            words = write_cell(net.word_merges[i - 1], words)
            sentences = write_cell(net.sentence_merges[i - 1], sentences)
        relative_pos = _relative_pos(stage, graph)
        for block in stage.blocks:
            words, sentences = write_cell(block, words, sentences, *relative_pos)
        yield sentences


def _relative_pos(stage: Stage, graph: Graph) -> tuple[Value, ...]:
    """What the attention of a stage takes: nothing, a whole table, or two factors."""
    if not stage.uses_relative_pos:
        return ()
    table = parameter_of(graph, stage.relative_pos)
    return (table,) if stage.resize is None else write_cell(stage.resize, table)


@nodes_of.register(TNT)
@nodes_of.register(T2TViT)
@nodes_of.register(T2TViTDense)
def _(net: TNT | T2TViT | T2TViTDense, images: Value) -> Value:
    *_, tokens = stages_of(net, images)
    return write_cell(net.head, write_cell(net.norm, tokens).first(), in_float32=True)


@nodes_of.register
def _(net: PyramidTNT, images: Value) -> Value:
    *_, sentences = stages_of(net, images)
    return write_cell(net.head, write_cell(net.norm, sentences).mean(1), in_float32=True)


@nodes_of.register
def _(extractor: FeatureExtractor, images: Value) -> list[Value]:
    net = extractor.net
    tokens = list(islice(stages_of(net, images), max(extractor.stages) + 1))
    maps = []
    for stage, info in zip(extractor.stages, extractor.feature_info, strict=True):
        grid = [-(-side // info.stride) for side in net.image_size]
        maps.append(to_image(tokens[stage].last(prod(grid)), grid))  # without the class token
    return maps
