"""COCO's compressed run-length code of masks, in NumPy: what pycocotools writes and reads, to the letter.

Pixels are taken column by column. Runs of pixels that are off and on follow each other, first one that is off. Of their
lengths each from the fourth on is written as its difference to the one before the last, five bits a letter.
"""

from typing import TypedDict

import numpy as np

_BITS = 5  # of a letter; the next higher one says that the number goes on
_FIRST = 48  # the letter of zero


class RunLengths(TypedDict):
    """A mask as JSON holds it.

    Attributes:
        size: height and width of the image in pixels.
        counts: the lengths, compressed.
    """

    size: list[int]
    counts: str


def encode(mask: np.ndarray) -> RunLengths:
    """Of a mask (H, W) bool."""
    return encode_window(mask.T, 0, 0, mask.shape)


def encode_window(columns: np.ndarray, left: int, top: int, size: tuple[int, int]) -> RunLengths:
    """Of a mask that is on in a part of its image only.

    Args:
        columns: (w, h) bool, the part, column by column.
        left, top: of its first pixel in the image.
        size: height and width of the image, which the part lies in.
    """
    height, width = size
    whole = np.zeros((len(columns), height), bool)
    whole[:, top : top + columns.shape[1]] = columns
    pixels = whole.reshape(-1)
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    first = [0] if pixels[:1].any() else []
    last = [pixels.size] if pixels[-1:].any() and left + len(columns) < width else []
    bounds = left * height + np.concatenate([first, changes, last]).astype(np.int64)
    runs = np.diff(np.concatenate([[0], bounds, [height * width]]))
    return {"size": [int(height), int(width)], "counts": _compress(runs)}


def decode(code: RunLengths) -> np.ndarray:
    """The mask, (H, W) bool."""
    height, width = code["size"]
    columns, left, top = decode_window(code)
    mask = np.zeros((height, width), bool)
    mask[top : top + columns.shape[1], left : left + len(columns)] = columns.T
    return mask


def decode_window(code: RunLengths) -> tuple[np.ndarray, int, int]:
    """The smallest part that holds all pixels that are on: columns (w, h) bool, and left and top of its first pixel.

    A mask of no pixel has a part of none.
    """
    height = code["size"][0]
    bounds = np.cumsum(lengths(code))
    starts, ends = bounds[:-1:2], bounds[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return np.zeros((0, 0), bool), 0, 0
    left, right = int(starts[0] // height), int(-(-ends[-1] // height))
    steps = np.zeros((right - left) * height + 1, np.int8)
    np.add.at(steps, starts - left * height, 1)
    np.add.at(steps, ends - left * height, -1)
    columns = np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(-1, height)
    rows = np.flatnonzero(columns.any(axis=0))
    return columns[:, rows[0] : rows[-1] + 1], left, int(rows[0])


def area(code: RunLengths) -> int:
    """Pixels that are on."""
    return int(lengths(code)[1::2].sum())


def lengths(code: RunLengths) -> np.ndarray:
    """Of the runs, (n,) int64: off, on, off ...

    Raises:
        ValueError: letters that are no code.
    """
    letters = np.frombuffer(code["counts"].encode("ascii"), np.uint8).astype(np.int64) - _FIRST
    ends = np.flatnonzero(letters & 32 == 0)
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or ends[-1:].tolist() != [len(letters) - 1]:
        raise ValueError("a run-length code of other letters than COCO's")
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = _BITS * (np.arange(len(letters)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((letters & 31) << place, starts)
    runs -= np.where(letters[ends] & 16, np.int64(32) << place[ends], 0)  # negative ones
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _compress(runs: np.ndarray) -> str:
    rest = runs.astype(np.int64)
    rest[3:] -= runs[1:-2]
    letters, goes_on = [], np.ones(len(rest), bool)
    while goes_on.any():
        bits = rest & 31
        rest >>= _BITS
        more = goes_on & (rest != np.where(bits & 16, -1, 0))
        letters.append(np.where(goes_on, bits + 32 * more + _FIRST, 0))
        goes_on = more
    written = np.stack(letters, axis=1).reshape(-1)
    return written[written > 0].astype(np.uint8).tobytes().decode("ascii")
