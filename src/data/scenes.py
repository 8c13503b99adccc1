"""Scenes to learn detection from with nothing to download: handwritten digits on photographs, with boxes and masks.

A scene is a square cut out of one of the two photographs that scikit-learn ships (its left half for training, its right
half for validation), with one to five of scikit-learn's digits (those of the same split of `Digits`), enlarged and in
one colour each that stands out from what is below. The pixels are real ones, the scenes are made up: a stand-in for
COCO that shows that a detector learns, not how good it is.

Later digits lie on top. Masks are the ink that is visible, boxes are tight around them. The photographs, china.jpg and
flower.jpg, are by danielbuechele and vultilion (CC BY 2.0).
"""

import filecmp
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError, writing_error
from ..files.json_file import to_json_line
from .digits import Digits

SPLITS = ("train", "val")
SCENES = 101  # the purpose of its streams, see `src.data.random_streams`
SMALLEST, LARGEST = 96, 320  # side of a scene; the last is half a photograph's width
MAX_DIGITS = 5
DIGIT_SIDES = (28, 64)  # of the 8 x 8 pixels, enlarged
ATTEMPTS = 20  # to place a digit
MAX_OVERLAP = 0.15  # IoU of two boxes
LEAST_VISIBLE = 0.85  # share of a digit's ink
LEAST_INK = 0.25  # of a pixel that belongs to a digit, in 0 .. 1
LEAST_CONTRAST = 110  # of 255, in luma
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Scene:
    """n digits on a square of S pixels.

    Attributes:
        pixels: (S, S, 3) uint8, RGB.
        labels: (n,) int, 0 .. 9.
        masks: (n, S, S) bool; no two of them overlap.
        boxes: (n, 4) int, x0 y0 x1 y1 in pixels, x1 and y1 not included.
    """

    pixels: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray


