"""One training step as one compiled Cell: forward, loss, gradients, clipping, update, moving average."""

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore import dtype as mstype

from ..layers.random_mask import step_key
from ..layers.step_masks import StepMasks
from ..optim.ema import Ema
from ..optim.loss_scale import LossScale, all_finite
from ..optim.optimizer import ClipByGlobalNorm

_scale = ops.MultitypeFuncGraph("scale")


@_scale.register("Tensor", "Tensor")
def _scale_gradient(factor, gradient):
    return gradient * factor


_add = ops.MultitypeFuncGraph("add_to")


@_add.register("Tensor", "Tensor")
def _add_to(total, gradient):
    return ops.assign_add(total, gradient)


_clear = ops.MultitypeFuncGraph("clear")


@_clear.register("Tensor")
def _clear_total(total):
    return ops.assign(total, ops.zeros_like(total))


class TrainStep(nn.Cell):
    """Updates the network from a batch and returns the losses before the update.

    A Cell because a free function under `ms.jit` is 5 to 15 times slower on CPU. Parameters keep the network's names,
    so that checkpoints of the step load into the bare network.

    With `accumulate` = n, n calls make one step: their gradients are averaged, and the last call updates. With a loss
    scale, a step whose gradients overflow changes neither weights, optimizer nor average. Masks of dropout and
    stochastic depth follow from (seed, step, position in the global batch), see `src.layers.random_mask`.

    Args:
        losses: the arrays of a batch -> one or several losses, float32 (n,), whose sum is minimised; the network is in
            it, and is put in training mode.
        optimizer: over the network's trainable parameters.
        clip_norm: largest global norm of the gradients; no clipping when None.
        batch_size: images of a call.
        seed: of the masks.
        accumulate: calls that make a step.
        loss_scale: for float16.
        ema: moving average of the network's weights.
        reduce: averages gradients over devices; on one device None.
        rank, num_ranks: this device among those that share a global batch.
    """

    def __init__(
        self,
        losses: nn.Cell,
        optimizer: nn.Optimizer,
        clip_norm: float | None = None,
        *,
        batch_size: int,
        seed: int = 0,
        accumulate: int = 1,
        loss_scale: LossScale | None = None,
        ema: Ema | None = None,
        reduce: nn.Cell | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ):
        super().__init__(auto_prefix=False)
        self.losses = losses
        self.optimizer = optimizer
        self.clip = None if clip_norm is None else ClipByGlobalNorm(clip_norm)
        self.seed, self.accumulate, self.rank = seed, accumulate, rank
        self.masks = StepMasks(losses, batch_size, num_ranks * accumulate)
        self.loss_scale, self.ema, self.reduce = loss_scale, ema, reduce
        self.value_and_grad = ms.value_and_grad(self.forward, None, optimizer.parameters, has_aux=True)
        self.map = ops.HyperMap()
        if accumulate > 1:
            self.totals = ParameterTuple(optimizer.parameters).clone("accumulated", "zeros")
            self.calls = Parameter(Tensor(0, mstype.int32), name="accumulated_calls", requires_grad=False)
        self.set_train()

    def forward(self, scale, *batch):
        losses = self.losses(*batch)
        return losses.sum() * scale, losses

    def construct(self, *batch):
        """Arrays of a batch, the first of which the network computes with -> losses, float32 (n,)."""
        scale = ops.ones((), mstype.float32) if self.loss_scale is None else self.loss_scale.scale * 1.0
        first = ops.depend(batch[0], self.set_masks())
        values, gradients = self.value_and_grad(scale, first, *batch[1:])
        loss = values[1]
        if self.accumulate == 1:
            return ops.depend(loss, self.update(gradients, 1.0 / scale))
        added = self.map(_add, self.totals, gradients)
        calls = ops.depend(self.calls, added) + 1
        loss = ops.depend(loss, ops.assign(self.calls, calls % self.accumulate))
        if calls == self.accumulate:
            loss = ops.depend(loss, self.update(self.totals, 1.0 / (scale * self.accumulate)))
            loss = ops.depend(loss, self.map(_clear, self.totals))
        return loss

    def set_masks(self):
        part = ops.full((), self.rank * self.accumulate, dtype=mstype.int32)
        if self.accumulate > 1:
            part = part + self.calls
        return self.masks(step_key(self.seed, self.optimizer.global_step.reshape(())), part)

    def update(self, gradients, factor):
        """Applies `factor` * `gradients`, unless they overflow."""
        if self.reduce is not None:
            gradients = self.reduce(gradients)
        if self.loss_scale is not None or self.accumulate > 1:
            gradients = self.map(ops.partial(_scale, factor), gradients)
        if self.loss_scale is None:
            return self.apply(gradients)
        finite = all_finite(gradients)
        done = self.loss_scale(finite)
        if finite:
            done = ops.depend(done, self.apply(gradients))
        else:
            done = ops.depend(done, ops.assign_add(self.optimizer.global_step, 1))
        return done

    def apply(self, gradients):
        if self.clip is not None:
            gradients = self.clip(gradients)
        done = self.optimizer(gradients)
        return done if self.ema is None else ops.depend(done, self.ema_after(done))

    def ema_after(self, done):
        return ops.depend(self.ema(), done)
