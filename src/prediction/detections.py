"""Boxes and masks in image files: running a detector on them in batches of one size, each of one canvas."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.box_transforms import DetectionTransform, Placed
from ..data.loader import num_threads
from ..data.parallel_map import ParallelMap
from ..data.read_image import read_image
from ..detection.paste_masks import paste_masks
from ..errors import UserError
from .coco_results import Found, FoundInFile
from .detector import Detector
from .predictions import NOT_FINITE, Skipped

LONGEST_WAIT = 4
"""Batches that may be read after an image until its own is run, full or not, so that its result can be shown."""


@dataclass(frozen=True)
class _Read:
    file: Path
    size: tuple[int, int]  # width, height
    placed: Placed


def detect_in_images(
    detector: Detector,
    files: Sequence[Path],
    *,
    batch_size: int,
    score_threshold: float,
    max_boxes: int,
    workers: int,
) -> Iterator[FoundInFile | Skipped]:
    """The boxes in every file, the best first, and their masks where the detector has some.

    Landscape and portrait images go into batches of their own. A batch that is not full repeats its last image.

    Args:
        detector: the network.
        files: what to read.
        batch_size: B.
        score_threshold: boxes have a higher score.
        max_boxes: of an image.
        workers: threads that read and transform while the network runs.

    Yields:
        A result for each file in their order.

    Raises:
        UserError: outputs that are not finite.
    """
    load, threads = _Load(detector), num_threads(workers)
    loaded = ParallelMap(load, files, threads, ahead=max(2 * batch_size, threads))
    waiting: dict[tuple[int, ...], dict[int, _Read]] = {}  # shape -> number of the file -> image
    done: dict[int, FoundInFile | Skipped] = {}
    shown = 0
    for number, item in enumerate(loaded):
        if isinstance(item, Skipped):
            done[number] = item
        else:
            waiting.setdefault(item.placed.values.shape, {})[number] = item
        for shape, batch in list(waiting.items()):
            if len(batch) == batch_size or number - min(batch) >= LONGEST_WAIT * batch_size:
                done |= _run(detector, waiting.pop(shape), batch_size, score_threshold, max_boxes)
        while shown in done:
            yield done.pop(shown)
            shown += 1
    for batch in waiting.values():
        done |= _run(detector, batch, batch_size, score_threshold, max_boxes)
    yield from (done[number] for number in sorted(done))


class _Load:
    """File -> image on its canvas, or why it cannot be read."""

    def __init__(self, detector: Detector) -> None:
        card = detector.card
        self._transform = DetectionTransform(
            canvas=card.canvas,
            short_sides=[card.short_side],
            flip_prob=0.0,
            mean=card.mean,
            std=card.std,
            long_side=card.long_side,
        )

    def __call__(self, file: Path) -> _Read | Skipped:
        try:
            image = read_image(file)
        except UserError as error:
            return Skipped(file, str(error))
        return _Read(file, image.size, self._transform(image, np.zeros((0, 4), np.float32)))


def _run(
    detector: Detector, batch: dict[int, _Read], batch_size: int, score_threshold: float, max_boxes: int
) -> dict[int, FoundInFile]:
    """Number of the file -> what was found in it."""
    images = [image.placed for image in batch.values()]
    images += images[-1:] * (batch_size - len(images))
    outputs = detector.run(
        np.stack([image.values for image in images]),
        np.array([image.size for image in images], np.float32),
        np.array([image.scale for image in images], np.float32),
    )
    results = {}
    for (number, image), boxes, scores, labels, count, *masks in zip(batch.items(), *outputs, strict=False):
        if count < 0:
            raise UserError(NOT_FINITE)
        good = np.flatnonzero(scores[:count] > np.float32(score_threshold))[:max_boxes]
        pasted = [paste_masks(probabilities[good], boxes[good], image.size[::-1]) for probabilities in masks]
        found = Found(boxes[good], labels[good], scores[good], *pasted)
        results[number] = FoundInFile(image.file, *image.size, found)
    return results
