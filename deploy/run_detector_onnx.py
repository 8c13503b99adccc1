"""Finds objects in images, with nothing but ONNX Runtime: python run_detector_onnx.py FILE.onnx IMAGE...

Needs onnxruntime, numpy, pillow, FILE.onnx, and FILE.onnx.json beside it, which says what goes in and comes out; for
images of the other orientation FILE_portrait.onnx and its .json too. Prints score, label and box (x0 y0 x1 y1 in pixels
of the image) of what is found, the best first; --json FILE writes it. Of a file with masks --masks DIR writes them, a
PNG for each image.
"""

import argparse
import colorsys
import hashlib
import json
import math
import os
import re
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

PROVIDERS = ["CPUExecutionProvider"]  # for a GPU put "CUDAExecutionProvider" before it
WEIGHT_BITS = 11  # of the bilinear weights, as OpenCV's for 8 bits a channel
MAX_MASKS = 255  # in a PNG of 8 bits

# What Pillow decodes by itself, whatever a file's name; EPS would start a program, IPTC opens an image of any format.
FORMATS = (
    "JPEG PNG WEBP GIF BMP TIFF PPM AVIF JPEG2000 BLP CUR DCX DDS DIB FITS FLI FTEX GBR ICNS ICO IM IMT MCIDAS MSP PCD "
    "PCX PIXAR PSD QOI SGI SPIDER SUN TGA XBM XPM XVTHUMB"
).split()