class Scenes:
    """The scenes of a split; each is a function of the seed, the split, its index and the side.

    Args:
        split: 'train' or 'val'; see the module for what is in which.
        size: side in pixels, from `SMALLEST` to `LARGEST`.
        seed: not negative.

    Raises:
        UserError: an argument outside its range.
    """

    def __init__(self, split: str, size: int, seed: int) -> None:
        if not SMALLEST <= size <= LARGEST:
            raise UserError(f"the side of a scene must be from {SMALLEST} to {LARGEST} pixels, got {size}")
        if seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        self._digits = Digits(split)
        from sklearn.datasets import load_sample_images  # slow to import, and only this needs it

        photos = load_sample_images().images
        halves = {"train": slice(0, photos[0].shape[1] // 2), "val": slice(photos[0].shape[1] // 2, None)}
        self._photos = [photo[:, halves[split]] for photo in photos]
        self._size, self._key = size, [SCENES, seed, SPLITS.index(split)]

    def scene(self, index: int) -> Scene:
        rng = np.random.default_rng([*self._key, index])
        pixels = _background(rng, self._photos, self._size)
        masks, labels = np.zeros((0, self._size, self._size), bool), []
        inked = np.zeros(0, int)  # pixels of ink, visible or not
        for _ in range(int(rng.integers(1, MAX_DIGITS + 1))):
            for _ in range(ATTEMPTS):
                digit = int(rng.integers(len(self._digits)))
                alpha = _place(rng, ink(self._digits[digit][0], _draw_side(rng)), self._size)
                ink_of_it = alpha >= LEAST_INK
                covered = np.concatenate([masks & ~ink_of_it, ink_of_it[None]])
                total = np.append(inked, ink_of_it.sum())
                if (covered.sum(axis=(1, 2)) < LEAST_VISIBLE * total).any() or _overlap(_boxes(covered)):
                    continue
                masks, inked = covered, total
                labels.append(self._digits.label(digit))
                below = pixels[ink_of_it].mean(axis=0) @ LUMA
                pixels = pixels + alpha[..., None] * (_draw_colour(rng, below) - pixels)
                break
        return Scene(np.rint(pixels).astype(np.uint8), np.array(labels), masks, _boxes(masks))


def ink(digit: Image.Image, side: int) -> np.ndarray:
    """How much ink each pixel of an enlarged digit has: 8 x 8 pixels -> (side * 5 / 4,) * 2 float in 0 .. 1.

    A pixel without ink is added all around. Bicubic, then the middle of the range is stretched, so that the edge of a
    large digit is no broader than about two pixels of the small one.
    """
    grey = np.pad(np.asarray(digit.convert("L"), np.float32) / 255, 1)
    enlarged = Image.fromarray(grey).resize((side * 5 // 4,) * 2, Image.Resampling.BICUBIC)
    return np.clip((np.asarray(enlarged) - 0.4) / 0.45, 0, 1)


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's run-length code, not compressed: column by column, how many pixels are off, then on, off ..."""
    values = np.concatenate([[0], mask.ravel(order="F").astype(np.int8)])
    bounds = np.flatnonzero(np.diff(values))
    return np.diff(np.concatenate([[0], bounds, [mask.size]])).tolist()


def make_scenes(
    output: str | Path, *, size: int = 192, num_train: int = 400, num_val: int = 100, seed: int = 0
) -> bool:
    """Writes scenes as PNG files in COCO layout: annotations/instances_train2017.json, train2017/, and so for val2017.

    They are written into a folder beside, which then gets the name: `output` is there as a whole or not at all.

    Args:
        output: a new or empty folder, or one that this has written.
        size: side of the scenes in pixels.
        num_train, num_val: how many.
        seed: decides them.

    Returns:
        Whether it was written; False where the same is there already.

    Raises:
        UserError: an argument outside its range, a folder with anything else, or one that cannot be written.
    """
    output = Path(output)
    splits = {"train": (Scenes("train", size, seed), num_train), "val": (Scenes("val", size, seed), num_val)}
    for split, (_, number) in splits.items():
        if number < 1:
            raise UserError(f"the number of {split} scenes must be at least 1, got {number}")
    refusal = f"{output} exists and is not what would be written; remove it or name another folder"
    exists = os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir()))
    if exists and not _annotations(output, "train").is_file():
        raise UserError(refusal)
    beside = output.absolute().with_name(f".{output.absolute().name}.{os.getpid()}")
    try:
        _annotations(beside, "train").parent.mkdir(parents=True)
        for split, (scenes, number) in splits.items():
            _write_split(beside, split, scenes, number, f"seed {seed}")
        if not exists:
            os.rename(beside, output)
        elif not _are_identical(beside, output):
            raise UserError(refusal)
        return not exists
    except OSError as error:
        raise writing_error(f"cannot write {output}: {error.strerror}", error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _background(rng: np.random.Generator, photos: Sequence[np.ndarray], size: int) -> np.ndarray:
    """A square of a photograph, perhaps mirrored, perhaps darker: (size, size, 3) float, 0 .. 255."""
    photo = photos[int(rng.integers(len(photos)))]
    top, left = (int(rng.integers(side - size + 1)) for side in photo.shape[:2])
    square = photo[top : top + size, left : left + size] * rng.uniform(0.6, 1.0)
    return square[:, ::-1] if rng.random() < 0.5 else square


def _draw_side(rng: np.random.Generator) -> int:
    """Small ones as often as large ones: its logarithm is uniform."""
    low, high = DIGIT_SIDES
    return int(np.rint(low * (high / low) ** rng.random()))


def _place(rng: np.random.Generator, alpha: np.ndarray, size: int) -> np.ndarray:
    """Ink at a uniform place where all of it is inside, (size, size)."""
    rows, columns = (np.flatnonzero((alpha > 0).any(axis=axis)) for axis in (1, 0))
    alpha = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = (int(rng.integers(size - side + 1)) for side in alpha.shape)
    placed = np.zeros((size, size))
    placed[top : top + alpha.shape[0], left : left + alpha.shape[1]] = alpha
    return placed


def _draw_colour(rng: np.random.Generator, below: float) -> np.ndarray:
    """Any colour, light or dark, that stands out from a luma of `below`."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if abs(colour @ LUMA - below) >= LEAST_CONTRAST:
            return colour


def _boxes(masks: np.ndarray) -> np.ndarray:
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return np.array(boxes, int).reshape(-1, 4)


def _overlap(boxes: np.ndarray) -> bool:
    """Whether any two boxes have too large an IoU."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    ious = shared / (areas[:, None] + areas[None] - shared)
    return bool((ious[~np.eye(len(boxes), dtype=bool)] >= MAX_OVERLAP).any())


def _annotations(folder: Path, split: str) -> Path:
    return folder / "annotations" / f"instances_{split}2017.json"


def _write_split(folder: Path, split: str, scenes: Scenes, number: int, origin: str) -> None:
    (folder / f"{split}2017").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(number):
        scene, name = scenes.scene(index), f"{index:06d}.png"
        height, width = scene.pixels.shape[:2]
        Image.fromarray(scene.pixels).save(folder / f"{split}2017" / name)
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for label, mask, (x0, y0, x1, y1) in zip(scene.labels, scene.masks, scene.boxes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": int(label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": run_lengths(mask)},
                }
            )
    content = {
        "info": {"description": f"handwritten digits on photographs, {split}, {origin}; see src/data/scenes.py"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(Digits.classes)],
    }
    _annotations(folder, split).write_text(to_json_line(content), encoding="utf-8")


def _are_identical(one: Path, other: Path) -> bool:
    """Whether two folders have the same files with the same bytes."""
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in (one, other)]
    files = [name for name in names[0] if (one / name).is_file()]
    return names[0] == names[1] and all(filecmp.cmp(one / name, other / name, shallow=False) for name in files)
