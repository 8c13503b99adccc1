"""Losses of classification, of which each is the mean over a batch."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from ..layers.log_softmax import LogSoftmax
from ..layers.stable_softplus import StableSoftplus
from ..rule import LossName


class ClassLoss(nn.Cell):
    """Base: logits (B, K) and int32 labels (B,) or soft targets (B, K) -> the mean over images, a scalar.

    Args:
        label_smoothing: s; a label's target is 1 - s + s / K, that of the others s / K. Soft targets stay as they are.
        class_weights: factors on what each class adds to the loss, as PyTorch's `weight`; None for 1. The sum is
            divided by the number of images whatever the weights are, so that it does not depend on how a batch is cut.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None):
        super().__init__()
        self.label_smoothing = label_smoothing
        self.on, self.off = Tensor(1.0, mstype.float32), Tensor(0.0, mstype.float32)
        self.one_hot = ops.OneHot()
        self.is_weighted = class_weights is not None
        self.weights = Tensor(np.array(class_weights if self.is_weighted else [1.0], np.float32))

    def construct(self, logits, targets):
        if targets.ndim == 1:
            targets = self.one_hot(targets, logits.shape[1], self.on, self.off)
            if self.label_smoothing > 0.0:
                targets = targets * (1.0 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        terms = self.terms(logits, targets)
        if self.is_weighted:
            terms = terms * self.weights
        return terms.sum(axis=1).mean()

    def terms(self, logits, targets):
        """What each class of each image adds, (B, K)."""
        raise NotImplementedError


class CrossEntropy(ClassLoss):
    """Cross-entropy of the softmax; the last digits of MindSpore's own depend on how threads share a batch."""

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None):
        super().__init__(label_smoothing, class_weights)
        self.log_softmax = LogSoftmax()

    def terms(self, logits, targets):
        return -targets * self.log_softmax(logits)


class BinaryCrossEntropy(ClassLoss):
    """Binary cross-entropy of the sigmoid of each class, the mean over classes.

    Source: timm's `BinaryCrossEntropy` (Wightman et al., ResNet strikes back, arXiv 2110.00476, section 2).
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None):
        super().__init__(label_smoothing, class_weights)
        self.softplus = StableSoftplus()

    def terms(self, logits, targets):
        return (self.softplus(logits) - logits * targets) / logits.shape[1]


class FocalLoss(CrossEntropy):
    """Cross-entropy in which what is sure counts little: a term is multiplied by (1 - p)^2, p of the softmax.

    Source: Lin et al., Focal Loss for Dense Object Detection, arXiv 1708.02002, equation 4, gamma 2.
    """

    def terms(self, logits, targets):
        log_probabilities = self.log_softmax(logits)
        rest = 1.0 - ops.exp(log_probabilities)
        return -targets * log_probabilities * rest * rest


def class_weights(labels: np.ndarray, num_classes: int, power: float = 1.0) -> np.ndarray:
    """Weights (num_classes,) in proportion to m^-`power` of a class with m of the labels (n,), whose mean over the
    labels is 1; 0 for a class without."""
    counts = np.bincount(labels, minlength=num_classes)
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -power, 0.0)
    return weights * len(labels) / (weights * counts).sum()


_LOSSES = {"cross_entropy": CrossEntropy, "bce": BinaryCrossEntropy, "focal": FocalLoss}


def create_loss(
    name: LossName = "cross_entropy", label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> ClassLoss:
    """The loss of `train.loss`; see `ClassLoss`."""
    return _LOSSES[name](label_smoothing, class_weights)
