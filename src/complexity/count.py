"""What a network costs: its parameters, and the multiply-adds of one image by part.

One multiply-add, which the papers print as one FLOP, is counted for every weight at every position it is applied to
(convolutions also where the window reaches into the zero padding), and for every pair of factors in the two products
of an attention, q k^T and weights times v. Not counted: biases, norms, softmax, activations, pooling, gates, position
tables and other sums. Tables for another image size, as a detector's backbone has them, do multiply, and are counted:
by the matrices that bring them to the network's size, once for an image, and in every attention by the product of low
rank that is the bias.

The network is walked, not run: its cells tell how many tokens pass, its weights how large they are. A changed layer
changes the count, and a weight that the walk does not know stops it.

Source: TNT paper (arXiv 2103.00112v3), section 2.3, whose formula leaves out class token, first projection, stem and
head; counted here are all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from math import prod

from mindspore import Parameter, nn
from mindspore.nn.utils import no_init_parameters

from ..detection.catalogue import CANVAS, NUM_CLASSES, create_detector, list_detectors
from ..detection.fpn import FPN
from ..detection.retinanet import RetinaNet
from ..detection.roi_head import MASK_FEATURES
from ..detection.two_stage import TwoStage
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
    "position tables",
    "upsample neck",
    "FPN",
    "head",
    "RPN head",
    "box head",
    "mask head",
)
"""What multiply-adds are assigned to. The blocks of T2T-ViT, which have no words, are outer attention and outer MLP."""

MODULES = ("backbone", "upsample neck", "FPN", "head", "RPN head", "box head", "mask head")
"""What the parameters of a detector are assigned to; one stage has a head, two stages have the last three."""

NUM_DETECTIONS = 100
"""Of an image, that mask heads look at: the most that COCO's scores count."""


@dataclass(frozen=True)
class Complexity:
    """The cost of one network at its image size and number of classes.

    Attributes:
        parameters: all parameters, the frozen ones included, as the papers print them; batch-norm statistics are none.
        trainable: those that training changes.
        multiply_adds: of one image, by part: those of `PARTS` that the network has, in that order.
        parameters_by_module: of a detector, by those of `MODULES` that it has; empty of a classifier.
        regions: of a detector with two stages, how many of an image each of its box heads and mask heads looks at.
    """

    parameters: int
    trainable: int
    multiply_adds: dict[str, int]
    parameters_by_module: dict[str, int] = field(default_factory=dict)
    regions: dict[str, int] = field(default_factory=dict)

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


def is_detector(name: str) -> bool:
    """Whether the name is, or begins as, that of a detector."""
    return name.split("_")[0] in {detector.split("_")[0] for detector in list_detectors()}


def create_unfilled_detector(
    name: str, canvas: tuple[int, int] | None = None, num_classes: int = NUM_CLASSES
) -> nn.Cell:
    """The detector `name` without values in its weights, see `create_unfilled_model`.

    Args:
        name: one of `list_detectors()`.
        canvas: (height, width) in pixels; `CANVAS` when None.
        num_classes: K.

    Raises:
        UserError: an unknown name, a canvas that is not of multiples of 32, or no class.
    """
    with no_init_parameters():
        return create_detector(name, num_classes, CANVAS if canvas is None else canvas)


