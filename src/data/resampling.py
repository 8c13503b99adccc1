"""Images resized, rotated, sheared and translated as Pillow does it, to the bit, in a fraction of its time.

What is computed is in resampling.cc, compiled as `src.files.compiled_library` does it. The functions take and give
Pillow images; they read and write them where Pillow holds them, which it tells by Arrow's C data interface (from
Pillow 11.3 on). Whatever is not covered goes to Pillow itself: other modes and filters, very large images, and all of
it where there is no library, or where this Pillow computes otherwise, which a few small images tell at the start.

A detector's images, which are NumPy arrays, are resized and normalised by the same library.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from ..files.compiled_library import compiled_library

SOURCE = Path(__file__).with_suffix(".cc")
OPTIONS = ("-ffp-contract=off",)
"""Products and sums are rounded one by one, as in Pillow."""

LARGEST_SIDE = 1 << 15
ELONGATED = 100
"""Times as high as wide: some versions of Pillow resize such images in another order."""

BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""

_Integers2, _Integers4, _Doubles6 = ctypes.c_int64 * 2, ctypes.c_int64 * 4, ctypes.c_double * 6
_ARGUMENTS = {
    "resize": "pixels, is_colour, size, box, is_cubic, is_columns_first, result, new_size",
    "transform": "pixels, size, matrix, is_cubic, fill, result",
    "look_up": "pixels, apart, size, tables, result, result_apart",
    "interpolate": "pixels, width, rows, columns, result, new_size",
}
_TYPES = {
    **{"pixels": ctypes.c_void_p, "result": ctypes.c_void_p, "rows": ctypes.c_void_p, "columns": ctypes.c_void_p},
    **{"size": _Integers2, "new_size": _Integers2, "box": _Integers4, "matrix": _Doubles6, "width": ctypes.c_int64},
    **{"is_colour": ctypes.c_int, "is_cubic": ctypes.c_int, "is_columns_first": ctypes.c_int},
    **{"apart": _Integers2, "result_apart": _Integers2, "tables": ctypes.c_void_p, "fill": ctypes.c_uint32},
}
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


class Neighbours(NamedTuple):
    """For each place of a new line of pixels the two of the old one that it lies between, and their weights.

    Attributes:
        first, second: int64.
        first_weight, second_weight: int32.
    """

    first: np.ndarray
    second: np.ndarray
    first_weight: np.ndarray
    second_weight: np.ndarray


class _Size(NamedTuple):
    width: int
    height: int


def _never(size: _Size, new: _Size) -> bool:
    return False


def _where_height_shrinks(size: _Size, new: _Size) -> bool:
    return size.height > new.height and size.height - new.height > 2 * (size.width - new.width)


ORDERS = (_where_height_shrinks, _never)
"""In which cases Pillow resizes columns before rows: as 13 does, as 10 did."""


@dataclass(frozen=True)
class _Library:
    """The compiled functions.

    Attributes:
        functions: None where there are none.
        is_columns_first: which of `ORDERS` this Pillow has.
        reason: why there are none.
    """

    functions: ctypes.CDLL | None
    is_columns_first: Callable[[_Size, _Size], bool] = _never
    reason: str = ""

    def resize(self, image: Image.Image, size: _Size, resampling: Image.Resampling, box: Box) -> Image.Image | None:
        """None where it is not covered."""
        left, top, right, bottom = box
        cut = _Size(right - left, bottom - top)
        if (
            self.functions is None
            or resampling not in (BILINEAR, BICUBIC)
            or not 0 <= left < right <= image.width
            or not 0 <= top < bottom <= image.height
            or not 0 < min(size) <= max(*size, *image.size) <= LARGEST_SIDE
            or cut.height > ELONGATED * cut.width
        ):
            return None

        def call(functions: ctypes.CDLL, pixels: int, result: int) -> int:
            return functions.resize(
                pixels,
                image.mode == "RGB",
                _Integers2(*image.size),
                _Integers4(*box),
                resampling == BICUBIC,
                self.is_columns_first(cut, size),
                result,
                _Integers2(*size),
            )

        return self._made_of(image, size, call, ("L", "RGB"))

    def transform(
        self, image: Image.Image, matrix: Sequence[float], resampling: Image.Resampling, fill: tuple[int, ...]
    ) -> Image.Image | None:
        """None where it is not covered."""
        if (
            self.functions is None
            or resampling not in (BILINEAR, BICUBIC)
            or not 0 < min(image.size) <= max(image.size) <= LARGEST_SIDE
        ):
            return None

        def call(functions: ctypes.CDLL, pixels: int, result: int) -> int:
            red, green, blue = fill
            colour = red | green << 8 | blue << 16 | 255 << 24
            size, is_cubic = _Integers2(*image.size), resampling == BICUBIC
            return functions.transform(pixels, size, _Doubles6(*matrix), is_cubic, colour, result)

        return self._made_of(image, image.size, call, ("RGB",))

    def _made_of(
        self, image: Image.Image, size: tuple[int, int], call: Callable[..., int], modes: Sequence[str]
    ) -> Image.Image | None:
        """A new image of the same mode, which `call` fills; None where one of the two does not lie in one piece."""
        image.load()
        if image.mode not in modes or image.readonly:  # it may lie in a file, in whatever order
            return None
        result = Image.new(image.mode, size, None)
        try:
            pixels, new_pixels = image.__arrow_c_array__()[1], result.__arrow_c_array__()[1]
        except ValueError:
            return None
        if call(self.functions, _address(pixels, b"arrow_array"), _address(new_pixels, b"arrow_array")):
            return None
        result.info = image.info.copy()
        return result


def resize(
    image: Image.Image, size: tuple[int, int], resampling: Image.Resampling, box: Box | None = None
) -> Image.Image:
    """`image.crop(box).resize(size, resampling)`, of the whole image without a box; `size` is Pillow's, width first."""
    result = library().resize(image, _Size(*size), resampling, box or (0, 0, *image.size))
    if result is not None:
        return result
    return (image.crop(box) if box else image).resize(size, resampling)


