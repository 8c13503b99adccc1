"""Images on which an int8 file is calibrated and judged."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import Config
from ..data.image_files import UNKNOWN, ImageFiles
from ..data.relabeled import relabeled
from ..devices.ranks import Ranks
from ..errors import UserError, counted
from ..memory import check_fits
from ..tasks.classification import create_eval_loader, open_to_judge
from ..tasks.trained_network import TrainedNetwork

_BATCH_SIZE = 8


@dataclass(frozen=True)
class CalibrationOptions:
    """Which images, and how far an int8 file may fall behind on them.

    Attributes:
        files: images; those of the configuration's validation data when empty.
        count: at least so many are taken, evenly over all, fewer than twice as many; all where there are fewer.
        largest_drop: of accuracy on them, in percentage points.
    """

    files: Sequence[Path] = ()
    count: int = 256
    largest_drop: float = 1.0


@dataclass(frozen=True)
class Calibration:
    """Prepared images.

    Attributes:
        images: (n, C, H, W) float32, normalised.
        labels: (n,), the network's output of each; None unless all are known.
        largest_drop: see `CalibrationOptions`.
    """

    images: np.ndarray
    labels: np.ndarray | None
    largest_drop: float

    def batches(self, batch_size: int | None) -> Iterator[np.ndarray]:
        """All images in batches of this size, the last one filled up by its own first; None takes whatever fits."""
        for start in range(0, len(self.images), batch_size or _BATCH_SIZE):
            batch = self.images[start : start + (batch_size or _BATCH_SIZE)]
            yield batch if batch_size is None else np.resize(batch, (batch_size, *batch.shape[1:]))

    def run(self, run: Callable[[np.ndarray], np.ndarray], batch_size: int | None) -> np.ndarray:
        """What `run` gives for all of them, (n, K)."""
        return np.concatenate([run(batch) for batch in self.batches(batch_size)])[: len(self.images)]

    def describe(self) -> str:
        """What they are, for messages: '256 labelled images'."""
        return counted(len(self.images), "image" if self.labels is None else "labelled image")


def read_calibration(
    options: CalibrationOptions, config: Config, trained: TrainedNetwork, tell: Callable[[str], None]
) -> Calibration:
    """Reads and prepares the images, as for evaluation.

    Args:
        options: which.
        config: the data, and the workers that read.
        trained: the network that they are for.
        tell: prints a line about what a user should know.

    Raises:
        UserError: there are none, or one cannot be read, or they do not fit into memory.
    """
    card = trained.card
    if options.files:
        dataset = ImageFiles(options.files, card.classes)
    else:
        dataset, lines = open_to_judge(config, trained)
        dataset, more = relabeled(dataset, card.classes, trained.path)
        for line in (*lines, *more):
            tell(line)
    every = max(len(dataset) // options.count, 1)
    count = -(-len(dataset) // every)
    check_fits(
        4 * count * card.in_channels * card.image_size[0] * card.image_size[1],
        f"{counted(count, 'image')} for calibration",
        "take fewer with --calibration_images",
    )
    config = replace(config, train=replace(config.train, batch_size=min(_BATCH_SIZE, count)))
    parts = [
        (images[:num_valid].copy(), labels[:num_valid].copy())
        for (images,), (labels, _), num_valid in create_eval_loader(config, card, dataset, Ranks(0, every))
    ]
    images, labels = map(np.concatenate, zip(*parts, strict=True))
    if len(images) == 0:
        raise UserError("none of the images for calibration could be read")
    return Calibration(images, None if (labels == UNKNOWN).any() else labels, options.largest_drop)
