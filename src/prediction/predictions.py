"""Labels for images: finding files, reading them, running a network on them in batches of one size."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ..data.loader import num_threads
from ..data.parallel_map import ParallelMap
from ..data.read_image import InMemory, image_endings, read_image, to_rgb
from ..data.transforms import EvalTransform
from ..errors import UserError
from ..tasks.classification_scores import softmax
from .open_classifier import OpenClassifier

NOT_FINITE = "the network's outputs are not finite: its weights are damaged or its training diverged"


@dataclass(frozen=True)
class Prediction:
    """The most probable labels of an image, with their probabilities, in falling order; no file for one in memory."""

    file: Path | None
    top: list[tuple[str, float]]


@dataclass(frozen=True)
class Skipped:
    """A file or folder, or an image in memory, without a prediction, and why."""

    file: Path | None
    reason: str


def find_images(paths: Iterable[str | Path]) -> tuple[list[Path], list[Skipped]]:
    """The files among `paths`, whatever they are, and in place of each folder the images in and below it.

    Images in folders are the files with an ending that Pillow reads, sorted; hidden ones (name with a leading dot) are
    left out, links are followed.

    Returns:
        Files in the order of `paths`, and the folders that hold no images or cannot be listed.
    """
    files: list[Path] = []
    skipped: list[Skipped] = []
    for path in map(Path, paths):
        if os.path.isdir(path):
            found, problems = _images_below(path)
            files += found
            skipped += problems
            if not found and not problems:
                skipped.append(Skipped(path, f"folder {path} holds no images"))
        else:
            files.append(path)
    return files, skipped


def _images_below(folder: Path) -> tuple[list[Path], list[Skipped]]:
    endings = image_endings()
    files: list[Path] = []
    skipped: list[Skipped] = []
    visited = set()

    def refuse(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), f"cannot list folder {error.filename}: {error.strerror}"))

    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        if real not in visited:
            images = (name for name in names if os.path.splitext(name)[1].lower() in endings)
            files += [Path(parent, name) for name in images if not name.startswith(".")]
        visited.add(real)  # links may lead in circles
    return sorted(files), skipped


def predict_images(
    classifier: OpenClassifier, images: Sequence[Path | InMemory], *, batch_size: int, top_k: int, workers: int
) -> Iterator[Prediction | Skipped]:
    """The `top_k` most probable labels of every image, in batches that are padded to one size.

    Args:
        classifier: the network.
        images: files to read, and images in memory.
        batch_size: B.
        top_k: labels an image; all where there are fewer.
        workers: threads that read and transform.

    Yields:
        A result for each image, batch by batch: the unreadable ones, then the others in their order.

    Raises:
        UserError: `top_k` below 1, channels that images do not have, or logits that are not finite.
    """
    if top_k < 1:
        raise UserError(f"top_k: expected at least 1, got {top_k}")
    card = classifier.card
    transform = EvalTransform(
        image_size=card.image_size, mean=card.mean, std=card.std, in_channels=card.in_channels, crop_pct=card.crop_pct
    )

    prepare = transform.pixels if classifier.takes_pixels else transform

    def load(image: Path | InMemory) -> tuple[Path | None, np.ndarray | None, str]:
        file = image if isinstance(image, Path) else None
        try:
            return file, prepare(to_rgb(image) if file is None else read_image(file)), ""
        except UserError as error:
            return file, None, str(error)

    loaded = ParallelMap(load, images, num_threads(workers), ahead=2 * batch_size)
    while chunk := list(islice(loaded, batch_size)):
        yield from (Skipped(file, reason) for file, image, reason in chunk if image is None)
        readable = [(file, image) for file, image, _ in chunk if image is not None]
        if not readable:
            continue
        batch = np.stack([image for _, image in readable])
        batch = np.pad(batch, [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)])
        logits = classifier.run(batch)[: len(readable)]
        if not np.isfinite(logits).all():
            raise UserError(NOT_FINITE)
        for (file, _), probabilities in zip(readable, softmax(logits), strict=True):
            order = np.argsort(-probabilities, kind="stable")[:top_k]
            yield Prediction(file, [(card.classes[index], float(probabilities[index])) for index in order])