def count(net: nn.Cell) -> Complexity:
    """Counts a network of `create_model`, or of `create_detector` on its canvas.

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
    return Complexity(
        parameters=_num_parameters(net),
        trainable=sum(p.size for p in net.trainable_params()),
        multiply_adds={part: number for part, number in tally.parts.items() if number},
        parameters_by_module={module: _num_parameters(cell) for module, cell in _modules(net).items()},
        regions=_regions(net),
    )


def _num_parameters(cell: nn.Cell) -> int:
    norms = [norm for _, norm in cell.cells_and_names() if isinstance(norm, BatchNorm2d)]
    statistics = {id(p) for norm in norms for p in (norm.moving_mean, norm.moving_variance)}
    return sum(p.size for p in cell.get_parameters() if id(p) not in statistics)


@singledispatch
def _modules(net: nn.Cell) -> dict[str, nn.Cell]:
    """The parts of a detector, by `MODULES`; none of a classifier."""
    return {}


@_modules.register
def _(net: RetinaNet) -> dict[str, nn.Cell]:
    return {"backbone": net.backbone, "upsample neck": net.upsample, "FPN": net.neck, "head": net.bbox_head}


@_modules.register
def _(net: TwoStage) -> dict[str, nn.Cell]:
    heads = {"RPN head": net.rpn_head, "box head": net.roi_head.bbox_head, "mask head": net.roi_head.mask_head}
    return {"backbone": net.backbone, "upsample neck": net.upsample, "FPN": net.neck, **heads}


@singledispatch
def _regions(net: nn.Cell) -> dict[str, int]:
    """See `Complexity.regions`."""
    return {}


@_regions.register
def _(net: TwoStage) -> dict[str, int]:
    return {"box head": net.settings.test_proposals, "mask head": NUM_DETECTIONS}


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
        if stage.resize is not None:
            _, heads, _, rank = stage.relative_pos.shape
            _add_resizing(stage.resize.over_queries, tally, heads * rank)
            tally.add("position tables", len(stage.blocks) * heads * rank * prod(grid) * stage.resize.keys.shape[3])
    if net.resize_outer_pos is not None:
        _add_resizing(net.resize_outer_pos.over_grid, tally, net.outer_pos.shape[2])
    for i in range(3):
        grid, merged = net.grid_sizes[i : i + 2]
        image = (2 * WORD_GRID, 2 * WORD_GRID)  # the words of a merged sentence
        _add_convolutions(net.word_merges[i], tally, "aggregation", image, num_images=prod(merged))
        _add_convolutions(net.sentence_merges[i], tally, "aggregation", grid)
    tally.weights("head", net.head, 1)


@_walk.register
def _(net: RetinaNet, tally: _Tally) -> None:
    for size in _add_maps(net, tally):
        _add_convolutions(net.bbox_head, tally, "head", size)  # none of them changes the size


@_walk.register
def _(net: TwoStage, tally: _Tally) -> None:
    for size in _add_maps(net, tally):
        _add_convolutions(net.rpn_head, tally, "RPN head", size)
    regions, positions = _regions(net), MASK_FEATURES**2
    for head in _heads(net.roi_head.bbox_head):
        tally.weights("box head", head, regions["box head"])
    for head in _heads(net.roi_head.mask_head):
        tally.weights("mask head", head.convs, regions["mask head"] * positions)
        tally.weights("mask head", head.upsample, regions["mask head"] * positions)
        tally.weights("mask head", head.conv_logits, regions["mask head"] * positions * prod(head.upsample.stride))


def _heads(cell: nn.Cell) -> list[nn.Cell]:
    """One head, or those of a cascade."""
    return list(cell) if isinstance(cell, nn.CellList) else [cell]


def _add_maps(net: RetinaNet | TwoStage, tally: _Tally) -> list[Sequence[int]]:
    """Everything up to the pyramid; returns the sizes of its maps."""
    _walk(net.backbone, tally)
    maps = []
    for grid, level in zip(net.backbone.grid_sizes, net.upsample, strict=True):
        transposed = level[0]  # its windows do not overlap: every weight once for each position that comes in
        tally.weights("upsample neck", transposed, prod(grid))
        size = [side * stride for side, stride in zip(grid, transposed.stride, strict=True)]
        maps.append(_add_convolutions(level, tally, "upsample neck", size))
    return _add_pyramid(net.neck, tally, maps)


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
        if isinstance(conv, nn.Conv2d):
            windows = zip(size, conv.kernel_size, conv.stride, strict=True)
            size = [(side + 2 * conv.padding - kernel) // stride + 1 for side, kernel, stride in windows]
            tally.weights(part, conv, num_images * prod(size))
    return size


def _add_resizing(over_grid: nn.Cell, tally: _Tally, width: int) -> None:
    """A table of `width` columns by a matrix for each axis, see src/layers/pos_embed.py."""
    (h, w), (rows, columns) = over_grid.old, over_grid.new
    tally.add("position tables", width * (rows * h * w + columns * w * rows))


def _add_pyramid(neck: FPN, tally: _Tally, maps: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """A pyramid over maps of these sizes; returns the sizes that come out."""
    convs, outputs = list(neck.fpn_convs), []
    for size, lateral, conv in zip(maps[neck.start_level :], neck.lateral_convs, convs, strict=False):
        size = _add_convolutions(lateral, tally, "FPN", size)
        outputs.append(_add_convolutions(conv, tally, "FPN", size))
    for i in range(neck.num_used, neck.num_used + neck.num_extra):
        if neck.extra_maps == "pool":
            outputs.append([-(-side // 2) for side in outputs[-1]])
        else:
            outputs.append(_add_convolutions(convs[i], tally, "FPN", outputs[-1]))
    return outputs


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
