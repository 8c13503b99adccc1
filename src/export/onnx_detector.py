"""RetinaNet as an ONNX file: images -> `logits` (B, A, K) and `deltas` (B, A, 4) over the anchors of all maps.

What comes after, from anchors to boxes without their doubles, is `BoxChoice`, outside of the file. Detectors with two
stages are in src/export/onnx_two_stage.py; they have backbone, neck and pyramid from here.
"""

import numpy as np
from mindspore import nn

from ..detection.backbone import Backbone
from ..detection.base_detector import BaseDetector
from ..detection.fpn import FPN, ConvModule
from ..detection.retina_head import RetinaHead
from ..detection.retinanet import RetinaNet
from .onnx_cells import nodes_of, parameter_of, stages_of, to_image, write_cell
from .onnx_graph import LOGITS_NAME, Value

DELTAS_NAME = "deltas"


@nodes_of.register
def _(net: RetinaNet, images: Value) -> dict[str, Value]:
    logits, deltas = write_cell(net.bbox_head, *maps_of(net, images))
    return {LOGITS_NAME: logits, DELTAS_NAME: deltas}


def maps_of(net: BaseDetector, images: Value) -> list[Value]:
    """What the heads get."""
    maps, first = write_cell(net.backbone, images), net.neck.start_level  # maps before it would have no use
    maps = [write_cell(level, x) for level, x in zip(list(net.upsample)[first:], maps[first:], strict=True)]
    return write_cell(net.neck, *maps)


@nodes_of.register
def _(cell: Backbone, images: Value) -> list[Value]:
    net = cell if images.shape[2:] == tuple(cell.image_size) else cell.portrait
    maps = list(stages_of(net, images))
    if cell.final_norm:
        maps[-1] = write_cell(cell.norm, maps[-1])
    return [to_image(x, grid) for x, grid in zip(maps, net.grid_sizes, strict=True)]


@nodes_of.register
def _(cell: nn.Conv2dTranspose, x: Value) -> Value:
    dtype, stride = x.graph.product_type, cell.stride[0]
    factors = parameter_of(x.graph, cell.weight, dtype), parameter_of(x.graph, cell.bias, dtype)
    return x.to(dtype).conv_transposed(*factors, stride=stride)


@nodes_of.register
def _(cell: ConvModule, x: Value) -> Value:
    return write_cell(cell.conv, x)


@nodes_of.register
def _(cell: FPN, *maps: Value) -> list[Value]:
    """`maps` begin with the first that is used."""
    merged = [write_cell(conv, x) for conv, x in zip(cell.lateral_convs, maps, strict=True)]
    for i in range(len(merged) - 2, -1, -1):
        merged[i] = merged[i] + _enlarge(merged[i + 1], merged[i].shape[2:])
    outputs = [write_cell(conv, x) for conv, x in zip(cell.fpn_convs, merged, strict=False)]
    x = maps[-1] if cell.extra_maps == "on_input" else outputs[-1]
    for i in range(cell.num_extra):
        if cell.extra_maps == "pool":
            for axis in (2, 3):
                x = x.take(axis, np.arange(0, x.shape[axis], 2), f"every_second_of_{x.shape[axis]}")
        else:
            x = write_cell(cell.fpn_convs[cell.num_used + i], x)
        outputs.append(x)
    return outputs


def _enlarge(x: Value, size: tuple[int, int]) -> Value:
    """The nearest entries as `ops.ResizeNearestNeighbor` takes them, place * old / new in float32 and rounded down.

    `Resize` would take others where that quotient is a whole number.
    """
    for axis, new in zip((2, 3), size, strict=True):
        old = x.shape[axis]
        places = np.floor(np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))).astype(np.int64)
        x = x.take(axis, np.minimum(places, old - 1), f"nearest_{old}_to_{new}")
    return x


@nodes_of.register
def _(cell: RetinaHead, *maps: Value) -> tuple[Value, Value]:
    logits, deltas = [], []
    for x in maps:
        of_classes = of_boxes = x
        for conv in cell.cls_convs:
            of_classes = write_cell(cell.relu, write_cell(conv, of_classes))
        for conv in cell.reg_convs:
            of_boxes = write_cell(cell.relu, write_cell(conv, of_boxes))
        logits.append(rows_of_map(write_cell(cell.retina_cls, of_classes), cell.num_classes))
        deltas.append(rows_of_map(write_cell(cell.retina_reg, of_boxes), 4))
    return logits[0].concat(*logits[1:], axis=1), deltas[0].concat(*deltas[1:], axis=1)


def rows_of_map(x: Value, width: int) -> Value:
    """A head's map (B, n * width, H, W) -> (B, H * W * n, width), in the order of anchors."""
    _, channels, rows, columns = x.shape
    return x.transpose(0, 2, 3, 1).reshape(-1, rows * columns * channels // width, width)