def printable(text: str) -> str:
    """`text` on one line, with a question mark for whatever steers a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def read_image(path: str) -> Image.Image:
    """RGB; of 16 bits a channel the high byte, with a warning where that makes the image almost black."""
    brightest, value, is_reduced = 0, "", False
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("a folder, pipe, socket or device, which is not opened")
        Image.init()
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            is_grey = image.mode == "I" or image.mode.startswith("I;16")
            for codec, _, _, arguments in image.tile:
                raw_mode = str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)
                is_reduced |= not is_grey and (codec == "SGI16" or bool(re.search(r"(?<!CMYK);16[BLN]$", raw_mode)))
            if is_grey:
                pixels = np.asarray(image)
                low, brightest = int(pixels.min()), int(pixels.max())
                if low < 0 or brightest > 65535:
                    raise ValueError(f"integer pixels from {low} to {brightest}, expected 16 bits (0 to 65535)")
                image, value = Image.fromarray((pixels >> 8).astype(np.uint8)), f"{brightest:,}"
            elif image.mode == "F":
                raise ValueError(
                    "floating-point pixels, which have no defined range; expected integers of 8 or 16 bits"
                )
            image = image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise ValueError(f"image {path} is too large: scale it down ({error})") from error
    except Exception as error:  # Pillow raises many kinds
        raise ValueError(f"cannot read image {path} ({type(error).__name__}: {error})") from error
    if is_reduced:
        brightest = 256 * max(high for _, high in image.getextrema()) + 255
        value = f"at most {brightest:,}"
    if 0 < brightest < 4096:
        told = f"image {path} is read almost black: of 16 bits a channel the high byte counts, and its brightest value "
        told += f"is {value} of 65,535; if its values have 8 or 12 bits, scale them to 16 or save it with 8"
        print(f"warning: {printable(told)}", file=sys.stderr)
    return image


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


def prepare(path: str, model: dict) -> tuple:
    """Image file -> image (3, H, W) on its canvas, (height, width) there, factors (x, y), its own (width, height)."""
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
    return image, np.float32([height, width]), np.float32([width / size[1], height / size[0]]), size[::-1]


def anchors_of(level: dict) -> np.ndarray:
    """Those of one map, (n, 4)."""
    x, y = (np.arange(level[side], dtype=np.float32) * level["stride"] for side in ("columns", "rows"))
    shifts = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))] * 2, axis=1)
    return (shifts[:, None] + np.float32(level["base"])).reshape(-1, 4)


def candidates(logits: np.ndarray, deltas: np.ndarray, anchors: np.ndarray, shape: np.ndarray, sidecar: dict) -> tuple:
    """The best pairs of anchor and class of a map: boxes on the canvas, scores, labels, and whether they count."""
    with np.errstate(over="ignore"):
        scores = (1 / (1 + np.exp(-logits))).ravel()
    threshold, k = np.float32(sidecar["score_threshold"]), min(sidecar["candidates"], logits.size)
    above = np.flatnonzero(scores > threshold)
    others = np.setdiff1d(np.arange(k), above)[: max(k - len(above), 0)]  # do not count, but are in the span below
    pairs = np.concatenate([above[np.argsort(-scores[above], kind="stable")[:k]], others])  # equal ones: first first
    rows, labels = np.divmod(pairs, logits.shape[1])
    (anchors, deltas), limit = (anchors[rows], deltas[rows]), abs(math.log(sidecar["anchors"]["ratio_clip"]))
    sizes, centres = anchors[:, 2:] - anchors[:, :2], (anchors[:, :2] + anchors[:, 2:]) / 2
    centres = centres + deltas[:, :2] * sizes
    halves = sizes / 2 * np.exp(np.clip(deltas[:, 2:], -np.float32(limit), np.float32(limit)))
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    boxes = np.clip(boxes, 0, np.tile(shape[::-1], 2))
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return boxes, scores[pairs], labels, has_area & (scores[pairs] > threshold)


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one with each."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, np.float32(1e-6))


def choose(levels: list, scale: np.ndarray, sidecar: dict) -> tuple:
    """What stays of the candidates of all maps, the best first: boxes in pixels of the image, scores, labels."""
    boxes, scores, labels, counts = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    boxes = boxes / np.tile(scale, 2)
    span = np.float32(2 * boxes.max() + 1)  # classes are moved apart by it
    chosen = np.flatnonzero(counts)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    moved = boxes[chosen] + (labels[chosen].astype(np.float32) * span)[:, None]
    stays, left = [], np.arange(len(chosen))
    while len(left) and len(stays) < sidecar["max_per_image"]:
        best, left = left[0], left[1:]
        stays.append(best)
        left = left[overlaps(moved[best], moved[left]) <= np.float32(sidecar["iou_threshold"])]
    chosen = chosen[stays]
    return boxes[chosen], scores[chosen], labels[chosen]


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
        if self.sidecar["file_format"] != "ONNX" or "outputs" not in self.sidecar:
            raise ValueError(f"expected the ONNX file of a detector, got {file}")
        self.anchors = [anchors_of(level) for level in self.sidecar.get("anchors", {"maps": []})["maps"]]
        self.batch_size = self.sidecar["inputs"]["images"]["shape"][0] or 1
        self.session = onnxruntime.InferenceSession(str(file), providers=PROVIDERS)

    def find(self, image: np.ndarray, shape: np.ndarray, scale: np.ndarray) -> tuple:
        """Boxes, scores, labels of one image, and its masks where there are any; it is repeated where the file takes
        several."""
        given = {"images": image, "shapes": shape, "scales": scale}
        batch = {name: np.stack([given[name]] * self.batch_size) for name in self.sidecar["inputs"]}
        outputs = [output[0] for output in self.session.run(list(self.sidecar["outputs"]), batch)]
        if self.anchors:
            return self.choose_boxes(*outputs, shape, scale)
        boxes, scores, labels, count, *masks = outputs
        check_finite(count >= 0)
        return tuple(values[:count] for values in (boxes, scores, labels, *masks))

    def choose_boxes(self, logits: np.ndarray, deltas: np.ndarray, shape: np.ndarray, scale: np.ndarray) -> tuple:
        """Of a file that ends with what the network says of the anchors."""
        check_finite(np.isfinite(logits).all() and np.isfinite(deltas).all())
        ends = np.cumsum([len(level) for level in self.anchors])[:-1]
        levels = zip(np.split(logits, ends), np.split(deltas, ends), self.anchors, strict=True)
        return choose([candidates(*level, shape, self.sidecar) for level in levels], scale, self.sidecar)


def check_finite(is_finite: bool) -> None:
    if not is_finite:
        raise ValueError("the network's outputs are not finite: its weights are damaged")


def main() -> None:
    parser = argparse.ArgumentParser(description="Finds objects in images.")
    parser.add_argument("file", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--score_threshold", type=float, default=0.3)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--masks",
        metavar="DIR",
        type=Path,
        help="of a file with masks: writes DIR/IMAGE.masks.png for each image, of its size, whose pixels are 0 or the "
        "number of the object in the order of the lines, from 1; its palette gives each a colour",
    )
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about what is not used here, such as damaged EXIF
    if options.masks and len({Path(path).name for path in options.images}) < len(options.images):
        raise ValueError("two images have the same name, and so would their files of masks: run them apart")
    networks = {False: Network(options.file)}
    model, results = networks[False].sidecar["model"], []
    if options.masks and "masks" not in networks[False].sidecar["outputs"]:
        raise ValueError(f"{options.file} gives no masks: leave --masks out")
    for path in options.images:
        *inputs, (width, height) = prepare(path, model)
        is_portrait = inputs[0].shape[1] > inputs[0].shape[2]
        if is_portrait not in networks:
            networks[True] = Network(options.file.with_name(f"{options.file.stem}_portrait{options.file.suffix}"))
        boxes, scores, labels, *masks = networks[is_portrait].find(*inputs)
        count = int((scores > np.float32(options.score_threshold)).sum())
        detections = []
        print(printable(path))
        for box, score, index in zip(boxes[:count].tolist(), scores.tolist(), labels, strict=False):
            label, corners = model["classes"][index], " ".join(f"{side:.1f}" for side in box)
            print(f"  {score:.4f}  {printable(label)}  {corners}")
            detections.append({"label": label, "score": score, "box": [round(side, 2) for side in box]})
        results.append({"file": path, "width": width, "height": height, "detections": detections})
        if options.masks:
            write_masks(options.masks / f"{Path(path).name}.masks.png", masks[0][:count], boxes, (height, width))
    if options.json:
        options.json.write_text(json.dumps({"images": results}, ensure_ascii=False, indent=2), encoding="utf-8")


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # labels in letters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except Exception as error:  # whatever the reason: one line
        sys.exit(f"error: {printable(' '.join(str(error).split()))}")
