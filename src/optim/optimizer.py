"""AdamW with bias correction, SGD with momentum, the authors' decay groups, and clipping by the global norm.

MindSpore's own `nn.AdamWeightDecay` has no bias correction, `mint.optim.AdamW` runs on Ascend only, and
`experimental.optim.AdamW` is nine times slower on CPU.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore import dtype as mstype

_adamw = ops.MultitypeFuncGraph("adamw")


@_adamw.register(
    "Function", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor", "Tensor"
)  # fmt: skip
def _adamw_update(adam, lr, beta1, beta2, eps, weight_decay, parameter, m, v, gradient):
    return adam(parameter, m, v, lr, beta1, beta2, eps, weight_decay, gradient)


class AdamWRun(nn.Cell):
    """AdamW of parameters that are next to each other and have the same weight decay and learning rate.

    Tuples that hold a learning rate and a decay for each parameter would double the compile time of a training step.

    Args:
        first, last: where their gradients are among all, the last one excluded.
        parameters, moment1, moment2: what is updated.
        lr_scale: factor on the learning rate.
        weight_decay: relative to the learning rate.
        beta1, beta2: decay of the first and second moment.
    """

    def __init__(
        self,
        first: int,
        last: int,
        parameters: Sequence[Parameter],
        moment1: Sequence[Parameter],
        moment2: Sequence[Parameter],
        lr_scale: float,
        weight_decay: float,
        beta1: float,
        beta2: float,
    ):
        super().__init__(auto_prefix=False)
        self.first, self.last = first, last
        self.parameters = ParameterTuple(parameters)
        self.moment1, self.moment2 = ParameterTuple(moment1), ParameterTuple(moment2)
        self.lr_scale, self.weight_decay = lr_scale, weight_decay
        self.beta1, self.beta2 = Tensor(beta1, mstype.float32), Tensor(beta2, mstype.float32)
        self.adam = ops.AdamWeightDecay()
        self.map = ops.HyperMap()

    def construct(self, gradients, lr, eps, correction):
        """All gradients; learning rate and epsilon with the bias correction in them, and the correction alone.

        `ops.AdamWeightDecay` has no bias correction: m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) is
        correction * m / (sqrt(v) + eps'), where correction = sqrt(1 - beta2^t) / (1 - beta1^t) goes into its learning
        rate, and out of its weight decay.
        """
        lr, weight_decay = lr * self.lr_scale, self.weight_decay / correction
        update = ops.partial(_adamw, self.adam, lr, self.beta1, self.beta2, eps, weight_decay)
        gradients = gradients[self.first : self.last]
        return self.map(update, self.parameters, self.moment1, self.moment2, gradients)


class AdamW(nn.Optimizer):
    """Adam with decoupled weight decay and bias correction, equal to PyTorch's AdamW.

    The gradients are consumed in the order of `self.parameters`, which is that of the groups. State: `adam_m.*`,
    `adam_v.*`, `adam_updates` (for the bias correction) and `global_step` (for the learning rate; it also counts steps
    that the caller leaves out).

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
        self.eps = eps
        settings = _settings_of_each(self, lr_scales)
        self.runs = nn.CellList(
            [
                AdamWRun(
                    first,
                    last,
                    self.own_parameters[first:last],
                    self.moment1[first:last],
                    self.moment2[first:last],
                    *lr_scale_and_decay,
                    beta1,
                    beta2,
                )
                for first, last, lr_scale_and_decay in _runs([settings[index] for index in self.own])
            ],
            auto_prefix=False,
        )

    def construct(self, gradients):
        updates = self.updates.astype(mstype.float32) + 1.0
        root = ops.sqrt(1.0 - ops.pow(self.beta2, updates))
        correction = root / (1.0 - ops.pow(self.beta1, updates))
        lr, eps = self.get_lr() * correction, self.eps * root
        own = gradients
        if self.broadcasts:
            own = ()
            for index in self.own:
                own = own + (gradients[index],)
        done = ()
        for run in self.runs:
            done = done + (run(own, lr, eps, correction),)
        if self.broadcasts:
            # all gradients first: what nobody needs here would not be computed, and the other ranks would wait for it
            done = self.send(ops.depend(done, gradients))
        updates = ops.depend(ops.assign_add(self.updates, 1), done)
        return ops.depend(self.assignadd(self.global_step, 1), updates)

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


def _runs(keys: Sequence[Any]) -> list[tuple[int, int, Any]]:
    """(first, last + 1, key) of each stretch of equal keys."""
    runs, first = [], 0
    for key, stretch in itertools.groupby(keys):
        last = first + len(list(stretch))
        runs.append((first, last, key))
        first = last
    return runs


_momentum = ops.MultitypeFuncGraph("momentum_update")


@_momentum.register("Function", "Number", "Number", "Tensor", "Tensor", "Tensor", "Tensor")
def _update_with_momentum(apply_momentum, momentum, weight_decay, lr, parameter, velocity, gradient):
    if weight_decay > 0.0:
        gradient = gradient + weight_decay * parameter
    return apply_momentum(parameter, velocity, lr, gradient, momentum)


class SGDRun(nn.Cell):
    """SGD of parameters that are next to each other and have the same weight decay and learning rate; see `AdamWRun`.

    Args:
        first, last, parameters, lr_scale, weight_decay: see there.
        velocity: is updated too.
        momentum: share of it that is kept.
    """

    def __init__(
        self,
        first: int,
        last: int,
        parameters: Sequence[Parameter],
        velocity: Sequence[Parameter],
        lr_scale: float,
        weight_decay: float,
        momentum: float,
    ):
        super().__init__(auto_prefix=False)
        self.first, self.last = first, last
        self.parameters, self.velocity = ParameterTuple(parameters), ParameterTuple(velocity)
        self.lr_scale, self.weight_decay, self.momentum = lr_scale, weight_decay, momentum
        self.apply_momentum = ops.ApplyMomentum()
        self.map = ops.HyperMap()

    def construct(self, gradients, lr):
        lr = lr * self.lr_scale
        update = ops.partial(_momentum, self.apply_momentum, self.momentum, self.weight_decay, lr)
        return self.map(update, self.parameters, self.velocity, gradients[self.first : self.last])


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
        self.runs = nn.CellList(
            [
                SGDRun(
                    first, last, self.parameters[first:last], self.velocity[first:last], *lr_scale_and_decay, momentum
                )
                for first, last, lr_scale_and_decay in _runs(_settings_of_each(self, lr_scales))
            ],
            auto_prefix=False,
        )

    def construct(self, gradients):
        lr, done = self.get_lr(), ()
        for run in self.runs:
            done = done + (run(gradients, lr),)
        return ops.depend(self.assignadd(self.global_step, 1), done)


def _settings_of_each(optimizer: nn.Optimizer, lr_scales: Mapping[str, float] | None) -> list[tuple[float, float]]:
    """Factor on the learning rate, and weight decay, of each parameter."""
    decay = optimizer.weight_decay
    decays = decay if optimizer.is_group else [decay] * len(optimizer.parameters)
    scales = [(lr_scales or {}).get(parameter.name, 1.0) for parameter in optimizer.parameters]
    return [(scale, float(decay)) for scale, decay in zip(scales, decays, strict=True)]


def decay_groups(net: nn.Cell, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with the authors' weight decay (timm's rule): none on one-dimensional parameters, on biases and
    on the names in `net.no_weight_decay()`; PyramidTNT's relative positions decay.

    Args:
        net: a network of `create_model`.
        weight_decay: of all other trainable parameters.
    """
    exempt = net.no_weight_decay()
    decayed, others = [], []
    for p in net.trainable_params():
        is_exempt = p.ndim <= 1 or p.name.endswith(".bias") or p.name in exempt
        (others if is_exempt else decayed).append(p)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


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
