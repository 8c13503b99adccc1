"""Image files: every format that Pillow reads and writes, in several modes, damaged; and files that are no images."""

import io
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from benchmarks.fuzz_targets.mutation import mutate_bytes
from benchmarks.fuzz_targets.target import SilentChange
from src.data.read_image import image_endings, read_image
from src.data.transforms import EvalTransform

MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "YCbCr", "I", "I;16", "F")
SIZES = ((1, 1), (7, 5), (64, 3), (40, 40))
OTHERS = (
    b"",
    b"GIF89a",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452ffffffffffffffff0802000000"),  # 2^32 pixels a side
    b"P6 99999 99999 255\n",
    b"II*\0\x08\0\0\0\xff\xff",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
)


class Images:
    """Mutants: the ending of a file and its bytes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.transform = EvalTransform(image_size=8, mean=(0.5,) * 3, std=(0.5,) * 3, in_channels=3, crop_pct=0.9)
        random = np.random.default_rng(0)
        self.files = [("png", content) for content in OTHERS]
        for ending in sorted(image_endings()):
            self.files += [(ending[1:], content) for mode in MODES for content in _written(ending, mode, random)]

    def draw(self, random: Random) -> tuple[str, bytes]:
        ending, content = random.choice(self.files)
        for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
            content = mutate_bytes(content or b"\0", random) or b"\0"
        return (random.choice(self.files)[0] if random.random() < 0.05 else ending), content

    def read(self, mutant: tuple[str, bytes]) -> None:
        ending, content = mutant
        path = self.folder / f"image.{ending}"
        path.write_bytes(content)
        values = self.transform(read_image(path))
        if values.shape != (3, 8, 8) or not np.isfinite(values).all():
            raise SilentChange(f"read as {values.shape}, or with values that are not finite")


def _written(ending: str, mode: str, random: np.random.Generator) -> list[bytes]:
    """Files of several sizes; none where the format does not hold the mode."""
    files = []
    for width, height in SIZES:
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        if mode == "I;16":
            image = Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
        elif mode in ("I", "F"):
            image = image.convert("L").convert(mode)
        else:
            image = image.convert(mode)
        file = io.BytesIO()
        try:
            image.save(file, format=Image.registered_extensions()[ending])
        except Exception:  # Pillow has many ways to say that it does not write this
            continue
        files.append(file.getvalue())
    return files
