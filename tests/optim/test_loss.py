"""Losses against PyTorch 2.14 and timm 1.0.31, whose values these are, and against NumPy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.optim.loss import class_weights, create_loss

LOGITS = np.array([[2.0, 0.0, -1.0, 0.5], [0.0, 1.0, 0.0, -3.0], [0.3, -0.2, 4.0, 1.0]], np.float32)
LABELS = np.array([0, 3, 1], np.int32)
SOFT = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.4, 0.6, 0.0], [0.25] * 4], np.float32)
WEIGHTS = [0.5, 1.0, 2.0, 3.0]
CASES = {
    "smoothed": (("cross_entropy", 0.1), LABELS, 2.9850052, [0.06157617, 0.1817004, 0.06157617, -0.30485274]),
    "soft": (("cross_entropy",), SOFT, 1.6550052, [0.0699095, 0.0567004, -0.1300905, 0.00348059]),
    "weighted": (
        ("cross_entropy", 0.0, WEIGHTS),
        LABELS,
        6.0475745,  # PyTorch's sum, by the number of images
        [0.20972851, 0.57010121, 0.20972851, -0.98955823],
    ),
    "soft, weighted": (
        ("cross_entropy", 0.0, WEIGHTS),
        SOFT,
        2.5253802,
        [0.11185521, 0.17072064, -0.28814479, 0.00556894],
    ),
    "binary": (("bce", 0.1), LABELS, 1.2170386, [0.03958333, 0.05883821, 0.03958333, -0.07313118]),
    "binary, soft": (("bce", 0.1), SOFT, 0.8845386, [0.04166667, 0.02758821, -0.00833333, 0.00395216]),
    "focal": (("focal",), LABELS, 2.8881677, [0.07504787, 0.20400125, 0.07504787, -0.35409698]),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case, mode):
    arguments, targets, expected, gradient = CASES[case]
    found, gradients = ms.value_and_grad(create_loss(*arguments))(Tensor(LOGITS), Tensor(targets))
    assert found.shape == ()
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=2e-6)
    np.testing.assert_allclose(gradients.asnumpy()[1], gradient, atol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "focal"])
def test_large_logits(name):
    """The loss of what is sure and right is 0, its derivative finite."""
    logits = Tensor(np.array([[200.0, -200.0, -200.0]], np.float32))
    for label, is_right in ((0, True), (1, False)):
        found, gradient = ms.value_and_grad(create_loss(name))(logits, Tensor([label], ms.int32))
        assert np.isfinite(gradient.asnumpy()).all() and (found.asnumpy() < 1e-6 if is_right else found.asnumpy() > 99)


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "focal"])
def test_the_same_bits_wherever_an_image_stands(name):
    """Threads share out a batch in other ways as MindSpore tries them, and a resumed run tries again."""
    rng, loss = np.random.default_rng(0), create_loss(name)
    logits = rng.normal(0, 2, (120, 9)).astype(np.float32)
    targets = np.eye(9, dtype=np.float32)[rng.integers(0, 9, 120)]

    def sum_of_terms(x, t):
        return loss.terms(x, t).sum()

    gradient = ms.grad(sum_of_terms)

    def bits(rows):
        values = Tensor(logits[rows]), Tensor(targets[rows])
        return np.stack([loss.terms(*values).asnumpy(), gradient(*values).asnumpy()], axis=1)

    parts = [bits(slice(start, start + 3)) for start in range(0, 120, 3)]
    np.testing.assert_array_equal(np.concatenate(parts), bits(slice(120)))


def test_weights_of_classes():
    """As scikit-learn's `compute_class_weight("balanced")` where each class has images."""
    labels = np.array([0, 0, 0, 0, 1, 3])
    np.testing.assert_allclose(class_weights(labels, 4), [0.5, 2.0, 0.0, 2.0])
    for power in (0.0, 0.5, 1.0):
        assert class_weights(labels, 4, power)[labels].mean() == pytest.approx(1.0)
    roots = class_weights(labels, 4, 0.5)
    assert roots[1] / roots[0] == pytest.approx(2.0)
