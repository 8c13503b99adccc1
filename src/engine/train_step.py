"""One training step as one compiled Cell: forward, loss, gradients, clipping, update."""

import mindspore as ms
from mindspore import nn, ops

from src.optimizer import ClipByGlobalNorm


class TrainStep(nn.Cell):
    """Updates the network from a batch and returns the loss before the update.

    A Cell because a free function under `ms.jit` is 5 to 15 times slower on CPU. Parameters keep the network's names,
    so that checkpoints of the step load into the bare network.

    Args:
        net: the network; put in training mode by this step.
        loss: (logits, targets) -> scalar.
        optimizer: over `net`'s trainable parameters.
        clip_norm: largest global norm of the gradients; no clipping when None.
    """

    def __init__(self, net: nn.Cell, loss: nn.Cell, optimizer: nn.Optimizer, clip_norm: float | None = None):
        super().__init__(auto_prefix=False)
        self.net = net
        self.loss = loss
        self.optimizer = optimizer
        self.clip = None if clip_norm is None else ClipByGlobalNorm(clip_norm)
        self.value_and_grad = ms.value_and_grad(self.forward, None, optimizer.parameters)
        self.set_train()

    def forward(self, images, targets):
        return self.loss(self.net(images), targets)

    def construct(self, images, targets):
        """Images (B, in_channels, H, W), labels (B,) int32 or soft targets (B, K) -> loss, a float32 scalar."""
        loss, gradients = self.value_and_grad(images, targets)
        if self.clip is not None:
            gradients = self.clip(gradients)
        return ops.depend(loss, self.optimizer(gradients))