def transform(
    image: Image.Image, matrix: Sequence[float], resampling: Image.Resampling, fill: tuple[int, ...]
) -> Image.Image:
    """`image.transform` by an affine matrix (a, b, c, d, e, f), to the same size.

    Args:
        image: RGB.
        matrix: a pixel at x, y is taken from a x + b y + c, d x + e y + f.
        resampling: bilinear or bicubic.
        fill: colour of what lies outside the image.
    """
    result = library().transform(image, matrix, resampling, fill)
    if result is not None:
        return result
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resampling, fillcolor=fill)


def rotate(image: Image.Image, degrees: float, resampling: Image.Resampling, fill: tuple[int, ...]) -> Image.Image:
    """`image.rotate`, about the middle, against the clock; arguments as of `transform`."""
    if degrees % 90 == 0:  # Pillow moves pixels
        return image.rotate(degrees, resampling, fillcolor=fill)
    turn = -math.radians(degrees % 360.0)
    cosine, sine = round(math.cos(turn), 15), round(math.sin(turn), 15)
    x, y = image.width / 2, image.height / 2
    left, top = cosine * -x + sine * -y + x, -sine * -x + cosine * -y + y
    return transform(image, (cosine, sine, left, -sine, cosine, top), resampling, fill)


def interpolate(pixels: np.ndarray, rows: Neighbours, columns: Neighbours) -> np.ndarray | None:
    """Bilinear in whole numbers, see `resize_image` of `src.data.box_transforms`; None where that is not covered.

    Args:
        pixels: (h, w, C) uint8; covered are 3 channels.
        rows, columns: of the result, within those of `pixels`.

    Returns:
        (rows, columns, C) uint8.
    """
    functions = library().functions
    if functions is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        return None
    pixels = np.ascontiguousarray(pixels)
    result = np.empty((len(rows.first), len(columns.first), 3), np.uint8)
    pointers = [(ctypes.c_void_p * 4)(*(array.ctypes.data for array in along)) for along in (rows, columns)]
    size = _Integers2(result.shape[1], result.shape[0])
    if functions.interpolate(pixels.ctypes.data, pixels.shape[1], *pointers, result.ctypes.data, size):
        return None
    return result


def look_up(pixels: np.ndarray, tables: np.ndarray, result: np.ndarray) -> bool:
    """Puts values from a table in the place of bytes; False where that is not covered, and nothing is done.

    Args:
        pixels: (h, w, C) uint8; covered are 3 channels.
        tables: (C, 256) float32.
        result: (C, H, W) float32, no smaller; its top left is written.
    """
    functions, (height, width, channels) = library().functions, pixels.shape
    if (
        functions is None
        or (channels, pixels.dtype, pixels.strides[2]) != (3, np.uint8, 1)
        or (tables.shape, tables.dtype, tables.flags.c_contiguous) != ((3, 256), np.float32, True)
        or (len(result), result.dtype, result.strides[2]) != (3, np.float32, 4)
        or any(step % 4 for step in result.strides)
        or not (result.flags.writeable and height <= result.shape[1] and width <= result.shape[2])
    ):
        return False
    apart, result_apart = _Integers2(*pixels.strides[:2]), _Integers2(*(step // 4 for step in result.strides[:2]))
    size = _Integers2(width, height)
    functions.look_up(pixels.ctypes.data, apart, size, tables.ctypes.data, result.ctypes.data, result_apart)
    return True


def shortcoming() -> str | None:
    """A line for the log; None where all is well."""
    reason = library().reason
    return (
        f"images are resized and rotated by Pillow and NumPy, to the same values, more slowly: {reason}"
        if reason
        else None
    )


@cache
def library() -> _Library:
    """The compiled functions, compiled when they are asked for first. Never an error: what is wrong is the reason."""
    if not hasattr(Image.Image, "__arrow_c_array__"):
        return _Library(None, reason=f"Pillow {PIL.__version__} does not tell where it holds pixels; 11.3 does")
    compiled = compiled_library(SOURCE, OPTIONS)
    if compiled.path is None:
        return _Library(None, reason=compiled.reason)
    functions = ctypes.CDLL(str(compiled.path))
    for name, arguments in _ARGUMENTS.items():
        getattr(functions, name).argtypes = [_TYPES[argument] for argument in arguments.split(", ")]
    for order in ORDERS:
        found = _Library(functions, order)
        if _agrees_with_pillow(found):
            return found
    return _Library(None, reason=f"Pillow {PIL.__version__} holds pixels or computes otherwise than those known")


def _agrees_with_pillow(found: _Library) -> bool:
    """Whether a few small images come out the same."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (47, 61, 3), dtype=np.uint8))
    matrix, fill = (0.9, 0.3, -5.0, -0.2, 0.8, 7.0), (1, 2, 3)
    for filter_ in (BILINEAR, BICUBIC):
        for size in (_Size(20, 31), _Size(80, 20), _Size(75, 90), _Size(60, 25), _Size(20, 60)):
            for image in (noise, noise.convert("L")):
                resized = found.resize(image, size, filter_, (0, 0, *image.size))
                if resized is None or resized.tobytes() != image.resize(size, filter_).tobytes():
                    return False
        transformed = found.transform(noise, matrix, filter_, fill)
        expected = noise.transform(noise.size, Image.Transform.AFFINE, matrix, filter_, fillcolor=fill)
        if transformed is None or transformed.tobytes() != expected.tobytes():
            return False
    return True
