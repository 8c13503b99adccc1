"""What a network costs: its parameters, and the multiply-adds of one image by part.

One multiply-add, which the papers print as one FLOP, is counted for every weight at every position it is applied to
(convolutions also where the window reaches into the zero padding), and for every pair of factors in the two products
of an attention, q k^T and weights times v. Not counted: biases, norms, softmax, activations, pooling, gates, position
tables and other sums.

The network is walked, not run: its cells tell how many tokens pass, its weights how large they are. A changed layer
changes the count, and a weight that the walk does not know stops it.

Source: TNT paper (arXiv 2103.00112v3), section 2.3, whose formula leaves out class token, first projection, stem and
head; counted here are all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from math import prod

from mindspore import Parameter, nn
from mindspore.nn.utils import no_init_parameters

from ..layers.conv import Conv2d
from ..layers.norm import BatchNorm2d
from ..models import get_variant, pyramid_tnt, resolve_arguments, t2t_blocks, tnt
from ..models.pyramid_tnt import NUM_WORDS, WORD_GRID, PyramidTNT
from ..models.t2t_tokens import ConvolutionTokens, PatchTokens, TokenAttention, TokenPerformer, TokensToToken
from ..models.t2t_vit import T2TViT, T2TViTDense
from ..models.tnt import TNT

PARTS = (
    "stem",
    "token module",
    "inner attention",
    "inner MLP",
    "word-to-sentence",
    "outer attention",
    "outer MLP",
    "squeeze-and-excitation",
    "aggregation",
    "dense connections",
    "head",
)
"""What multiply-adds are assigned to. The blocks of T2T-ViT, which have no words, are outer attention and outer MLP."""


@dataclass(frozen=True)
class Complexity:
    """The cost of one network at its image size and number of classes.

    Attributes:
        parameters: all parameters, the frozen ones included, as the papers print them; batch-norm statistics are none.
        trainable: those that training changes.
        multiply_adds: of one image, by part: those of `PARTS` that the network has, in that order.
    """

    parameters: int
    trainable: int
    multiply_adds: dict[str, int]

    @property
    def total(self) -> int:
        """Multiply-adds of one image."""
        return sum(self.multiply_adds.values())


def create_unfilled_model(name: str, image_size: tuple[int, int] | None = None, num_classes: int = 1000) -> nn.Cell:
    """The variant `name` without values in its weights, which is all that `count` needs and takes no time to draw.

    Args:
        name: one of `list_models()`.
        image_size: (height, width) in pixels; the variant's own when None.
        num_classes: 0 for no head.

    Raises:
        UserError: an unknown name, or a size that the network does not take.
    """
    size = {} if image_size is None else {"image_size": image_size}
    with no_init_parameters():
        return get_variant(name).network(**resolve_arguments(name, {"num_classes": num_classes, **size}))


def count(net: nn.Cell) -> Complexity:
    """Counts a network of `create_model`.

    Raises:
        TypeError: a network, attention or token layer of a class that is not known here.
        NotImplementedError: the network holds a weight that is not known here.
    """
    tally = _Tally()
    _walk(net, tally)
    unknown = [name for name, p in net.parameters_and_names() if p.ndim > 1 and id(p) not in tally.known]
    if unknown:
        raise NotImplementedError(
            f"where {type(net).__name__} applies {', '.join(unknown)} is not known; add it to src/complexity/count.py"
        )
    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, BatchNorm2d)]
    statistics = sum(norm.moving_mean.size + norm.moving_variance.size for norm in norms)
    return Complexity(
        parameters=sum(p.size for p in net.get_parameters()) - statistics,
        trainable=sum(p.size for p in net.trainable_params()),
        multiply_adds={part: number for part, number in tally.parts.items() if number},
    )


class _Tally:
    """Multiply-adds by part, and which weights and tables the walk has come by."""

    def __init__(self):
        self.parts = dict.fromkeys(PARTS, 0)
        self.known: set[int] = set()  # ids; two parameters may have one name when a layer was replaced

    def add(self, part: str, number: int) -> None:
        self.parts[part] += number

    def weights(self, part: str, cell: nn.Cell, positions: int) -> None:
        """All weights of `cell` and its cells; parameters of one dimension are biases, gains and statistics."""
        for p in cell.get_parameters():
            if p.ndim > 1:
                self.add(part, positions * p.size)
                self.known.add(id(p))

    def tables(self, *parameters: Parameter) -> None:
        """Parameters that are added, not multiplied with."""
        self.known.update(id(p) for p in parameters)


def _refuse(cell: nn.Cell) -> TypeError:
    return TypeError(f"what a {type(cell).__name__} costs is not known; add it to src/complexity/count.py")


@singledispatch
def _walk(net: nn.Cell, tally: _Tally) -> None:
    raise _refuse(net)


@_walk.register
def _(net: TNT, tally: _Tally) -> None:
    sentences, num_words = net.num_patches, net.num_words
    tally.tables(net.cls_token, net.outer_tokens, net.outer_pos, net.inner_pos)
    tally.weights("stem", net.patch_embed, sentences * num_words)
    tally.weights("word-to-sentence", net.proj, sentences)
    for block in net.blocks:
        _add_block(block, tally, sentences, num_words, sentences + 1)
    tally.weights("head", net.head, 1)


@_walk.register
def _(net: PyramidTNT, tally: _Tally) -> None:
    tally.tables(net.outer_pos, net.inner_pos, *(stage.relative_pos for stage in net.stages))
    stem = net.patch_embed
    grid = _add_convolutions(stem.common_conv, tally, "stem", net.image_size)
    _add_convolutions(stem.inner_convs, tally, "stem", grid)
    _add_convolutions(stem.outer_convs, tally, "stem", grid)
    for grid, stage in zip(net.grid_sizes, net.stages, strict=True):
        for block in stage.blocks:
            _add_block(block, tally, prod(grid), NUM_WORDS, prod(grid))
    for i in range(3):
        grid, merged = net.grid_sizes[i : i + 2]
        image = (2 * WORD_GRID, 2 * WORD_GRID)  # the words of a merged sentence
        _add_convolutions(net.word_merges[i], tally, "aggregation", image, num_images=prod(merged))
        _add_convolutions(net.sentence_merges[i], tally, "aggregation", grid)
    tally.weights("head", net.head, 1)


@_walk.register(T2TViT)
@_walk.register(T2TViTDense)
def _(net: T2TViT | T2TViTDense, tally: _Tally) -> None:
    length = net.num_patches + 1
    tally.tables(net.cls_token, net.pos_embed)
    _add_tokens(net.tokens_to_token, tally, net.num_patches)
    for block in net.blocks:
        if isinstance(block, t2t_blocks.Transition):
            tally.weights("dense connections", block, length)
            continue
        _add_attention(block.attn, tally, "outer attention", 1, length)
        tally.weights("outer MLP", block.mlp, length)
        if isinstance(block, t2t_blocks.DenseBlock):
            tally.weights("dense connections", block.dense_linear, length)
    tally.weights("head", net.head, 1)


def _add_block(
    block: tnt.Block | pyramid_tnt.Block, tally: _Tally, sentences: int, num_words: int, tokens: int
) -> None:
    """A block over `sentences` of `num_words` words each; `tokens` are the sentences and the class token, if any."""
    if block.has_inner:
        _add_attention(block.inner_attn, tally, "inner attention", sentences, num_words)
        tally.weights("inner MLP", block.inner_mlp, sentences * num_words)
        tally.weights("word-to-sentence", block.proj, sentences)
    _add_attention(block.outer_attn, tally, "outer attention", 1, tokens)
    tally.weights("outer MLP", block.outer_mlp, tokens)
    if block.se_layer is not None:
        tally.weights("squeeze-and-excitation", block.se_layer, 1)


def _add_convolutions(
    cell: nn.Cell, tally: _Tally, part: str, size: Sequence[int], num_images: int = 1
) -> Sequence[int]:
    """The convolutions of `cell`, one after the other, over images of `size`; returns the size that comes out."""
    for _, conv in cell.cells_and_names():
        if isinstance(conv, Conv2d):
            windows = zip(size, conv.kernel_size, conv.stride, strict=True)
            size = [(side + 2 * conv.padding - kernel) // stride + 1 for side, kernel, stride in windows]
            tally.weights(part, conv, num_images * prod(size))
    return size


@singledispatch
def _add_attention(attn: nn.Cell, tally: _Tally, part: str, sequences: int, length: int) -> None:
    """Projections and products of self-attention over `sequences` of `length` tokens each."""
    raise _refuse(attn)


@_add_attention.register
def _(attn: tnt.Attention, tally: _Tally, part: str, sequences: int, length: int) -> None:
    tally.weights(part, attn, sequences * length)
    tally.add(part, sequences * length * length * (attn.qk.out_channels // 2 + attn.v.out_channels))


@_add_attention.register
def _(attn: pyramid_tnt.Attention, tally: _Tally, part: str, sequences: int, length: int) -> None:
    keys = length // attn.sr_ratio**2
    tally.weights(part, attn.q, sequences * length)
    tally.weights(part, attn.kv, sequences * keys)
    tally.weights(part, attn.proj, sequences * length)
    if attn.sr_ratio > 1:
        tally.weights(part, attn.linear, sequences * keys)
    tally.add(part, sequences * length * keys * (attn.q.out_channels + attn.kv.out_channels // 2))


@_add_attention.register(t2t_blocks.Attention)
@_add_attention.register(TokenAttention)
def _(attn: t2t_blocks.Attention | TokenAttention, tally: _Tally, part: str, sequences: int, length: int) -> None:
    tally.weights(part, attn.qkv, sequences * length)
    tally.weights(part, attn.proj, sequences * length)
    tally.add(part, sequences * length * length * (attn.qkv.out_channels // 3 * 2))
    if isinstance(attn, t2t_blocks.Attention) and attn.se_layer is not None:
        tally.weights("squeeze-and-excitation", attn.se_layer, sequences)


@_add_attention.register
def _(attn: t2t_blocks.GhostAttention, tally: _Tally, part: str, sequences: int, length: int) -> None:
    tally.weights(part, attn, sequences * length)
    tally.add(part, sequences * length * length * (2 * attn.q.out_channels + 2 * attn.v.out_channels))


@singledispatch
def _add_tokens(tokens: nn.Cell, tally: _Tally, num_patches: int) -> None:
    """T2T-ViT's layers from the image to `num_patches` tokens."""
    raise _refuse(tokens)


@_add_tokens.register
def _(tokens: TokensToToken, tally: _Tally, num_patches: int) -> None:
    for layer, shape in ((tokens.attention1, tokens.map1), (tokens.attention2, tokens.map2)):
        length = prod(shape[2:])
        if isinstance(layer, TokenPerformer):
            num_features, dim = layer.w.shape
            tally.weights("token module", layer, length)
            tally.add("token module", length * layer.w.size)  # w is applied twice, to keys and to queries
            tally.add("token module", length * num_features * (dim + dim + 1))  # k^T v, q (k^T v), normaliser
        else:
            _add_attention(layer.attn, tally, "token module", 1, length)
            tally.weights("token module", layer.mlp, length)
    tally.weights("token module", tokens.project, num_patches)


@_add_tokens.register
def _(tokens: ConvolutionTokens, tally: _Tally, num_patches: int) -> None:
    tally.weights("token module", tokens.soft_split0, prod(tokens.map1[2:]))
    tally.weights("token module", tokens.soft_split1, prod(tokens.map2[2:]))
    tally.weights("token module", tokens.project, num_patches)


@_add_tokens.register
def _(tokens: PatchTokens, tally: _Tally, num_patches: int) -> None:
    tally.weights("token module", tokens.proj, num_patches)
