"""The training step: parts of a batch against the whole, overflows, and soft targets."""

import functools

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from src.compilation.recompute import recompute_blocks
from src.data.epoch_order import positions
from src.engine.train_step import TrainStep
from src.layers.linear import Linear
from src.layers.random_mask import mask_state
from src.models import create_model
from src.optim.ema import Ema
from src.optim.loss import create_loss
from src.optim.loss_scale import LossScale
from src.optim.optimizer import SGD, AdamW, decay_groups
from src.tasks.classification import ClassificationLoss

BATCH, STEPS, CLASSES = 8, 3, 5
RATES = {"num_classes": CLASSES, "drop_rate": 0.2, "drop_path_rate": 0.5}
NETWORKS = {
    "tnt": (
        "tnt_ti_patch16_224",
        dict(image_size=32, depth=1, inner_dim=4, inner_num_heads=2, outer_dim=16, outer_num_heads=2),
    ),
    "t2t": ("t2t_vit_7", dict(image_size=32, token_dim=8, embed_dim=24, depth=2, num_heads=3)),
    "pyramid": (
        "ptnt_ti_patch16_192",
        dict(
            image_size=32,
            depths=(1, 1, 1, 1),
            inner_dims=(2, 4, 4, 4),
            inner_num_heads=(1, 2, 2, 2),
            outer_dims=(8, 8, 16, 16),
            outer_num_heads=(1, 2, 2, 2),
            batch_norm="eval",
        ),
    ),
}


def batch_of(step, image_size=32):
    """Images (8, 3, H, W) and labels (8,)."""
    rng = np.random.RandomState(100 + step)
    images = rng.randn(BATCH, 3, image_size, image_size).astype(np.float32)
    return images, rng.randint(0, CLASSES, BATCH).astype(np.int32)


