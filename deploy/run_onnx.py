"""Names what images show, with nothing but ONNX Runtime: python run_onnx.py FILE.onnx IMAGE...

Needs onnxruntime, numpy, pillow, FILE.onnx, and FILE.onnx.json beside it, which says what goes in and comes out.
Prints the five most probable labels of each image.
"""

import argparse
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


def crop_middle(image: Image.Image, height: int, width: int) -> Image.Image:
    """Half a pixel is rounded to the even offset."""
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))


def read_pixels(path: str, model: dict) -> np.ndarray:
    """Image file -> (H, W, C) uint8: scaled to cover the size before the crop, then the middle of it."""
    image = read_image(path).convert("L" if model["in_channels"] == 1 else "RGB")
    height, width = model["image_size"]
    rows, columns = (math.floor(side / model["crop_pct"]) for side in (height, width))
    longest = math.ceil(64 * rows * image.width / columns), math.ceil(64 * columns * image.height / rows)
    image = crop_middle(image, min(image.height, longest[0]), min(image.width, longest[1]))  # what is left has no use
    if rows * image.width >= columns * image.height:
        columns = int(rows * image.width / image.height)
    else:
        rows = int(columns * image.height / image.width)
    image = image.resize((columns, rows), Image.Resampling.BICUBIC)  # Pillow's is antialiased
    return np.asarray(crop_middle(image, height, width)).reshape(height, width, model["in_channels"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("images", nargs="+")
    options = parser.parse_args()
    file, paths = options.file, options.images
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about what is not used here, such as damaged EXIF
    sidecar = json.loads(Path(f"{file}.json").read_text(encoding="utf-8-sig"))
    if sidecar["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
        raise ValueError(f"{file} is damaged, or not the file that {file.name}.json describes")
    if (sidecar["file_format"], sidecar["output"]["content"]) != ("ONNX", "logits"):
        raise ValueError(f"expected an ONNX file that gives logits, got {file}")
    session = onnxruntime.InferenceSession(str(file), providers=PROVIDERS)
    model, batch_size = sidecar["model"], sidecar["input"]["shape"][0] or min(len(paths), 16)
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        images = np.stack([read_pixels(path, model) for path in chunk])  # (B, H, W, C)
        if sidecar["input"]["normalized"]:
            images = (images.astype(np.float32) / 255 - np.float32(model["mean"])) / np.float32(model["std"])
            images = images.transpose(0, 3, 1, 2)  # (B, C, H, W)
        images = np.resize(images, (batch_size, *images.shape[1:]))  # a whole batch: repeats fill the last one
        logits = session.run(None, {sidecar["input"]["name"]: images})[0].astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        for path, share in zip(chunk, shares, strict=False):
            print(printable(path))
            for index in np.argsort(-share, kind="stable")[:5]:
                print(f"  {share[index]:.6f}  {printable(model['classes'][index])}")


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # labels in letters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except Exception as error:  # whatever the reason: one line
        sys.exit(f"error: {printable(' '.join(str(error).split()))}")
