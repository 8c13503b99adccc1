"""Accuracy and loss over a whole split."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import mindspore as ms
import numpy as np
from mindspore import nn

from ..data.loader import EvalLoader
from ..errors import UserError
from ..terminal.progress import Progress


class NotFiniteError(UserError):
    """A network's outputs hold infinities or NaN, which no score can be made of."""


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
        self.not_finite: list[int] = []  # indices in the data set

    def add(self, logits: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> None:
        """Logits (B, K), labels (B,) and the indices (B,) in the data set of images that count.

        Among equal logits the lower class index is first. An image whose logits are not all finite counts nowhere, and
        is noted.
        """
        finite = np.isfinite(logits).all(axis=1)
        self.not_finite += indices[~finite].tolist()
        logits, labels = logits[finite].astype(np.float64), labels[finite]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        rows = np.arange(len(labels))
        order = np.argsort(-logits, axis=1, kind="stable")
        self.loss += float((log_sum - shifted[rows, labels]).sum())
        self.top1 += int((order[:, 0] == labels).sum())
        self.top5 += int((order[:, :5] == labels[:, None]).any(axis=1).sum())
        self.images += len(labels)

    def scores(
        self,
        gather: Callable[[Sequence[float]], np.ndarray] | None = None,
        describe: Callable[[int], str] = "image {}".format,
    ) -> Scores:
        """The scores of everything added so far, here and on the other ranks.

        Args:
            gather: own values -> (ranks, n) everybody's.
            describe: index in the data set -> the image's name.

        Raises:
            NotFiniteError: on every rank, where outputs are not finite on any.
            UserError: there was no image.
        """
        first = min(self.not_finite, default=np.inf)
        own = [self.loss, self.top1, self.top5, self.images, len(self.not_finite), first]
        told = np.asarray([own], np.float64) if gather is None else gather(own)
        loss, top1, top5, images, not_finite = told[:, :5].sum(axis=0)
        if not_finite:
            raise NotFiniteError(
                f"the network's outputs are not finite for {not_finite:.0f} of {images + not_finite:.0f} images, the "
                f"first is {describe(int(told[:, 5].min()))}: its weights are damaged or its training diverged"
            )
        if not images:
            raise UserError("no image could be evaluated")
        return Scores(loss / images, float(100.0 * top1 / images), float(100.0 * top5 / images), int(images))


def evaluate(
    net: nn.Cell,
    loader: EvalLoader,
    progress: Progress,
    limit_batches: int | None = None,
    gather: Callable[[Sequence[float]], np.ndarray] | None = None,
    before_batch: Callable[[int], None] = lambda number: None,
) -> Scores:
    """Runs `net` in evaluation mode over all batches and leaves it there.

    Args:
        net: images (B, C, H, W) -> logits (B, K).
        loader: gives the batches.
        progress: told about every batch.
        limit_batches: stop after so many.
        gather: see `ScoreCounter.scores`.
        before_batch: called with the number of each batch, from 1, before the network runs on it.

    Raises:
        NotFiniteError: the network gives infinities or NaN; says for how many images, and names the first.
    """
    net.set_train(False)
    counter = ScoreCounter()
    for number, (images, labels, num_valid) in enumerate(loader, start=1):
        before_batch(number)
        logits = net(ms.Tensor.from_numpy(images)).asnumpy()  # images are not copied, and used up here
        counter.add(logits[:num_valid], labels[:num_valid], loader.indices)
        progress.advance(num_valid)
        if number == limit_batches:
            break
    return counter.scores(gather, loader.dataset.describe)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits (B, K) -> probabilities (B, K) float64."""
    values = logits.astype(np.float64)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)