def train(kind, accumulate, recompute=False):
    """Losses of the steps, and all weights and averages at the end."""
    ms.set_seed(1)
    name, arguments = NETWORKS[kind]
    net = create_model(name, **arguments, **RATES, attn_drop_rate=0.2)
    if recompute:
        recompute_blocks(net)
    optimizer, ema = AdamW(decay_groups(net, 0.05), 1e-3), Ema(net, 0.9)
    batch_size = BATCH // accumulate
    step_cell = TrainStep(
        ClassificationLoss(net, create_loss(label_smoothing=0.1)),
        optimizer,
        0.5,
        batch_size=batch_size,
        seed=3,
        accumulate=accumulate,
        ema=ema,
    )
    losses = []
    for step in range(STEPS):
        images, labels = batch_of(step)
        parts = [positions(part, accumulate, BATCH // accumulate, paired=True) for part in range(accumulate)]
        losses.append(np.mean([step_cell(Tensor(images[p]), Tensor(labels[p])).asnumpy() for p in parts]))
    assert optimizer.global_step.asnumpy() == optimizer.updates.asnumpy() == ema.updates.asnumpy() == STEPS
    return losses, {p.name: p.asnumpy() for p in (*net.get_parameters(), *ema.averages)}


@pytest.fixture(scope="module")
def whole():
    """What whole batches give, by network, in graph mode; each is trained once."""
    return functools.cache(lambda kind: train(kind, 1))


@pytest.mark.parametrize(
    "kind,accumulate",
    [
        ("tnt", 4),
        pytest.param("t2t", 2, marks=pytest.mark.slow),
        pytest.param("pyramid", 2, marks=pytest.mark.slow),
    ],
)
def test_accumulation_equals_the_whole_batch(kind, accumulate, whole):
    """With dropout of all kinds, clipping, weight decay and moving average."""
    losses, parameters = whole(kind)
    got_losses, got = train(kind, accumulate)
    np.testing.assert_allclose(got_losses, losses, atol=1e-5)
    for name, value in parameters.items():
        np.testing.assert_allclose(got[name], value, atol=1e-5, err_msg=name)


def test_recompute_changes_nothing(whole):
    """The masks of dropout are the same in the second computation of a block; derivatives are MindSpore's own there."""
    losses, parameters = whole("tnt")
    got_losses, got = train("tnt", 1, recompute=True)
    np.testing.assert_allclose(got_losses, losses, atol=1e-6)
    for name, value in parameters.items():
        np.testing.assert_allclose(got[name], value, atol=2e-5, err_msg=name)


def test_pynative_equals_graph_mode(whole):
    losses, _ = whole("tnt")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(train("tnt", 1)[0], losses, atol=1e-5)


class Net(nn.Cell):
    """The smallest network: compiling it takes a second."""

    def __init__(self):
        super().__init__()
        self.head = Linear(3, CLASSES)
        self.bias = Parameter(Tensor(np.zeros(CLASSES, np.float32)), name="bias")

    def construct(self, images):
        return self.head(images.mean(axis=(2, 3))) + self.bias


def build(accumulate=1, loss_scale=None, clip_norm=None, optimizer=AdamW):
    ms.set_seed(1)
    net = Net()
    return TrainStep(
        ClassificationLoss(net),
        optimizer(net.trainable_params(), 0.1),
        clip_norm,
        batch_size=BATCH,
        accumulate=accumulate,
        loss_scale=loss_scale,
        ema=Ema(net, 0.9),
    )


def state(step):
    return {p.name: p.asnumpy().copy() for p in step.get_parameters()}


def run(step, *numbers, broken=()):
    """Calls it with small batches, the first image of the `broken` ones infinite."""
    for number in numbers:
        images, labels = batch_of(number, 2)
        if number in broken:
            images[0] = np.inf
        step(Tensor(images), Tensor(labels))


COUNTERS = {"global_step", "loss_scale", "loss_scale_good_steps", "skipped_steps", "accumulated_calls"}


@pytest.mark.parametrize(
    "mode,accumulate,broken",
    [
        ("graph", 1, 1),
        ("graph", 2, 3),
        pytest.param("graph", 2, 2, marks=pytest.mark.slow),
        *(("pynative", *case) for case in ((1, 1), (2, 2), (2, 3))),
    ],
    indirect=["mode"],
)
def test_an_overflow_changes_nothing_but_the_counters(accumulate, broken, mode):
    """Also where only one of the parts overflows; the step after it is that of a run without the broken one."""
    step, n = build(accumulate, LossScale(2.0**10)), accumulate
    run(step, *range(n))
    before = state(step)
    run(step, *range(n, 2 * n), broken=[broken])
    after = state(step)
    for name in before.keys() - COUNTERS:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert after["global_step"] == 2 and after["adam_updates"] == after["ema_updates"] == 1
    assert after["loss_scale"] == 2**9 and after["skipped_steps"] == 1
    run(step, *range(2 * n, 3 * n))
    other = build(accumulate, LossScale(2.0**10))
    run(other, *range(n), *range(2 * n, 3 * n))
    got, expected = state(step), state(other)
    for name in before.keys() - COUNTERS:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
    assert np.abs(got["bias"] - before["bias"]).max() > 0.01


def test_an_overflow_with_sgd():
    step = build(loss_scale=LossScale(2.0**10), optimizer=SGD)
    run(step, 0)
    before = state(step)
    run(step, 1, broken=[1])
    after = state(step)
    for name in before.keys() - COUNTERS:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    assert after["global_step"] == 2


def test_the_loss_scale_does_not_change_steps_without_overflow():
    """Clipping sees gradients that are scaled back."""
    plain, scaled = (
        build(clip_norm=0.1, optimizer=SGD),
        build(loss_scale=LossScale(2.0**12), clip_norm=0.1, optimizer=SGD),
    )
    for number in range(3):
        images, labels = batch_of(number, 2)
        losses = [step(Tensor(images), Tensor(labels)).asnumpy().item() for step in (plain, scaled)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # as it is, not scaled
    expected = state(plain)
    for name, value in expected.items():
        np.testing.assert_allclose(state(scaled)[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_gradients_are_averaged_over_parts():
    """By hand: SGD's first step with rate 0.1 is -0.1 times the mean of the parts' gradients of the bias, p - y."""
    step = build(accumulate=2, optimizer=SGD)
    start = state(step)
    run(step, 0)
    np.testing.assert_array_equal(state(step)["bias"], start["bias"])  # not yet
    run(step, 1)
    expected = np.zeros(CLASSES)
    for number in (0, 1):
        images, labels = batch_of(number, 2)
        logits = images.mean((2, 3)) @ start["head.weight"].T
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected -= 0.1 * (p - np.eye(CLASSES)[labels]).mean(0) / 2
    np.testing.assert_allclose(state(step)["bias"], expected, atol=1e-6)


def test_soft_targets_of_one_class_equal_labels():
    by_label, by_target = build(), build()
    for number in range(3):
        images, labels = batch_of(number, 2)
        loss = by_label(Tensor(images), Tensor(labels))
        soft = by_target(Tensor(images), Tensor(np.eye(CLASSES, dtype=np.float32)[labels]))
        np.testing.assert_allclose(soft.asnumpy(), loss.asnumpy(), rtol=1e-6)
    for name, value in state(by_label).items():
        np.testing.assert_allclose(state(by_target)[name], value, atol=1e-6, err_msg=name)


def test_mixed_soft_targets():
    """The loss of a mixture is the mixture of the losses."""
    step = build()
    images, labels = batch_of(0, 2)
    logits = images.mean((2, 3)) @ state(step)["head.weight"].T
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = 0.3 * np.eye(CLASSES)[labels] + 0.7 * np.eye(CLASSES)[labels[::-1]]
    loss = step(Tensor(images), Tensor(targets.astype(np.float32)))
    assert loss.asnumpy().item() == pytest.approx(-(targets * log_p).sum(1).mean(), rel=1e-5)


def test_ranks_and_parts_see_the_masks_of_their_positions():
    """The part of the global batch that a rank's micro-batch is, as `TrainLoader` counts them."""
    net = Net()
    step = TrainStep(
        ClassificationLoss(net), SGD(net.trainable_params(), 0.1), batch_size=BATCH, accumulate=3, rank=1, num_ranks=2
    )
    images, labels = batch_of(0, 2)
    seen = []
    for _ in range(4):
        step(Tensor(images), Tensor(labels))
        seen.append(mask_state.asnumpy().tolist())
    keys = [key for key, *_ in seen]
    assert [rest for _, *rest in seen] == [[part, 6, BATCH] for part in (3, 4, 5, 3)]
    assert keys[0] == keys[1] == keys[2] != keys[3]  # one key a step
