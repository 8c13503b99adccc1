"""The best of scores and boxes, and what is done with equal ones."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.detection import nms
from src.detection.nms import Detections, Suppress, TopRows

BOXES = [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4], [20, 0, 30, 10]]
"""IoU with the first: 0.6, 0.4, 0; of the second with the third: 2 / 3."""


def floats(values):
    return Tensor(np.array(values, np.float32))


def wholes(values):
    return Tensor(np.array(values, np.int32))


def top(k, scores):
    values, rows = TopRows(k)(floats(scores))
    return values.asnumpy().tolist(), rows.asnumpy().tolist()


@pytest.mark.parametrize(
    "k,scores,rows",
    [
        (3, [1, 4, 2, 3], [1, 3, 2]),
        (4, [1, 4, 2, 3], [1, 3, 2, 0]),
        (9, [1, 4, 2, 3], [1, 3, 2, 0]),
        (1, [1, 4, 4, 3], [1]),
        (2, [5, 7, 5, 5], [1, 0]),
        (3, [5, 7, 5, 7], [1, 3, 0]),
        (3, [2, 2, 2, 2], [0, 1, 2]),
        (4, [2, 2, 2, 2], [0, 1, 2, 3]),
        (2, [0, 0, -1, 0], [0, 1]),
        (1, [6], [0]),
    ],
)
def test_top_rows(mode, k, scores, rows):
    assert top(k, scores) == ([scores[row] for row in rows], rows)


def test_top_rows_of_many_equal_scores():
    scores = np.random.default_rng(0).integers(0, 20, 500)
    expected = np.argsort(-scores, kind="stable")
    for k in (1, 37, 499, 500):
        assert top(k, scores)[1] == expected[:k].tolist()


def stays(boxes, labels, threshold, valid=None):
    valid = Tensor(np.array([True] * len(boxes) if valid is None else valid))
    return Suppress(threshold)(floats([boxes]), wholes([labels]), valid.reshape(1, -1)).asnumpy()[0].tolist()


def test_suppress(mode):
    assert stays(BOXES, [0] * 4, 0.5) == [True, False, True, True]  # what is gone itself takes none away
    assert stays(BOXES, [0] * 4, 0.3) == [True, False, False, True]
    assert stays(BOXES, [0] * 4, 0.7) == [True] * 4


def test_other_classes_do_not_suppress():
    assert stays(BOXES, [0, 1, 1, 0], 0.5) == [True, True, False, True]
    negative = (np.array(BOXES) - 25).tolist()
    assert stays(negative, [0, 1, 2, 0], 0.1) == [True] * 4
    assert stays([BOXES[0]] * 4, [3, 3, 79, 79], 0.5) == [True, False, True, False]


def test_what_is_not_valid_neither_stays_nor_suppresses():
    assert stays(BOXES, [0] * 4, 0.5, [False, True, True, True]) == [False, True, False, True]


def test_an_overlap_of_the_threshold_stays():
    assert stays([[0, 0, 8, 8], [0, 0, 8, 4]], [0, 0], 0.5) == [True, True]


def detect(boxes, scores, labels, valid=None, **settings):
    """Of an image that follows another one."""
    valid = Tensor(np.array([True] * len(boxes) if valid is None else valid))
    others = floats([[0, 0, 9, 9]] * len(boxes)), floats([0.5] * len(boxes)), wholes([1] * len(boxes)), ~valid
    own = floats(boxes), floats(scores), wholes(labels), valid
    found = Detections(**settings)(*(ops.stack(both) for both in zip(others, own, strict=True)))
    assert [x.dtype for x in found] == [ms.float32, ms.float32, ms.int32, ms.int32]
    return [x.asnumpy()[1].tolist() for x in found]


def test_detections(mode):
    boxes, scores, labels, count = detect(BOXES, [0.5, 0.75, 0.25, 0.875], [0, 0, 0, 7], max_per_image=3)
    assert count == 2  # the second takes the first and the third away
    assert boxes == [BOXES[3], BOXES[1], [0] * 4] and scores == [0.875, 0.75, 0] and labels == [7, 0, -1]


def test_there_can_be_more_detections_than_asked_for():
    boxes, scores, labels, count = detect(BOXES, [0.25, 0.5, 0.75, 0.875], [0, 1, 2, 3], max_per_image=2)
    assert (boxes, scores, labels, count) == ([BOXES[3], BOXES[2]], [0.875, 0.75], [3, 2], 2)


def test_equal_scores_go_by_their_order():
    boxes, _, labels, count = detect(BOXES, [0.5] * 4, [0, 0, 1, 0], max_per_image=5, iou_threshold=0.5)
    assert count == 3 and labels == [0, 1, 0, -1, -1] and boxes[:3] == [BOXES[0], BOXES[2], BOXES[3]]


def test_no_candidate_is_valid():
    boxes, scores, labels, count = detect(BOXES, [0.5] * 4, [0] * 4, [False] * 4, max_per_image=3)
    assert (count, labels, scores) == (0, [-1] * 3, [0] * 3) and boxes == [[0] * 4] * 3


def test_a_high_score_that_is_not_valid_is_left_out():
    boxes, scores, _, count = detect(
        BOXES, [0.875, 0.5, 0.25, 0.75], [0] * 4, [False, True, True, True], max_per_image=4
    )
    assert count == 2 and scores == [0.75, 0.5, 0, 0] and boxes[:2] == [BOXES[3], BOXES[1]]


@pytest.mark.parametrize("form", ["order", "order_by_pairs"])
@pytest.mark.parametrize("k", [2, 7, 300, 5792])
def test_order_is_stable_in_both_forms(form, k):
    """Up to the largest k whose squares are whole numbers of float32."""
    if (form, k) == ("order_by_pairs", 5792):
        k = 600  # comparisons of all pairs
    draws = np.random.default_rng(k)
    scores = draws.integers(-3, 4, (3, k)).astype(np.float32) / 4
    scores[2] = draws.permutation(k)
    found = getattr(TopRows(k), form)(Tensor(scores)).asnumpy()
    np.testing.assert_array_equal(found, np.argsort(-scores, axis=1, kind="stable"))


def test_more_than_can_be_keys_are_ordered_by_pairs(monkeypatch):
    monkeypatch.setattr(nms, "EXACT", 8)
    scores = np.array([[1, 0, 1, 2, 0]], np.float32)
    assert TopRows(5).order(Tensor(scores)).asnumpy().tolist() == [[3, 0, 2, 1, 4]]
