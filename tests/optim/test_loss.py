"""The loss against NumPy."""

import numpy as np
from mindspore import Tensor

from src.optim.loss import create_loss


def test_label_smoothing_spreads_over_all_classes(mode):
    logits = np.array([[2.0, 0.0, -1.0, 0.5], [0.0, 1.0, 0.0, 0.0]], np.float32)
    labels = np.array([0, 3], np.int32)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = np.full((2, 4), 0.1 / 4)
    targets[[0, 1], labels] += 0.9
    expected = -(targets * log_p).sum(axis=1).mean()
    loss = create_loss(0.1)(Tensor(logits), Tensor(labels)).asnumpy()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    soft = create_loss()(Tensor(logits), Tensor(targets.astype(np.float32))).asnumpy()
    np.testing.assert_allclose(soft, expected, rtol=1e-6)
