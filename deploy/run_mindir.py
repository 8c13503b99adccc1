"""Names what images show, with nothing but MindSpore: python run_mindir.py FILE.mindir IMAGE...

Needs mindspore, numpy, pillow, FILE.mindir, and FILE.mindir.json beside it, which says what goes in and comes out.
Prints the five most probable labels of each image. A file that is encrypted needs --key_file KEY too.
"""

import argparse
import hashlib
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

os.environ.setdefault("GLOG_v", "4")  # MindSpore logs what it raises
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")  # MindSpore 2.10's convolutions are slow with AVX-512
import mindspore as ms  # noqa: E402


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
    parser.add_argument("--key_file", type=Path)
    options = parser.parse_args()
    file, paths = options.file, options.images
    sidecar = json.loads(Path(f"{file}.json").read_text(encoding="utf-8"))
    if sidecar["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
        raise ValueError(f"{file} is damaged, or not the file that {file.name}.json describes")
    if (sidecar["file_format"], sidecar["output"]["content"]) != ("MINDIR", "logits"):
        raise ValueError(f"expected a MINDIR file that gives logits, got {file}")
    if bool(sidecar["encryption"]) != bool(options.key_file):
        raise ValueError(f"{file}: --key_file is needed for an encrypted file, and only for that")
    key = options.key_file.read_bytes() if options.key_file else b""
    decryption = {"dec_key": key[: len(key) // 8 * 8], "dec_mode": sidecar["encryption"]}  # less a line end
    network = ms.nn.GraphCell(ms.load(str(file), **decryption if key else {}))
    model, batch_size = sidecar["model"], sidecar["input"]["shape"][0] or min(len(paths), 16)
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        images = np.stack([read_pixels(path, model) for path in chunk])  # (B, H, W, C)
        if sidecar["input"]["normalized"]:
            images = (images.astype(np.float32) / 255 - np.float32(model["mean"])) / np.float32(model["std"])
            images = images.transpose(0, 3, 1, 2)  # (B, C, H, W)
        images = np.resize(images, (batch_size, *images.shape[1:]))  # a whole batch: repeats fill the last one
        logits = network(ms.Tensor(images)).asnumpy().astype(np.float64)
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
