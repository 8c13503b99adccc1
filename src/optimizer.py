"""AdamW with bias correction, SGD with momentum, the authors' decay groups, and clipping by the global norm.

MindSpore's own `nn.AdamWeightDecay` has no bias correction, `mint.optim.AdamW` runs on Ascend only, and
`experimental.optim.AdamW` is nine times slower on CPU.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore import dtype as mstype

_update = ops.MultitypeFuncGraph("adamw_update")


@_update.register(
    "Function",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
    "Number",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
)
def _update_parameter(adam, beta1_power, beta2_power, beta1, beta2, eps, lr, weight_decay, parameter, m, v, gradient):
    if weight_decay > 0.0:
        gradient = ops.depend(gradient, ops.assign(parameter, parameter * (1.0 - lr * weight_decay)))
    return adam(parameter, m, v, beta1_power, beta2_power, lr, beta1, beta2, eps, gradient)


def _lr_of_each(lr, scales):
    """One learning rate a parameter."""
    rates = ()
    for scale in scales:
        rates = rates + (lr if scale == 1.0 else lr * scale,)
    return rates


class AdamW(nn.Optimizer):
    """Adam with decoupled weight decay and bias correction, equal to PyTorch's AdamW.

    The gradients are consumed in the order of `self.parameters`. State: `adam_m.*`, `adam_v.*`, `adam_updates` (for the
    bias correction) and `global_step` (for the learning rate; it also counts steps that the caller leaves out).

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.

    Args:
        parameters: parameters, or groups as `decay_groups` makes them.
        learning_rate: a number, or a schedule evaluated on the device at every step.
        weight_decay: of parameters whose group names none.
        beta1, beta2: decay of the first and second moment.
        eps: term of the denominator, added after bias correction.
        lr_scales: factor on the learning rate by parameter name; 1 for names that are not there.
        rank, num_ranks: with several ranks each keeps the moments of a share of the parameters, updates those, and
            sends them to the others (the first stage of Rajbhandari et al., ZeRO, 2020). MindSpore's own parallel
            optimizer knows neither this optimizer nor CPUs.
    """

    def __init__(
        self,
        parameters: list[Parameter] | list[dict[str, Any]],
        learning_rate: float | nn.learning_rate_schedule.LearningRateSchedule,
        weight_decay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        lr_scales: Mapping[str, float] | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ):
        super().__init__(learning_rate, parameters, weight_decay)
        self.owners = share_out([p.size for p in self.parameters], num_ranks)
        self.own = tuple(index for index, owner in enumerate(self.owners) if owner == rank)
        self.own_parameters = ParameterTuple([self.parameters[index] for index in self.own])
        self.moment1 = self.own_parameters.clone(prefix="adam_m", init="zeros")
        self.moment2 = self.own_parameters.clone(prefix="adam_v", init="zeros")
        self.broadcasts = tuple(ops.Broadcast(owner) for owner in range(num_ranks)) if num_ranks > 1 else ()
        self.updates = Parameter(Tensor(0, mstype.int32), name="adam_updates", requires_grad=False)
        self.beta1 = Tensor(beta1, mstype.float32)
        self.beta2 = Tensor(beta2, mstype.float32)
        self.eps = Tensor(eps, mstype.float32)
        decays = _decay_of_each(self)
        self.decays = tuple(decays[index] for index in self.own)
        self.scales = tuple((lr_scales or {}).get(p.name, 1.0) for p in self.own_parameters)
        self.adam = ops.Adam()
        self.map = ops.HyperMap()

    def construct(self, gradients):
        lr = _lr_of_each(self.get_lr(), self.scales)
        updates = self.updates.astype(mstype.float32) + 1.0
        beta1_power = ops.pow(self.beta1, updates)
        beta2_power = ops.pow(self.beta2, updates)
        # ops.Adam adds epsilon before bias correction; scaled by sqrt(1 - beta2^t) it is the term after it
        eps = self.eps * ops.sqrt(1.0 - beta2_power)
        update = ops.partial(_update, self.adam, beta1_power, beta2_power, self.beta1, self.beta2, eps)
        own = gradients
        if self.broadcasts:
            own = ()
            for index in self.own:
                own = own + (gradients[index],)
        result = self.map(update, lr, self.decays, self.own_parameters, self.moment1, self.moment2, own)
        if self.broadcasts:
            # all gradients first: what nobody needs here would not be computed, and the other ranks would wait for it
            result = self.send(ops.depend(result, gradients))
        result = ops.depend(result, ops.assign_add(self.updates, 1))
        return ops.depend(result, self.assignadd(self.global_step, 1))

    def send(self, result):
        """Gives every rank the parameters that another one has updated; one at a time, in the same order everywhere."""
        for index, parameter in enumerate(self.parameters):
            value = ops.depend(parameter * 1.0, result)
            (value,) = self.broadcasts[self.owners[index]]((value,))
            result = ops.depend(ops.assign(parameter, value), result)
        return result


def share_out(sizes: Sequence[int], num_ranks: int) -> tuple[int, ...]:
    """Which rank keeps the state of each parameter: the largest first, each to the rank that has least so far."""
    loads, owners = [0] * num_ranks, [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        owners[index] = min(range(num_ranks), key=loads.__getitem__)
        loads[owners[index]] += sizes[index]
    return tuple(owners)


_momentum = ops.MultitypeFuncGraph("momentum_update")


@_momentum.register("Function", "Number", "Tensor", "Number", "Tensor", "Tensor", "Tensor")
def _update_with_momentum(apply_momentum, momentum, lr, weight_decay, parameter, velocity, gradient):
    if weight_decay > 0.0:
        gradient = gradient + weight_decay * parameter
    return apply_momentum(parameter, velocity, lr, gradient, momentum)


class SGD(nn.Optimizer):
    """Stochastic gradient descent with momentum and L2 weight decay, equal to PyTorch's SGD.

    State: `velocity.*` and `global_step`.

    Args:
        parameters, learning_rate, weight_decay, lr_scales: as for `AdamW`.
        momentum: share of the velocity that is kept.
    """

    def __init__(
        self,
        parameters: list[Parameter] | list[dict[str, Any]],
        learning_rate: float | nn.learning_rate_schedule.LearningRateSchedule,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        lr_scales: Mapping[str, float] | None = None,
    ):
        super().__init__(learning_rate, parameters, weight_decay)
        self.velocity = self.parameters.clone(prefix="velocity", init="zeros")
        self.momentum = momentum
        self.decays = _decay_of_each(self)
        self.scales = tuple((lr_scales or {}).get(p.name, 1.0) for p in self.parameters)
        self.apply_momentum = ops.ApplyMomentum()
        self.map = ops.HyperMap()

    def construct(self, gradients):
        lr = _lr_of_each(self.get_lr(), self.scales)
        update = ops.partial(_momentum, self.apply_momentum, self.momentum)
        result = self.map(update, lr, self.decays, self.parameters, self.velocity, gradients)
        return ops.depend(result, self.assignadd(self.global_step, 1))


def _decay_of_each(optimizer: nn.Optimizer) -> tuple[float, ...]:
    """One weight decay a parameter, as plain numbers, so that the graph holds no branch for it."""
    decay = optimizer.weight_decay
    return tuple(float(value) for value in (decay if optimizer.is_group else [decay] * len(optimizer.parameters)))


def decay_groups(net: nn.Cell, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with the authors' weight decay (timm's rule): none on one-dimensional parameters, on biases and
    on the names in `net.no_weight_decay()`; PyramidTNT's relative positions decay.

    Args:
        net: a network of `create_model`.
        weight_decay: of all other trainable parameters.
    """
    exempt = net.no_weight_decay()
    parameters = net.trainable_params()
    decayed, others = [], []
    for p in parameters:
        is_exempt = p.ndim <= 1 or p.name.endswith(".bias") or p.name in exempt
        (others if is_exempt else decayed).append(p)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]] + [{"order_params": parameters}]


_scale = ops.MultitypeFuncGraph("scale_gradient")


@_scale.register("Tensor", "Tensor")
def _scale_gradient(factor, gradient):
    return gradient * factor.astype(gradient.dtype)


_square_sum = ops.MultitypeFuncGraph("square_sum")


@_square_sum.register("Tensor")
def _gradient_square_sum(gradient):
    return ops.square(gradient.astype(mstype.float32)).sum()


class ClipByGlobalNorm(nn.Cell):
    """Scales all gradients so that the norm over all of them together is at most `max_norm`, as PyTorch does.

    Args:
        max_norm: largest norm.
    """

    def __init__(self, max_norm: float):
        super().__init__()
        self.max_norm = max_norm
        self.map = ops.HyperMap()

    def construct(self, gradients):
        """A tuple of gradients -> the scaled tuple."""
        norm = ops.sqrt(ops.addn(self.map(_square_sum, gradients)))
        factor = ops.minimum(self.max_norm / (norm + 1e-6), Tensor(1.0, mstype.float32))
        return self.map(ops.partial(_scale, factor), gradients)
