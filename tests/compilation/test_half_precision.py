"""200 float16 steps of each family, the first of which overflow, beside 200 float32 steps."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.compilation.mixed_precision import set_precision
from src.engine.train_step import TrainStep
from src.models import create_model
from src.optim.loss import create_loss
from src.optim.loss_scale import LossScale
from src.optim.optimizer import AdamW, decay_groups
from src.tasks.classification import ClassificationLoss

pytestmark = pytest.mark.slow

STEPS, BATCH, CLASSES, NUM_IMAGES = 200, 16, 10, 160
NETWORKS = {
    "tnt": (
        "tnt_ti_patch16_224",
        dict(image_size=32, depth=2, inner_dim=8, inner_num_heads=2, outer_dim=32, outer_num_heads=2),
    ),
    "pyramid": (
        "ptnt_ti_patch16_192",
        dict(
            image_size=64,
            depths=(1, 1, 1, 1),
            inner_dims=(4, 8, 8, 8),
            inner_num_heads=(1, 2, 2, 2),
            outer_dims=(16, 32, 32, 32),
            outer_num_heads=(1, 2, 2, 2),
        ),
    ),
    "t2t": ("t2t_vit_7", dict(image_size=32, token_dim=16, embed_dim=48, depth=2, num_heads=3)),
}


def fixed_images(size):
    """Ten patterns with as much noise, so that the loss stays well above zero."""
    rng = np.random.RandomState(0)
    labels = np.arange(NUM_IMAGES) % CLASSES
    patterns = rng.randn(CLASSES, 3, size // 8, size // 8).repeat(8, axis=2).repeat(8, axis=3)
    return (patterns[labels] + rng.randn(NUM_IMAGES, 3, size, size)).astype(np.float32), labels.astype(np.int32)


def train(kind, precision):
    """Losses of all steps, and the loss scale."""
    ms.set_seed(1)
    name, arguments = NETWORKS[kind]
    net = create_model(name, num_classes=CLASSES, drop_path_rate=0.1, **arguments)
    set_precision(net, precision, "CPU")
    loss_scale = LossScale(2.0**24) if precision == "float16" else None
    optimizer = AdamW(decay_groups(net, 0.05), 1e-3)
    step = TrainStep(
        ClassificationLoss(net, create_loss(label_smoothing=0.1)),
        optimizer,
        5.0,
        batch_size=BATCH,
        loss_scale=loss_scale,
    )
    images, labels = fixed_images(arguments["image_size"])
    losses = []
    for number in range(STEPS):
        at = (np.arange(BATCH) + number * BATCH) % NUM_IMAGES
        losses.append(step(Tensor(images[at]), Tensor(labels[at])).asnumpy().item())
    assert all(np.isfinite(p.asnumpy()).all() for p in step.get_parameters())
    return losses, loss_scale


@pytest.mark.parametrize("kind", NETWORKS)
def test_float16_trains_like_float32(kind):
    expected, _ = train(kind, "float32")
    losses, loss_scale = train(kind, "float16")
    skipped = int(loss_scale.skipped.asnumpy())
    print(f"{kind}: {skipped} skipped, loss {expected[0]:.4f} -> {np.mean(expected[-10:]):.4f} in float32, ", end="")
    print(f"{losses[0]:.4f} -> {np.mean(losses[-10:]):.4f} in float16")
    assert np.isfinite(losses).all()
    assert skipped >= 1 and not loss_scale.is_exhausted()
    assert np.mean(expected[-10:]) < 0.8 * expected[0]  # it learns
    assert np.mean(losses[-10:]) == pytest.approx(np.mean(expected[-10:]), rel=0.05)
