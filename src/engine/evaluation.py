"""Accuracy and loss over a whole split."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import mindspore as ms
import numpy as np
from mindspore import nn

from src.engine.progress import Progress
from src.errors import UserError


@dataclass(frozen=True)
class Scores:
    """Mean cross-entropy, and percentages of images whose label is the first or among the first five predictions.

    With fewer than five classes top-5 counts all of them.
    """

    loss: float
    top1: float
    top5: float
    images: int

    def __str__(self) -> str:
        return f"{self.brief()} over {self.images} images"

    def brief(self) -> str:
        """Without the number of images."""
        return f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %, loss {self.loss:.4f}"

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


class ScoreCounter:
    """Adds up scores batch by batch, in float64."""

    def __init__(self):
        self.loss, self.top1, self.top5, self.images = 0.0, 0, 0, 0

    def add(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Logits (B, K) and labels (B,) of images that count. Among equal logits the lower class index is first."""
        logits = logits.astype(np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        rows = np.arange(len(labels))
        order = np.argsort(-logits, axis=1, kind="stable")
        self.loss += float((log_sum - shifted[rows, labels]).sum())
        self.top1 += int((order[:, 0] == labels).sum())
        self.top5 += int((order[:, :5] == labels[:, None]).any(axis=1).sum())
        self.images += len(labels)

    def scores(self, gather: Callable[[Sequence[float]], np.ndarray] | None = None) -> Scores:
        """The scores of everything added so far, here and on the other ranks.

        Args:
            gather: own values -> (ranks, n) everybody's.

        Raises:
            UserError: there was no image.
        """
        counts = [self.loss, self.top1, self.top5, self.images]
        loss, top1, top5, images = counts if gather is None else gather(counts).sum(axis=0)
        if not images:
            raise UserError("no image could be evaluated")
        return Scores(loss / images, float(100.0 * top1 / images), float(100.0 * top5 / images), int(images))


def evaluate(
    net: nn.Cell,
    batches: Iterable[tuple[np.ndarray, np.ndarray, int]],
    progress: Progress,
    limit_batches: int | None = None,
    gather: Callable[[Sequence[float]], np.ndarray] | None = None,
) -> Scores:
    """Runs `net` in evaluation mode over `batches` and leaves it there.

    Args:
        net: images (B, C, H, W) -> logits (B, K).
        batches: images, labels, and how many of them count, as `EvalLoader` yields them.
        progress: told about every batch.
        limit_batches: stop after so many.
        gather: see `ScoreCounter.scores`.
    """
    net.set_train(False)
    counter = ScoreCounter()
    for index, (images, labels, num_valid) in enumerate(batches, start=1):
        logits = net(ms.Tensor.from_numpy(images)).asnumpy()  # images are not copied, and used up here
        counter.add(logits[:num_valid], labels[:num_valid])
        progress.advance(num_valid)
        if index == limit_batches:
            break
    return counter.scores(gather)
