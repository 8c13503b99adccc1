"""Names what images show, with nothing but ONNX Runtime: python run_onnx.py FILE.onnx IMAGE...

Needs onnxruntime, numpy, pillow, FILE.onnx, and FILE.onnx.json beside it, which says what goes in and comes out.
Prints the five most probable labels of each image.
"""

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

PROVIDERS = ["CPUExecutionProvider"]  # for a GPU put "CUDAExecutionProvider" before it


def read_pixels(path: str, model: dict) -> np.ndarray:
    """Image file -> (H, W, C) uint8: scaled to cover the size before the crop, then the middle of it."""
    image = Image.open(path)
    if image.mode.startswith("I"):  # 16 bits a pixel: the high byte
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB").convert("L" if model["in_channels"] == 1 else "RGB")
    height, width = model["image_size"]
    rows, columns = (math.floor(side / model["crop_pct"]) for side in (height, width))
    if rows * image.width >= columns * image.height:
        columns = int(rows * image.width / image.height)
    else:
        rows = int(columns * image.height / image.width)
    image = image.resize((columns, rows), Image.Resampling.BICUBIC)  # Pillow's is antialiased
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    pixels = np.asarray(image.crop((left, top, left + width, top + height)))
    return pixels.reshape(height, width, model["in_channels"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("images", nargs="+")
    options = parser.parse_args()
    file, paths = options.file, options.images
    sidecar = json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))
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
            print(path)
            for index in np.argsort(-share, kind="stable")[:5]:
                print(f"  {share[index]:.6f}  {model['classes'][index]}")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # whatever the reason: one line
        sys.exit(f"error: {' '.join(str(error).split())}")
