"""Losses of single values, and of a batch of three anchors."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.detection.losses import FocalLoss, SigmoidCrossEntropy, SmoothL1, SoftmaxCrossEntropy
from src.detection.retinanet import RetinaNetLosses

LN2 = math.log(2)


def floats(*values):
    return Tensor(np.array(values, np.float32))


def test_focal_loss_of_an_undecided_logit(mode):
    found = FocalLoss()(floats([0, 0]), floats([1, 0])).asnumpy()
    np.testing.assert_allclose(found, [[0.25 * 0.25 * LN2, 0.75 * 0.25 * LN2]], rtol=1e-5)
    found = FocalLoss(gamma=1.0, alpha=0.5)(floats([0, 0]), floats([1, 0])).asnumpy()
    np.testing.assert_allclose(found, [[0.25 * LN2] * 2], rtol=1e-5)


def test_focal_loss_of_a_probability_of_a_fifth():
    logit = math.log(0.2 / 0.8)
    found = FocalLoss()(floats([logit, logit]), floats([1, 0])).asnumpy()
    np.testing.assert_allclose(found, [[-0.25 * 0.64 * math.log(0.2), -0.75 * 0.04 * math.log(0.8)]], rtol=1e-5)


def test_losses_of_large_logits_are_finite():
    logits, targets = floats([200, -200, 200, -200]), floats([1, 0, 0, 1])
    np.testing.assert_allclose(FocalLoss()(logits, targets).asnumpy(), [[0, 0, 150, 50]], atol=1e-5)
    np.testing.assert_allclose(SigmoidCrossEntropy()(logits, targets).asnumpy(), [[0, 0, 200, 200]], atol=1e-5)
    gradient = ms.grad(FocalLoss())(logits, targets).asnumpy()
    np.testing.assert_allclose(gradient, [[0, 0, 0.75, -0.25]], atol=1e-5)


def test_smooth_l1():
    found, target = floats(0, 1, -3, 5), floats(0, 0, 0, 4.5)
    np.testing.assert_allclose(SmoothL1()(found, target).asnumpy(), [0, 1, 3, 0.5])
    np.testing.assert_allclose(SmoothL1(1.0)(found, target).asnumpy(), [0, 0.5, 2.5, 0.125])
    np.testing.assert_allclose(SmoothL1(0.5)(found, target).asnumpy(), [0, 0.75, 2.75, 0.25])


def test_cross_entropies():
    np.testing.assert_allclose(SigmoidCrossEntropy()(floats(0, 0), floats(0, 0.5)).asnumpy(), [LN2, LN2], rtol=1e-6)
    logits = floats([0, 0, 0, 0], [0, math.log(3), -99, -99])
    found = SoftmaxCrossEntropy()(logits, Tensor(np.array([2, 1], np.int32))).asnumpy()
    np.testing.assert_allclose(found, [2 * LN2, math.log(4 / 3)], rtol=1e-5)


@pytest.mark.parametrize("loss", [FocalLoss, SigmoidCrossEntropy])
def test_the_same_bits_wherever_a_value_stands(loss):
    """Threads share out an array in other ways as MindSpore tries them, and a resumed run tries again."""
    rng, net = np.random.default_rng(0), loss()
    gradient = ms.grad(net)
    logits, targets = rng.normal(0, 3, 350).astype(np.float32), rng.integers(0, 2, 350).astype(np.float32)

    def bits(part):
        values = Tensor(logits[part].copy()), Tensor(targets[part].copy())
        return np.stack([net(*values).asnumpy(), gradient(*values).asnumpy()])

    parts = [bits(slice(start, start + 7)) for start in range(0, 350, 7)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), bits(slice(350)))


class TwoClasses(nn.Cell):
    """All that losses of given outputs ask of a network."""

    num_classes = 2


@pytest.mark.parametrize("labels,count", [([[1, 2, -1], [2, 2, 2]], 2), ([[1, 0, -1], [1, 2, 2]], 3)])
def test_losses_of_a_batch(labels, count):
    """Logits are 0 and deltas wrong by 1 in each of four places; an image without positives counts as one."""
    labels = np.array(labels, np.int32)
    zeros = Tensor(np.zeros((2, 3, 2), np.float32))
    deltas = Tensor(np.zeros((2, 3, 4), np.float32)), Tensor(np.ones((2, 3, 4), np.float32))
    classes, boxes = RetinaNetLosses(TwoClasses()).of_outputs(zeros, deltas[0], Tensor(labels), deltas[1]).asnumpy()
    positive = int(((labels >= 0) & (labels < 2)).sum())
    values = 2 * 5 - positive  # of two classes at five anchors that take part
    assert classes == pytest.approx((positive * 0.25 + values * 0.75) * 0.25 * LN2 / count, rel=1e-5)
    assert boxes == pytest.approx(4 * positive / count)


def test_ignored_anchors_and_deltas_of_background_do_not_count():
    labels = Tensor(np.array([[0, 2, -1]], np.int32))
    logits, deltas = np.zeros((1, 3, 2), np.float32), np.zeros((1, 3, 4), np.float32)
    losses, target = RetinaNetLosses(TwoClasses()), Tensor(deltas)
    before = losses.of_outputs(Tensor(logits), Tensor(deltas), labels, target).asnumpy()
    logits[0, 2], deltas[0, 1:] = 7, 7
    np.testing.assert_array_equal(losses.of_outputs(Tensor(logits), Tensor(deltas), labels, target).asnumpy(), before)
