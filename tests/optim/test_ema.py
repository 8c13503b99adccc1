"""The moving average against NumPy, and training that goes on after an evaluation with it."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from src.engine.train_step import TrainStep
from src.layers.linear import Linear
from src.layers.norm import BatchNorm2d
from src.optim.ema import Ema
from src.optim.loss_scale import LossScale
from src.optim.optimizer import AdamW
from src.tasks.classification import ClassificationLoss

pytestmark = pytest.mark.usefixtures("equal_graphs")

RNG = np.random.RandomState(0)
BATCHES = [
    (Tensor(RNG.randn(8, 3, 2, 2).astype(np.float32)), Tensor(RNG.randint(0, 4, 8).astype(np.int32))) for _ in range(8)
]


class Net(nn.Cell):
    """A batch norm, a trained layer and a frozen parameter."""

    def __init__(self):
        super().__init__()
        self.norm = BatchNorm2d(3)
        self.head = Linear(3, 4)
        self.frozen = Parameter(Tensor(np.full(4, 0.5, np.float32)), name="frozen", requires_grad=False)
        self.head.weight.set_data(Tensor(np.random.RandomState(1).randn(4, 3).astype(np.float32)))

    def construct(self, x):
        return self.head(self.norm(x).mean(axis=(2, 3))) + self.frozen


def values(parameters):
    return {p.name: p.asnumpy().copy() for p in parameters}


def build(decay=0.9, warmup=False, accumulate=1, scaled=False):
    net = Net()
    ema = Ema(net, decay, warmup)
    optimizer = AdamW(net.trainable_params(), 0.05)
    loss_scale = LossScale(2.0**10) if scaled else None
    step = TrainStep(
        ClassificationLoss(net),
        optimizer,
        batch_size=len(BATCHES[0][0]),
        accumulate=accumulate,
        loss_scale=loss_scale,
        ema=ema,
    )
    return net, ema, step


@pytest.mark.parametrize("warmup", [False, True])
def test_equals_numpy(warmup):
    """Update t counts from 1; with warm-up its decay is min(decay, (1 + t) / (10 + t)): 2/11, 3/12, 4/13, .3."""
    decay = 0.3
    net, ema, step = build(decay, warmup)
    expected = values(net.get_parameters())
    for t, batch in enumerate(BATCHES, start=1):
        step(*batch)
        kept = min(decay, (1 + t) / (10 + t)) if warmup else decay
        for name, value in values(net.get_parameters()).items():
            expected[name] = kept * expected[name] + (1 - kept) * value
    averages = values(ema.averages)
    for name in ("head.weight", "head.bias", "norm.gamma", "norm.beta", "norm.moving_mean", "norm.moving_variance"):
        np.testing.assert_allclose(averages.pop(f"ema.{name}"), expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
        assert np.abs(expected[name] - net.parameters_dict()[name].asnumpy()).max() > 1e-4
    assert not averages  # the frozen parameter has none
    assert ema.updates.asnumpy() == len(BATCHES)
    assert not any(average.requires_grad for average in ema.averages)


def test_starts_as_a_copy_and_trains_nothing_itself():
    net, ema, _ = build()
    for weight, average in zip(ema.weights, ema.averages, strict=True):
        np.testing.assert_array_equal(average.asnumpy(), weight.asnumpy())
    assert {p.name for p in net.get_parameters()} == set(values(Net().get_parameters()))


def test_applied_swaps_to_the_bit_also_after_an_error():
    net, ema, step = build()
    for batch in BATCHES[:3]:
        step(*batch)
    weights, averages = values(net.get_parameters()), values(ema.averages)
    net.set_train(False)
    raw = net(BATCHES[0][0]).asnumpy()
    with pytest.raises(RuntimeError), ema.applied():
        for name, value in averages.items():
            np.testing.assert_array_equal(net.parameters_dict()[name.removeprefix("ema.")].asnumpy(), value)
        assert np.abs(net(BATCHES[0][0]).asnumpy() - raw).max() > 1e-3
        raise RuntimeError
    for before, now in ((weights, values(net.get_parameters())), (averages, values(ema.averages))):
        for name, value in before.items():
            np.testing.assert_array_equal(now[name], value, err_msg=name)
    np.testing.assert_array_equal(net(BATCHES[0][0]).asnumpy(), raw)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
def test_training_goes_on_correctly_after_evaluations(accumulate, scaled):
    """With and without the evaluations: the same weights, averages and moments, to the bit."""
    results = []
    for evaluates in (False, True):
        ms.set_seed(1)
        net, ema, step = build(accumulate=accumulate, scaled=scaled)
        for number, batch in enumerate(BATCHES, start=1):
            step(*batch)
            if evaluates and number in (2, 4):
                net.set_train(False)
                net(BATCHES[0][0])
                with ema.applied():
                    net(BATCHES[0][0])
                step.set_train()
        assert ema.updates.asnumpy() == len(BATCHES) // accumulate
        results.append(values(step.get_parameters()))
    without, evaluated = results
    assert without.keys() == evaluated.keys() and {"ema.head.weight", "adam_m.head.weight"} <= without.keys()
    for name, value in without.items():
        np.testing.assert_array_equal(evaluated[name], value, err_msg=name)
