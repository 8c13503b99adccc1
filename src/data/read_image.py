"""Reads one image as RGB, as the authors' loader does (Pillow's `convert("RGB")`), except for 16-bit grey.

- Transparency (RGBA, LA, palette): the alpha channel is dropped, not blended with a background.
- Grey and palette images get three channels; CMYK and YCbCr follow Pillow's formulas.
- 16 bits a channel: the high byte, which Pillow takes for colour; for grey it would clip everything above 255 to white.
- The EXIF orientation is not applied, and the colour profile is ignored.
- Of an animation or a multi-page file: the first frame.

Pillow tells formats by content, whatever a file's name, so only those in `FORMATS` are looked for. Left out are

- EPS, which runs the program `gs` that is first on the PATH;
- IPTC, whose content is opened as an image of any format, EPS too;
- WMF (and EMF), which Windows itself draws, and which nothing can draw elsewhere;
- BUFR, GRIB and HDF5, which other packages may bring code for, and MPEG: Pillow knows their names only;
- FPX and MIC, which are read by another package (olefile) and are there only where that is installed;
- PALM and PDF, which Pillow only writes, and whatever other packages add to Pillow.

The formats that stay are decoded in this process and read nothing but their own file.
"""

import os
import re
import stat
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..errors import ImageWarning, UserError
from .reduced_decoding import Least

# In the order in which they are tried: the usual ones first. MPO, a JPEG with several frames, is opened as JPEG.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"),
    *("BLP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "ICNS", "ICO", "IM", "IMT", "MCIDAS", "MSP"),
    *("PCD", "PCX", "PIXAR", "PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "XBM", "XPM", "XVTHUMB"),
)
DARKEST = 1 << 12  # a sixteenth of the range of 16 bits

InMemory = Image.Image | np.ndarray

_REMEDY = "replace it by a readable image or remove it"
_SIXTEEN_BITS = re.compile(r"(?<!CMYK);16[BLN]$")  # in Pillow's names for what lies in files; "BGR;16" is 16 a pixel


@cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def image_endings() -> frozenset[str]:
    """File endings, in lower case with the dot, of all formats that are read."""
    readable = {*formats(), "MPO"}
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in readable)


def read_image(path: str | Path, least: Least | None = None) -> Image.Image:
    """Reads and decodes a file completely. Of 16-bit images that come out almost black it warns (`ImageWarning`).

    Args:
        path: of the file.
        least: the size that the image must have at least, where it may be reduced.

    Raises:
        UserError: the file is missing, empty, truncated, not an image, too large, of a kind that has no defined RGB
            values, or no regular file: a named pipe or a device is not opened.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("a folder, pipe, socket or device, which is not opened")
    except (OSError, ValueError) as error:
        raise _unreadable(str(path), error) from error
    return decode_image(path, lambda: str(path), least)


def decode_image(file: str | Path | BinaryIO, describe: Callable[[], str], least: Least | None = None) -> Image.Image:
    """The same for what is a regular file or its bytes; `describe` names it in messages.

    Raises:
        UserError: as `read_image`.
    """
    try:
        with Image.open(file, formats=formats()) as image:
            if least is not None:
                height, width = least((image.height, image.width))
                if (width, height) != image.size:
                    image.draft(None, (width, height))
            is_reduced = _is_reduced(image)
            image, brightest = _to_rgb(image)
    except Image.DecompressionBombError as error:
        raise UserError(_too_large(describe(), error)) from error
    except Exception as error:  # Pillow's decoders raise many kinds: OSError, SyntaxError, ValueError, struct.error ...
        raise _unreadable(describe(), error) from error
    value = f"{brightest:,}"
    if is_reduced:
        brightest = 256 * max(high for _, high in image.getextrema()) + 255
        value = f"at most {brightest:,}"
    if 0 < brightest < DARKEST:
        warnings.warn(_too_dark(describe(), value), ImageWarning, stacklevel=1)
    return image


def to_rgb(image: InMemory) -> Image.Image:
    """An image in memory as `read_image` would give it.

    Args:
        image: of Pillow, or pixels (H, W) or (H, W, 3) uint8.

    Raises:
        UserError: it is something else, or of a kind that has no defined RGB values.
    """
    if isinstance(image, np.ndarray):
        is_grey, is_colour = image.ndim == 2, image.ndim == 3 and image.shape[2] == 3
        if image.dtype != np.uint8 or not (is_grey or is_colour) or image.size == 0:
            raise UserError(f"expected pixels (H, W) or (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
        return Image.fromarray(image).convert("RGB")
    if not isinstance(image, Image.Image):
        raise UserError(f"expected an image file, a Pillow image or an array, got {type(image).__name__}")
    try:
        return _to_rgb(image)[0]
    except Exception as error:  # see `decode_image`: a Pillow image may still have to be read
        raise _unreadable("in memory", error) from error


def _to_rgb(image: Image.Image) -> tuple[Image.Image, int]:
    """The image in RGB, and the largest value of grey ones with more than 8 bits, else 0."""
    if _is_grey_16(image):
        pixels = np.asarray(image)
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > 65535:
            raise ValueError(f"integer pixels from {low} to {high}, expected 16 bits (0 to 65535)")
        return Image.fromarray((pixels >> 8).astype(np.uint8)).convert("RGB"), high
    if image.mode == "F":
        raise ValueError("floating-point pixels, which have no defined range; expected integers of 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours as the direct way, which prints a warning
    return image.convert("RGB"), 0


def _is_grey_16(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _is_reduced(image: Image.Image) -> bool:
    """Whether Pillow will keep the high byte alone of 16 bits a channel; tells it as long as nothing is decoded."""
    for codec, _, _, arguments in image.tile:
        raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if codec == "SGI16" or isinstance(raw_mode, str) and _SIXTEEN_BITS.search(raw_mode):
            return not _is_grey_16(image)
    return False


def _unreadable(name: str, error: Exception) -> UserError:
    reason = re.sub(r"<_io\.\w+ object at \w+>", "<bytes>", str(error)).replace("\n", " ")
    return UserError(f"cannot read image {name} ({type(error).__name__}: {reason}); {_REMEDY}")


def _too_large(name: str, error: Image.DecompressionBombError) -> str:
    found = re.search(r"\((\d+) pixels\)", str(error))
    size = f"{int(found[1]):,} pixels" if found else str(error)
    return (
        f"image {name} is too large: {size}, at most {2 * Image.MAX_IMAGE_PIXELS:,} are read; scale it down or remove "
        "it (--on_bad_image skip lets training and evaluation go on without it)"
    )


def _too_dark(name: str, brightest: str) -> str:
    return (
        f"image {name} is read almost black: of 16 bits a channel the high byte counts, and its brightest value is "
        f"{brightest} of 65,535; if its values have 8 or 12 bits, scale them to 16 or save it with 8"
    )
