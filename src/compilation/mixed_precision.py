"""Half precision where it is safe: matrix products and convolutions; norms, softmax and performer stay in float32."""

from mindspore import dtype as mstype
from mindspore import nn

from ..errors import UserError
from ..layers.attention import ScaledDotProductAttention
from ..layers.unfold import UnfoldConv2d
from ..models.t2t_blocks import ChannelScale, DenseBlock, Transition
from ..models.t2t_tokens import Float32Cell
from ..rule import Precision, names_of

HALF_TYPES = {"float16": mstype.float16, "bfloat16": mstype.bfloat16}
PRECISIONS = names_of(Precision)
HALF_CELLS = (nn.Dense, nn.Conv2d, nn.Conv2dTranspose, UnfoldConv2d, ScaledDotProductAttention, ChannelScale)
FLOAT32_CELLS = (nn.LayerNorm, nn.BatchNorm2d, Float32Cell, Transition)


def set_precision(net: nn.Cell, precision: str, device: str) -> None:
    """Makes `net` compute its matrix products in `precision`, the norms and the residual sums in float32.

    What has no type of its own follows its input, as activations in an MLP do.

    Weights stay float32 and are rounded where they are used; the optimizer updates what is not rounded. To be called
    before the network is compiled.

    Args:
        net: a network of `create_model`.
        precision: 'float32' (leaves the network as it is), 'float16' or 'bfloat16'.
        device: CPU, GPU or Ascend.

    Raises:
        UserError: unknown precision, or bfloat16 anywhere but on Ascend: MindSpore lacks most operators for it on CPU,
            and Cast, Reshape, MatMul and Conv2D on GPU.
    """
    if precision not in PRECISIONS:
        raise UserError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "float32":
        return
    if precision == "bfloat16" and device != "Ascend":
        raise UserError(f"MindSpore has no bfloat16 operators on {device}; use float16 or float32 there")
    _set(net, HALF_TYPES[precision])


def store_half(net: nn.Cell) -> None:
    """`set_precision` to float16 for a network that is not trained further.

    Weights of its products become float16 too. The head stays float32: it costs next to nothing, and rounding shows in
    the logits before all.
    """
    _set(net, mstype.float16)
    net.head.to_float(mstype.float32)
    for name, cell in net.name_cells().items():
        if name != "head":
            _store_half(cell)


def _store_half(cell: nn.Cell) -> None:
    if isinstance(cell, HALF_CELLS):
        for parameter in cell.get_parameters():
            parameter.set_dtype(mstype.float16)
    elif not isinstance(cell, FLOAT32_CELLS):
        for part in cell.cells():
            _store_half(part)


def _set(cell: nn.Cell, dtype) -> None:
    if isinstance(cell, FLOAT32_CELLS):
        cell.to_float(mstype.float32)
    elif isinstance(cell, HALF_CELLS):
        cell.to_float(dtype)
    else:
        for part in cell.cells():
            _set(part, dtype)
    if isinstance(cell, DenseBlock):
        cell.dense_linear.to_float(mstype.float32)  # appends to its input, which is float32
