"""Masks drawn into an image: a translucent layer of colour, an opaque line along the border, a thin one around it."""

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from ..detection.run_lengths import RunLengths, decode_window

_FILL, _HALO = 0.4, 0.65  # opacities of the layer, and of the line around that parts it from what it is like


def draw_mask(
    picture: Image.Image,
    mask: RunLengths,
    colour: tuple[int, int, int],
    around: tuple[int, int, int],
    factor: int = 1,
    line: int = 2,
) -> None:
    """Draws into `picture`; only the part that holds the mask is looked at.

    The line along the border lies inside the mask, so that masks that touch stay apart.

    Args:
        picture: RGB, `factor` times the size of the mask.
        mask: what to draw.
        colour, around: RGB of the mask, and of the thin line around it.
        factor: whole.
        line: its thickness in pixels of `picture`.
    """
    columns, left, top = decode_window(mask)
    if not columns.size:
        return
    margin = 3 * line
    pixels = Image.fromarray(np.ascontiguousarray(columns.T).view(np.uint8) * np.uint8(255))
    pixels = pixels.resize((pixels.width * factor, pixels.height * factor), Image.Resampling.NEAREST)
    own = Image.new("L", (pixels.width + 2 * margin, pixels.height + 2 * margin))
    own.paste(pixels, (margin, margin))
    near = own.filter(ImageFilter.GaussianBlur(line))  # half on a straight border, more inside, less outside
    inside = own.filter(ImageFilter.GaussianBlur(0.5)) if factor == 1 else own
    x, y = left * factor - margin, top * factor - margin
    halo = ImageChops.subtract(near.point(_ramp(0.2, 0.35, _HALO)), inside)
    picture.paste(around, (x, y), halo)
    picture.paste(colour, (x, y), inside.point(_ramp(0, 1, _FILL)))
    border = near.point([255 - value for value in _ramp(0.84, 0.96, 1)])
    picture.paste(colour, (x, y), ImageChops.darker(border, inside))


def _ramp(low: float, high: float, opacity: float) -> list[int]:
    """Opacities of 256 levels: nothing up to `low`, `opacity` from `high` on."""
    levels = np.arange(256) / 255
    return np.rint(255 * opacity * np.clip((levels - low) / (high - low), 0, 1)).astype(int).tolist()
