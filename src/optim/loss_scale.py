"""Dynamic loss scaling: small float16 gradients survive, and a step whose gradients overflow is left out."""

from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

_is_finite = ops.MultitypeFuncGraph("is_finite")


@_is_finite.register("Tensor")
def _gradient_is_finite(gradient):
    return ops.isfinite(gradient.astype(mstype.float32).sum())


def all_finite(gradients):
    """Whether no gradient holds an infinity or NaN, a bool Tensor. A sum that overflows float32 counts as one."""
    finite = ops.HyperMap()(_is_finite, gradients)
    return ops.stack(finite).all()


class LossScale(nn.Cell):
    """The factor on the loss: halved at an overflow, doubled after `growth_steps` steps without one.

    Source: Micikevicius et al., Mixed Precision Training, 2018, section 3.2.

    Attributes:
        scale: the factor, float32.
        good_steps: steps since it last changed.
        skipped: steps left out so far.

    Args:
        initial: first factor.
        growth_steps: steps without overflow before it is doubled.
    """

    HIGHEST = 2.0**24

    def __init__(self, initial: float = 2.0**16, growth_steps: int = 2000):
        super().__init__(auto_prefix=False)
        self.growth_steps = growth_steps
        self.scale = Parameter(Tensor(initial, mstype.float32), name="loss_scale", requires_grad=False)
        self.good_steps = Parameter(Tensor(0, mstype.int32), name="loss_scale_good_steps", requires_grad=False)
        self.skipped = Parameter(Tensor(0, mstype.int32), name="skipped_steps", requires_grad=False)

    def is_exhausted(self) -> bool:
        """Whether a step overflowed although the loss was not enlarged any more."""
        return float(self.scale.asnumpy()) < 1.0

    def construct(self, finite):
        """Takes note of a step: `finite`, a bool Tensor, says whether its gradients were."""
        good_steps = ops.select(finite, self.good_steps + 1, ops.zeros_like(self.good_steps))
        grow = good_steps >= self.growth_steps
        scale = ops.select(finite, self.scale * 1.0, self.scale * 0.5)
        scale = ops.select(grow, ops.minimum(scale * 2.0, self.HIGHEST), scale)
        good_steps = ops.select(grow, ops.zeros_like(good_steps), good_steps)
        skipped = self.skipped + ops.select(finite, ops.zeros_like(self.skipped), ops.ones_like(self.skipped))
        done = ops.depend(ops.assign(self.scale, scale), ops.assign(self.good_steps, good_steps))
        return ops.depend(done, ops.assign(self.skipped, skipped))
