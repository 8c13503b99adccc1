"""Reads one image as RGB, as the authors' loader does (Pillow's `convert("RGB")`), except for 16-bit grey.

- Transparency (RGBA, LA, palette): the alpha channel is dropped, not blended with a background.
- Grey and palette images get three channels; CMYK and YCbCr follow Pillow's formulas.
- 16 bits a channel: the high byte, which Pillow takes for colour; for grey it would clip everything above 255 to white.
- The EXIF orientation is not applied, and the colour profile is ignored.
- Of an animation or a multi-page file: the first frame.
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from src.errors import UserError

# Formats that Pillow names but cannot decode by itself (WMF and EMF: on Windows only).
IDENTIFIED_ONLY = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}


def image_endings() -> frozenset[str]:
    """File endings, in lower case with the dot, of all formats that the installed Pillow can read."""
    endings = Image.registered_extensions()
    readable = (
        set(Image.OPEN) | {"MPO"}
    ) - IDENTIFIED_ONLY  # MPO, a JPEG with several frames, has no opener of its own
    return frozenset(ending for ending, name in endings.items() if name in readable)


def read_image(path: str | Path) -> Image.Image:
    """Reads and decodes a file completely.

    Raises:
        UserError: the file is missing, empty, truncated, not an image, or of a kind that has no defined RGB values.
    """
    return decode_image(path, lambda: str(path))


def decode_image(file: str | Path | BinaryIO, describe: Callable[[], str]) -> Image.Image:
    """The same for what is a file or its bytes; `describe` names it in messages.

    Raises:
        UserError: as `read_image`.
    """
    try:
        with Image.open(file) as image:
            return _to_rgb(image)
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, ValueError, struct.error ...
        reason = str(error).replace(repr(file), "<bytes>").replace("\n", " ")
        raise UserError(
            f"cannot read image {describe()} ({type(error).__name__}: {reason}); "
            "replace it by a readable image or remove it"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"integer pixels from {pixels.min()} to {pixels.max()}, expected 16 bits (0 to 65535)")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, which have no defined range; expected integers of 8 or 16 bits")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours as the direct way, which prints a warning
    return image.convert("RGB")
