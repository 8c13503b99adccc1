"""Distillation against PyTorch 2.14 (`kl_div` as DeiT calls it, `cross_entropy`), and a teacher that stays as it is."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.optim.distillation import Distillation, Teacher

STUDENT = np.array([[2.0, 0.0, -1.0, 0.5], [0.0, 1.0, 0.0, -3.0], [0.3, -0.2, 4.0, 1.0]], np.float32)
TEACHER = np.array([[0.5, 1.5, -1.0, 0.0], [2.0, 1.0, 1.0, -1.0], [0.0, 0.0, 3.0, 2.0]], np.float32)


@pytest.mark.parametrize(
    "arguments,expected,gradient",
    [
        (("soft", 1.0), 0.12165666, [-0.02919369, 0.03033911, 0.00030805, -0.00145347]),
        (("soft", 3.0), 0.11676435, [-0.02282801, 0.02875279, 0.00247318, -0.00839796]),
        (("hard",), 1.33000517, [-0.26342383, 0.19003374, 0.0699095, 0.00348059]),
    ],
)
def test_values_and_derivatives(arguments, expected, gradient, mode):
    found, gradients = ms.value_and_grad(Distillation(*arguments))(Tensor(STUDENT), Tensor(TEACHER))
    np.testing.assert_allclose(found.asnumpy(), expected, atol=1e-5)
    np.testing.assert_allclose(gradients.asnumpy()[1], gradient, atol=1e-6)


class Mean(nn.Cell):
    """Images (B, 2, 1, 1) -> logits (B, 3), in training others."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(ops.ones((2, 3)), name="weight")

    def construct(self, images):
        logits = ops.matmul(images[:, :, 0, 0], self.weight) * Tensor([[1.0, 2.0, 3.0]])
        return logits * 100.0 if self.training else logits


def test_a_teacher_stays_as_it_is(mode):
    """Outputs in the student's order, images prepared for it, no derivative, and never in training mode."""
    teacher = Teacher(Mean(), outputs=[2, 0], scale=[2.0, 0.5], shift=[1.0, -1.0])
    assert [p.name for p in teacher.get_parameters()] == ["teacher.weight"] and not teacher.trainable_params()
    above = nn.SequentialCell(teacher)
    above.set_train()
    images = Tensor(np.array([[[[1.0]], [[4.0]]], [[[0.0]], [[0.0]]]], np.float32))
    np.testing.assert_allclose(above(images).asnumpy(), [[12.0, 4.0], [0.0, 0.0]])
    assert not ms.grad(above)(images).asnumpy().any()
