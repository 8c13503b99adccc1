"""The training loss."""

from mindspore import nn


def create_loss(label_smoothing: float = 0.0) -> nn.Cell:
    """Mean cross-entropy of logits (B, K) against int32 labels (B,) or soft targets (B, K).

    Args:
        label_smoothing: share of each target that is spread evenly over all K classes.
    """
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
