"""Feature pyramid: every map gets what the coarser ones know.

Source: Lin et al., Feature Pyramid Networks for Object Detection, 2017; RetinaNet's extra maps: Focal Loss, section 4.
Attribute names are mmdetection's, because they become parameter names.
"""

from collections.abc import Sequence

from mindspore import nn, ops
from mindspore.common.initializer import XavierUniform

from ..errors import UserError

EXTRA_MAPS = ("pool", "on_input", "on_output")


class ConvModule(nn.Cell):
    """A convolution with bias and zero padding, called `conv`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, weight_init=None):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            pad_mode="pad",
            padding=kernel_size // 2,
            has_bias=True,
            weight_init=weight_init or XavierUniform(),
            bias_init="zeros",
        )

    def construct(self, x):
        return self.conv(x)


class FPN(nn.Cell):
    """Maps (B, C_i, H_i, W_i) -> maps (B, out_channels, ...), the finest first.

    Args:
        in_channels: C_i of every map that comes in.
        out_channels: of every map that goes out.
        start_level: the first map that is used; those before it are not.
        num_outs: maps that go out.
        extra_maps: what the coarsest ones are made of: 'pool' (every second position of the last map), 'on_input' (3x3
            convolutions of stride 2, the first of the last map that comes in), 'on_output' (of the last that goes out).

    Raises:
        UserError: another name, or fewer outputs than inputs.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        start_level: int = 0,
        num_outs: int = 5,
        extra_maps: str = "pool",
    ):
        super().__init__()
        if extra_maps not in EXTRA_MAPS:
            raise UserError(f"extra_maps: expected one of {', '.join(EXTRA_MAPS)}, got {extra_maps!r}")
        used = list(in_channels)[start_level:]
        if num_outs < len(used):
            raise UserError(f"num_outs: expected at least {len(used)}, a map for each that comes in, got {num_outs}")
        self.start_level, self.extra_maps = start_level, extra_maps
        self.num_extra = num_outs - len(used)
        self.lateral_convs = nn.CellList([ConvModule(channels, out_channels, 1) for channels in used])
        convs = [ConvModule(out_channels, out_channels, 3) for _ in used]
        if extra_maps != "pool":
            first = used[-1] if extra_maps == "on_input" else out_channels
            convs += [ConvModule(first if i == 0 else out_channels, out_channels, 3, 2) for i in range(self.num_extra)]
        self.fpn_convs = nn.CellList(convs)
        self.num_used = len(used)

    def construct(self, maps):
        maps = maps[self.start_level :]
        lateral = ()
        for i in range(self.num_used):
            lateral = lateral + (self.lateral_convs[i](maps[i]),)
        merged = (lateral[-1],)
        for i in range(self.num_used - 2, -1, -1):
            merged = (lateral[i] + ops.ResizeNearestNeighbor(lateral[i].shape[2:])(merged[0]),) + merged
        outputs = ()
        for i in range(self.num_used):
            outputs = outputs + (self.fpn_convs[i](merged[i]),)
        x = maps[-1] if self.extra_maps == "on_input" else outputs[-1]
        for i in range(self.num_extra):
            if self.extra_maps == "pool":
                x = x[:, :, ::2, ::2]
            else:
                x = self.fpn_convs[self.num_used + i](x)
            outputs = outputs + (x,)
        return outputs
