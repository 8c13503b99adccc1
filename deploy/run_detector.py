"""Finds objects in images, with nothing but MindSpore: python run_detector.py FILE.mindir IMAGE...

Needs mindspore, numpy, pillow, run_mindir.py beside this file, FILE.mindir, and FILE.mindir.json beside it, which says
what goes in and comes out; for images of the other orientation FILE_portrait.mindir and its .json too. Prints label,
score and box (x0 y0 x1 y1 in pixels of the image) of what is found. Of a file with masks --masks DIR writes them too, a
PNG for each image.
"""

import argparse
import colorsys
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from run_mindir import ms, printable, read_image

WEIGHT_BITS = 11  # of the bilinear weights, as OpenCV's for 8 bits a channel
MAX_MASKS = 255  # in a PNG of 8 bits


def neighbours(old: int, new: int) -> tuple[np.ndarray, ...]:
    """For each of `new` places the two of `old` that it lies between, and their weights."""
    at = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(at)
    share = at - first
    share[(first < 0) | (first >= old - 1)] = 0
    low = np.clip(first.astype(np.int64), 0, old - 1)
    weights = [np.rint(part * np.float32(1 << WEIGHT_BITS)).astype(np.int32) for part in (1 - share, share)]
    return low, np.minimum(low + 1, old - 1), *weights


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, without antialiasing: (h, w, 3) uint8 -> (height, width, 3) uint8."""
    upper, lower, upper_weight, lower_weight = neighbours(pixels.shape[0], height)
    left, right, left_weight, right_weight = neighbours(pixels.shape[1], width)
    across = (pixels[:, left] * left_weight[:, None] + pixels[:, right] * right_weight[:, None]) >> 4
    above, below = across[upper] * upper_weight[:, None, None] >> 16, across[lower] * lower_weight[:, None, None] >> 16
    return ((above + below + 2) >> 2).astype(np.uint8)


def prepare(path: str, model: dict) -> tuple[np.ndarray, ...]:
    """Image file -> image (3, H, W) on its canvas, (height, width) that it fills, (x, y) factors of the resize, and its
    own (height, width)."""
    pixels = np.asarray(read_image(path))
    size = pixels.shape[:2]
    factor = min(model["long_side"] / max(size), model["short_side"] / min(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    if (height, width) != size:
        pixels = resize(pixels, height, width)
    values = (pixels.astype(np.float32) / 255 - np.float32(model["mean"])) / np.float32(model["std"])
    canvas = model["canvas"][::-1] if size[0] > size[1] else model["canvas"]
    image = np.zeros((3, *canvas), np.float32)
    image[:, :height, :width] = values.transpose(2, 0, 1)
    return image, np.float32([height, width]), np.float32([width / size[1], height / size[0]]), size


def paste(values: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Probabilities (S, S) within a box -> the object's pixels, (height, width) bool: those of at least 0.5, bilinear
    between cells and zeros around."""
    mask, parts = np.zeros(size, bool), []
    x0, y0, x1, y1 = box.astype(np.float64)
    for low, high, end in ((y0, y1, size[0]), (x0, x1, size[1])):
        first, last = np.clip([np.floor(low), np.ceil(high)], 0, end).astype(int)
        at = (np.arange(first, last) + 0.5 - low) / max(high - low, 1e-9) * len(values) - 0.5
        weights = np.maximum(1 - np.abs(at[:, None] - np.arange(len(values))), 0)
        parts.append((slice(first, last), weights.astype(np.float32)))
    (rows, down), (columns, across) = parts
    mask[rows, columns] = down @ values @ across.T >= 0.5
    return mask


def write_masks(file: Path, masks: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> None:
    """A PNG of indexed colours: 0 where nothing is, else the number of the detection from 1; the best are above."""
    numbers = np.zeros(size, np.uint8)
    for number in range(min(len(masks), MAX_MASKS), 0, -1):
        numbers[paste(masks[number - 1], boxes[number - 1], size)] = number
    picture = Image.fromarray(numbers).convert("P")
    colours = [colorsys.hsv_to_rgb(0.618 * number % 1, 0.8, 1) for number in range(1, 256)]
    picture.putpalette([0, 0, 0, *(round(255 * part) for colour in colours for part in colour)])
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


class Network:
    """An exported file and its description."""

    def __init__(self, file: Path) -> None:
        self.sidecar = json.loads(Path(f"{file}.json").read_text(encoding="utf-8-sig"))
        if self.sidecar["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
            raise ValueError(f"{file} is damaged, or not the file that {file.name}.json describes")
        if "counts" not in self.sidecar.get("outputs", {}):
            raise ValueError(f"expected the file of a detector, got {file}")
        if self.sidecar["encryption"]:
            raise ValueError(f"{file} is encrypted, which is not read here")
        self.run = ms.nn.GraphCell(ms.load(str(file)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Finds objects in images.")
    parser.add_argument("file", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--score_threshold", type=float, default=0.3)
    parser.add_argument(
        "--masks",
        metavar="DIR",
        type=Path,
        help="of a file with masks: writes DIR/IMAGE.masks.png for each image, of its size, whose pixels are 0 or the "
        "number of the object in the order of the lines, from 1; its palette gives each a colour",
    )
    options = parser.parse_args()
    if options.masks and len({Path(path).name for path in options.images}) < len(options.images):
        raise ValueError("two images have the same name, and so would their files of masks: run them apart")
    networks = {False: Network(options.file)}
    model = networks[False].sidecar["model"]
    if options.masks and "masks" not in networks[False].sidecar["outputs"]:
        raise ValueError(f"{options.file} gives no masks: leave --masks out")
    batch_size = networks[False].sidecar["inputs"]["images"]["shape"][0]
    for path in options.images:
        *inputs, size = prepare(path, model)
        is_portrait = inputs[0].shape[1] > inputs[0].shape[2]
        if is_portrait not in networks:
            networks[True] = Network(options.file.with_name(f"{options.file.stem}_portrait{options.file.suffix}"))
        batch = [ms.Tensor(np.stack([value] * batch_size)) for value in inputs]  # one image, repeated
        boxes, scores, labels, counts, *masks = (output.asnumpy()[0] for output in networks[is_portrait].run(*batch))
        if counts < 0:
            raise ValueError("the network's outputs are not finite: its weights are damaged")
        print(printable(path))
        for box, score, label in zip(boxes[:counts], scores[:counts], labels[:counts], strict=True):
            if score > options.score_threshold:
                corners = " ".join(f"{value:.1f}" for value in box)
                print(f"  {score:.4f}  {printable(model['classes'][label])}  {corners}")
        if options.masks:
            good = np.flatnonzero(scores[:counts] > options.score_threshold)
            write_masks(options.masks / f"{Path(path).name}.masks.png", masks[0][good], boxes[good], size)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # labels in letters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except Exception as error:  # whatever the reason: one line
        sys.exit(f"error: {printable(' '.join(str(error).split()))}")
