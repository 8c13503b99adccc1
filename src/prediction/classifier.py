"""A classifier in one call: for use in Python."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ..config import Config
from ..errors import UserError
from ..export.exported_file import read_key
from ..export.file_names import ENDINGS
from ..tasks.loaded_checkpoint import read_described
from .open_classifier import create_classifier, open_model_file
from .options import TOP_K
from .predictions import Prediction, Skipped, find_images, predict_images

OneImage = str | Path | np.ndarray | Image.Image


class Classifier:
    """A trained network that names what images show, as `predict.py` does.

    Sets the device up as the scripts do: graph mode, seed.

    Args:
        file: a checkpoint, or a MINDIR or ONNX file of `export.py` with its `.json` beside it.
        device: 'CPU', 'GPU' or 'Ascend'; None takes the first of Ascend, GPU, CPU that is there.
        key_file: file with the key of an encrypted MINDIR file.

    Attributes:
        card: labels, and how images are prepared.

    Raises:
        UserError: the file cannot be read, holds no classifier, or needs another key or device.
    """

    def __init__(self, file: str | Path, device: str | None = None, key_file: str | Path | None = None) -> None:
        file, config = Path(file), Config(device=device)
        if file.suffix in ENDINGS.values():
            key = None if key_file is None else read_key(key_file)
            self._opened = open_model_file(file, config, key)
        elif key_file is not None:
            raise UserError(f"key_file is for an encrypted MINDIR file, and {file} is a checkpoint: leave it out")
        else:
            self._opened = create_classifier(read_described(file), config)
        self.card = self._opened.card

    def predict(
        self, images: OneImage | Iterable[OneImage], top_k: int = TOP_K, batch_size: int | None = None
    ) -> list[Prediction]:
        """The most probable labels of images.

        Args:
            images: one or several of: an image file, a folder (the images in and below it, sorted), a Pillow image, an
                array of pixels (H, W) or (H, W, 3) uint8.
            top_k: labels an image; all where there are fewer.
            batch_size: images a step; when None that of the file, or where it takes any 16. Each new one is compiled.

        Returns:
            For each image, in their order: `file` (None for what is no file) and `top`, the labels with their
            probabilities, the most probable first.

        Raises:
            UserError: an image cannot be read or is of another kind, a folder holds none, or a batch size that the
                network does not take.
        """
        items = _expand([images] if isinstance(images, str | Path | Image.Image) or _is_one(images) else images)
        if not items:
            return []
        results = predict_images(
            self._opened,
            items,
            batch_size=self._opened.batch_size(batch_size, len(items)),
            top_k=top_k,
            workers=Config().data.workers,
        )
        return [_readable(result) for result in results]


def _is_one(images: object) -> bool:
    return isinstance(images, np.ndarray) and images.ndim < 4


def _expand(images: Iterable[OneImage]) -> list[Path | np.ndarray | Image.Image]:
    """With the files of each folder in its place."""
    if not isinstance(images, Iterable):
        raise UserError(f"images: expected files, folders, Pillow images or arrays, got {type(images).__name__}")
    items: list[Path | np.ndarray | Image.Image] = []
    for image in images:
        if not isinstance(image, str | Path):
            items.append(image)
            continue
        files, skipped = find_images([image])
        for problem in skipped:
            _readable(problem)
        items += files
    return items


def _readable(result: Prediction | Skipped) -> Prediction:
    if isinstance(result, Skipped):
        raise UserError(result.reason)
    return result
