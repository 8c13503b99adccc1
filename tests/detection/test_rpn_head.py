"""The first stage: the order of what it says, and the proposals that are made of it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.detection.anchors import AnchorGrid
from src.detection.boxes import pairwise_iou
from src.detection.decode_boxes import DecodeBoxes
from src.detection.rpn_head import Proposals, RPNHead

GRID, SHAPES = AnchorGrid((8, 16), (2.0,)), [(50, 64), (64, 40)]
ANCHORS = GRID.anchors([(8, 8), (4, 4)])
COUNTS = [len(anchors) for anchors in ANCHORS]


def decoded(anchors, deltas, shape):
    sizes, centres = anchors[:, 2:] - anchors[:, :2], (anchors[:, 2:] + anchors[:, :2]) / 2
    centres, halves = centres + deltas[:, :2] * sizes, sizes * np.exp(deltas[:, 2:]) / 2
    limit = np.array(shape[::-1] * 2, np.float32)
    return np.clip(np.concatenate([centres - halves, centres + halves], axis=1), 0, limit).astype(np.float32)


def propose(logits, deltas, shape, before, after, threshold):
    """Of one image, one box after the other: those that stay and their scores, the best first."""
    found = []
    for anchors, own, moved in zip(ANCHORS, logits, deltas, strict=True):
        rows = np.argsort(-own, kind="stable")[:before]
        boxes, kept = decoded(anchors[rows], moved[rows], shape), []
        for row, box in enumerate(boxes):
            if not ((box[2:] > box[:2]).all()):
                continue
            if not kept or pairwise_iou(box[None], boxes[kept]).max() <= threshold:
                kept.append(row)
        found += [(1 / (1 + np.exp(-own[rows[row]])), boxes[row]) for row in kept]
    return sorted(found, key=lambda pair: -pair[0])[:after]


def draw_outputs(seed=0):
    rng = np.random.default_rng(seed)
    logits = [rng.permutation(2 * count).reshape(2, count).astype(np.float32) / 99 - 2 for count in COUNTS]
    deltas = [rng.normal(0, 0.4, (2, count, 4)).astype(np.float32) for count in COUNTS]
    for moved in deltas:
        moved[:, ::7, 0] = 9  # beyond the image: without area
    return logits, deltas


def run(proposals, logits, deltas):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    values = (tuple(map(Tensor, part)) for part in (logits, deltas, ANCHORS))
    return [x.asnumpy() for x in proposals(*values, Tensor(np.array(SHAPES, np.float32)))]


@pytest.mark.parametrize("before,after,threshold", [(30, 20, 0.5), (1000, 1000, 0.3), (10, 25, 0.7)])
def test_proposals(before, after, threshold):
    logits, deltas = draw_outputs()
    boxes, scores, valid = run(Proposals(DecodeBoxes(), before, after, threshold), logits, deltas)
    assert boxes.shape == (2, after, 4) and scores.shape == valid.shape == (2, after)
    for image, shape in enumerate(SHAPES):
        expected = propose([x[image] for x in logits], [x[image] for x in deltas], shape, before, after, threshold)
        count = len(expected)
        assert 0 < count < sum(COUNTS) and valid[image].tolist() == [row < count for row in range(after)]
        np.testing.assert_allclose(scores[image, :count], [score for score, _ in expected], rtol=1e-5)
        np.testing.assert_allclose(boxes[image, :count], [box for _, box in expected], rtol=0, atol=1e-4)
        assert np.isfinite(boxes[image]).all()


def test_no_anchor_gives_a_box():
    """In one image of two."""
    logits, deltas = draw_outputs()
    for moved in deltas:
        moved[0, :, 0] = 9
    _, _, valid = run(Proposals(DecodeBoxes(), 30, 20), logits, deltas)
    assert not valid[0].any() and valid[1].all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite(value):
    """What is made of them is finite, and concerns no other image, but for last digits: sigmoid on CPU has two ways."""
    logits, deltas = draw_outputs()
    proposals = Proposals(DecodeBoxes(), 30, 20)
    expected = run(proposals, logits, deltas)
    for own, moved in zip(logits, deltas, strict=True):
        own[0], moved[0] = value, value
    found = run(proposals, logits, deltas)
    assert np.isfinite(found[0]).all() and np.isfinite(found[1]).all()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one[1], other[1], rtol=2e-6)
    logits, deltas = draw_outputs()
    for own in logits:
        own[0, ::2] = np.nan
    boxes, scores, valid = run(proposals, logits, deltas)
    assert np.isfinite(boxes).all() and np.isfinite(scores).all() and valid[0].any()


def test_rows_are_in_the_order_of_anchors():
    """A map whose cells differ: rows of a cell come together, cells row by row."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    head = RPNHead(2, 4, num_anchors=3)
    for name, parameter in head.parameters_and_names():
        parameter.set_data(Tensor(np.random.default_rng(len(name)).normal(size=parameter.shape).astype(np.float32)))
    x = Tensor(np.random.default_rng(0).normal(size=(2, 2, 3, 5)).astype(np.float32))
    (logits,), (deltas,) = head((x,))
    assert logits.shape == (2, 45) and deltas.shape == (2, 45, 4)
    inside = head.relu(head.rpn_conv(x))
    for found, layer in ((logits.reshape(2, 3, 5, 3), head.rpn_cls), (deltas.reshape(2, 3, 5, 12), head.rpn_reg)):
        np.testing.assert_array_equal(found.asnumpy(), layer(inside).asnumpy().transpose(0, 2, 3, 1))


def test_names_and_shapes_are_mmdetections():
    shapes = {p.name: p.shape for p in RPNHead(16, 8).get_parameters()}
    assert shapes == {
        "rpn_conv.weight": (8, 16, 3, 3),
        "rpn_conv.bias": (8,),
        "rpn_cls.weight": (3, 8, 1, 1),
        "rpn_cls.bias": (3,),
        "rpn_reg.weight": (12, 8, 1, 1),
        "rpn_reg.bias": (12,),
    }
