"""Losses of detectors, as sums over what is weighted; what they are divided by is the caller's matter."""

from mindspore import nn, ops

from ..layers.log_softmax import LogSoftmax
from ..layers.stable_softplus import StableSoftplus


class FocalLoss(nn.Cell):
    """Sigmoid cross-entropy in which what is easy counts little, of logits (n, K) and one-hot targets (n, K) -> (n, K).

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017, equation 5.

    Args:
        gamma: how little.
        alpha: weight of the positives; negatives have 1 - alpha.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha
        self.softplus = StableSoftplus()

    def construct(self, logits, targets):
        probability = ops.sigmoid(logits)
        wrong = probability + targets - 2.0 * probability * targets  # 1 - p where it is positive, else p
        weight = (1.0 - self.alpha + (2.0 * self.alpha - 1.0) * targets) * self.power(wrong)
        return weight * (self.softplus(logits) - logits * targets)

    def power(self, value):
        return value * value if self.gamma == 2.0 else value**self.gamma


class SmoothL1(nn.Cell):
    """|difference|, below `beta` a parabola; element by element.

    Source: Girshick, Fast R-CNN, 2015, equation 3.

    Args:
        beta: 0 for the plain L1.
    """

    def __init__(self, beta: float = 0.0):
        super().__init__()
        self.beta = beta

    def construct(self, found, target):
        distance = ops.abs(found - target)
        if self.beta == 0.0:
            return distance
        near = ops.minimum(distance, self.beta)  # a selection's derivative needs an operator of Ascend's
        return near * (distance - 0.5 * near) / self.beta


class SigmoidCrossEntropy(nn.Cell):
    """Binary cross-entropy of logits and targets from 0 to 1 of the same shape, element by element."""

    def __init__(self):
        super().__init__()
        self.softplus = StableSoftplus()

    def construct(self, logits, targets):
        return self.softplus(logits) - logits * targets


class SoftmaxCrossEntropy(nn.Cell):
    """Logits (n, K), labels (n,) int32 -> (n,)."""

    def __init__(self):
        super().__init__()
        self.log_softmax = LogSoftmax()

    def construct(self, logits, labels):
        return -ops.gather_elements(self.log_softmax(logits), 1, labels.reshape(-1, 1))[:, 0]
