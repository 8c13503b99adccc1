"""An image size as users give it: one side, or height and width."""

from collections.abc import Sequence

from src.errors import UserError


def to_height_width(image_size: int | Sequence[int], multiple: int, network: str) -> tuple[int, int]:
    """`image_size` in pixels, a side or (height, width), as (height, width).

    Args:
        image_size: side of a square, or (height, width).
        multiple: every side must be a positive multiple of this.
        network: whose rule it is, for the message.

    Raises:
        UserError: a side that the network does not take.
    """
    height_width = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(height_width) != 2 or any(not isinstance(s, int) or s <= 0 or s % multiple for s in height_width):
        raise UserError(
            f"image_size: {network} takes sides that are positive multiples of {multiple} "
            f"(one side, or height and width), got {image_size}"
        )
    return height_width
