"""Learning from the outputs of another network.

Source: Touvron et al., DeiT, arXiv 2012.12877, section 4: what its `DistillationLoss` computes, on the same output that
learns the labels.
"""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from ..layers.log_softmax import LogSoftmax
from ..rule import DistillationForm
from .loss import CrossEntropy


class Distillation(nn.Cell):
    """Logits of the student (B, K) and of the teacher (B, K) -> a scalar.

    Args:
        form: 'hard', cross-entropy with the teacher's first class; 'soft', the Kullback-Leibler divergence of the
            softmax at `temperature` T, times T^2, the mean over images and classes.
        temperature: T.
    """

    def __init__(self, form: DistillationForm, temperature: float = 1.0):
        super().__init__()
        self.form, self.temperature = form, temperature
        self.log_softmax, self.cross_entropy = LogSoftmax(), CrossEntropy()

    def construct(self, student, teacher):
        if self.form == "hard":
            return self.cross_entropy(student, teacher.argmax(axis=1).astype(mstype.int32))
        expected = self.log_softmax(teacher / self.temperature)
        found = self.log_softmax(student / self.temperature)
        return (ops.exp(expected) * (expected - found)).mean() * (self.temperature * self.temperature)


class Teacher(nn.Cell):
    """Images (B, C, H, W), prepared for the student -> logits (B, K) in the order of the student's labels.

    It stays in evaluation mode, and learns nothing. Its parameters are named 'teacher.*'.

    Args:
        net: images as they are prepared for it -> logits.
        outputs: of the net, one for each label of the student.
        scale, shift: (C,), which prepare the student's images for it.
    """

    def __init__(self, net: nn.Cell, outputs: Sequence[int], scale: Sequence[float], shift: Sequence[float]):
        super().__init__(auto_prefix=False)
        self.net = net
        for parameter in net.get_parameters():
            parameter.name, parameter.requires_grad = f"teacher.{parameter.name}", False
        self.outputs = Tensor(np.array(outputs, np.int32))
        self.scale, self.shift = (Tensor(np.array(x, np.float32).reshape(1, -1, 1, 1)) for x in (scale, shift))
        self.set_train(False)

    def construct(self, images):
        logits = self.net(images * self.scale + self.shift).astype(mstype.float32)
        return ops.stop_gradient(ops.gather(logits, self.outputs, 1))

    def add_flags_recursive(self, **flags):
        """Whoever trains what it is part of sets it to training too."""
        return super().add_flags_recursive(**{**flags, **({"training": False} if "training" in flags else {})})
