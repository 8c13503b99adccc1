"""Which network weights belong to, told from their names and shapes.

Only names that are the same in the authors' files and in our checkpoints are looked at (no norms), so both are
recognised. Heads of attention leave no trace in names and shapes, with the exception of PyramidTNT's position bias:
networks that differ in nothing else cannot be told apart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mindspore import nn

from ..errors import UserError
from ..models import get_variant, list_models, resolve_arguments
from ..models.pyramid_tnt import NUM_WORDS, STEM_STRIDE, PyramidTNT
from ..models.t2t_tokens import SPLITS, STRIDE
from ..models.t2t_vit import T2TViT, T2TViTDense
from ..models.tnt import TNT

Shapes = Mapping[str, tuple[int, ...]]

WITHOUT_TRACE = ("inner_num_heads", "outer_num_heads", "inner_stride", "sr_ratios", "num_heads")
"""Constructor arguments that decide what a network computes, and of which names and shapes tell nothing, or not all."""


@dataclass(frozen=True)
class Recognised:
    """What names and shapes tell about a network; what they do not tell is left out or None.

    Attributes:
        network: its class.
        structure: constructor arguments that make the variant: depth, widths, kinds of blocks.
        se: TNT's and PyramidTNT's squeeze-and-excitation, which is no variant of its own.
        num_classes: size of the head.
        in_channels: channels of the input image.
        num_positions: sentences or tokens of an image, without the class token.
    """

    network: type[nn.Cell]
    structure: dict[str, Any]
    se: bool
    num_classes: int | None
    in_channels: int | None
    num_positions: int | None

    def square_image_size(self, model: str, structure: Mapping[str, Any]) -> tuple[int, int]:
        """(height, width) in pixels, both the same, that `num_positions` stand for in the variant `model`.

        Args:
            model: one of `list_models()`.
            structure: constructor arguments that differ from the variant's.

        Raises:
            UserError: the number of positions is no square; the image's height and width must be given.
        """
        if self.num_positions is None:
            return (get_variant(model).image_size,) * 2  # the missing table is reported when the weights are loaded
        side = math.isqrt(self.num_positions)
        if side < 1 or side * side != self.num_positions:
            raise UserError(
                f"the position table has {self.num_positions} entries, which form no square grid: give the height and "
                "width of the images that the weights are for"
            )
        strides = {TNT: resolve_arguments(model, structure).get("patch_size"), PyramidTNT: STEM_STRIDE}
        return (side * strides.get(self.network, STRIDE),) * 2

    def __str__(self) -> str:
        values = ", ".join(f"{key} {_show(value)}" for key, value in self.structure.items() if value is not None)
        return f"{self.network.__name__} with {values}"


def recognise(shapes: Shapes) -> Recognised:
    """Reads names and shapes.

    Args:
        shapes: the authors' names or ours -> shapes.

    Raises:
        UserError: they are of no network known here.
    """
    weights = _Weights(shapes)
    if any(".outer_attn.qk." in name for name in shapes):
        return _read_tnt(weights)
    if any(name.startswith("stages.") and ".outer_attn.q." in name for name in shapes):
        return _read_pyramid_tnt(weights)
    if any(name.startswith("tokens_to_token.") for name in shapes):
        return _read_t2t_vit(weights)
    first = ", ".join([_short(name) for name in shapes][:3])
    raise UserError(f"expected weights of TNT, PyramidTNT or T2T-ViT, got those of another network ({first}, ...)")


def choose_variant(found: Recognised) -> str:
    """The name of the only variant that `found` can be.

    Raises:
        UserError: none, or several that names and shapes cannot tell apart.
    """
    names = [name for name in list_models() if not differences(name, {}, found)]
    if len(names) == 1:
        return names[0]
    if names:
        raise UserError(
            f"{' and '.join(names)} have the same names and shapes and differ only in the number of heads, which the "
            "weights do not tell: name one of them with --model"
        )
    raise UserError(
        f"found {found}: no published variant; name the nearest one with --model and give what differs with --structure"
    )


def check_variant(model: str, structure: Mapping[str, Any], found: Recognised) -> None:
    """Makes sure that weights can be those of a variant.

    Args:
        model: one of `list_models()`.
        structure: constructor arguments that differ from the variant's.
        found: what the weights tell.

    Raises:
        UserError: they are another network's; says in what they differ.
    """
    different = differences(model, structure, found)
    if different:
        raise UserError(f"found {found}, but {model} has {', '.join(different)}")


def differences(model: str, structure: Mapping[str, Any], found: Recognised) -> list[str]:
    """What of the variant `model`, changed by `structure`, is not as it was `found`; empty where everything is."""
    network = get_variant(model).network
    if network is not found.network:
        return [f"another architecture, {network.__name__}"]
    arguments = resolve_arguments(model, structure)
    return [
        f"{key} {_show(arguments[key])}" for key, value in found.structure.items() if _plain(arguments[key]) != value
    ]


class _Weights:
    """Names and shapes, to ask for a length or a number of blocks."""

    def __init__(self, shapes: Shapes):
        self.shapes = shapes

    def length(self, name: str, axis: int) -> int | None:
        shape = self.shapes.get(name, ())
        return shape[axis] if axis < len(shape) else None

    def blocks(self, prefix: str, part: str = "") -> set[str]:
        """Numbers of the blocks `prefix`N. that have a name with `part` in it."""
        return {
            name.removeprefix(prefix).partition(".")[0]
            for name in self.shapes
            if name.startswith(prefix) and part in name
        }

    def has(self, part: str) -> bool:
        return any(part in name for name in self.shapes)


def _read_tnt(weights: _Weights) -> Recognised:
    depth = len(weights.blocks("blocks."))
    inner = weights.blocks("blocks.", ".inner_attn.")
    inner_blocks = tuple(number + 1 for number in range(depth) if str(number) in inner)
    tokens = weights.length("outer_pos", 1)
    return Recognised(
        network=TNT,
        structure=_known(
            depth=depth,
            inner_dim=weights.length("inner_pos", 2),
            outer_dim=weights.length("outer_pos", 2),
        )
        | {"inner_blocks": None if len(inner_blocks) == depth else inner_blocks},
        se=weights.has(".se_layer."),
        num_classes=weights.length("head.weight", 0),
        in_channels=weights.length("patch_embed.proj.weight", 1),
        num_positions=None if tokens is None else tokens - 1,
    )


def _read_pyramid_tnt(weights: _Weights) -> Recognised:
    stages = range(len(weights.blocks("stages.")))
    first = [f"stages.{i}.blocks.0" for i in stages]
    words = [weights.length(f"{block}.proj.weight", 1) for block in first]
    return Recognised(
        network=PyramidTNT,
        structure=_known(
            depths=tuple(len(weights.blocks(f"stages.{i}.blocks.")) for i in stages),
            inner_dims=tuple(width and width // NUM_WORDS for width in words),
            outer_dims=tuple(weights.length(f"{block}.outer_attn.q.weight", 0) for block in first),
            outer_num_heads=tuple(weights.length(f"stages.{i}.relative_pos", 1) for i in stages),
        ),
        se=weights.has(".se_layer."),
        num_classes=weights.length("head.weight", 0),
        in_channels=weights.length("patch_embed.common_conv.0.weight", 1),
        num_positions=weights.length("stages.0.relative_pos", 2),  # as many as outer_pos has
    )


def _read_t2t_vit(weights: _Weights) -> Recognised:
    window = SPLITS[0][0] ** 2
    first_layers = {  # width of the input of the first layer, in channels of the image
        "performer": ("tokens_to_token.attention1.kqv.weight", window),
        "transformer": ("tokens_to_token.attention1.attn.qkv.weight", window),
        "convolution": ("tokens_to_token.soft_split0.weight", 1),
        "patch": ("tokens_to_token.proj.weight", 1),
    }
    tokens_type = next((kind for kind, (name, _) in first_layers.items() if name in weights.shapes), None)
    in_channels = None
    if tokens_type is not None:
        name, share = first_layers[tokens_type]
        width = weights.length(name, 1)
        in_channels = width and width // share
    structure = _known(tokens_type=tokens_type, embed_dim=weights.length("cls_token", 2))
    depth = len(weights.blocks("blocks."))
    dense = weights.has(".dense_linear.")
    if dense:
        structure |= _known(growth_rate=weights.length("blocks.0.dense_linear.weight", 0))
        structure["block_config"] = _dense_stages(depth, weights.blocks("blocks.", ".dense_linear."))
    else:
        kinds = {"ghost": ".cheap_operation", "se": ".se_layer."}
        structure["depth"] = depth
        structure["block_type"] = next((kind for kind, part in kinds.items() if weights.has(part)), "plain")
    tokens = weights.length("pos_embed", 1)
    return Recognised(
        network=T2TViTDense if dense else T2TViT,
        structure=structure,
        se=False,
        num_classes=weights.length("head.weight", 0),
        in_channels=in_channels,
        num_positions=None if tokens is None else tokens - 1,
    )


def _dense_stages(depth: int, dense: set[str]) -> tuple[int, ...]:
    """Dense blocks of each stage; the blocks in between are transitions."""
    stages = [0]
    for number in range(depth):
        if str(number) in dense:
            stages[-1] += 1
        else:
            stages.append(0)
    return tuple(stages)


def _known(**values: Any) -> dict[str, Any]:
    """What was found; tuples only where nothing in them is missing."""
    return {k: v for k, v in values.items() if v is not None and not (isinstance(v, tuple) and None in v)}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _show(value: Any) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, list | tuple) else str(value)


def _short(name: str) -> str:
    return name if len(name) <= 40 else name[:40] + "..."
