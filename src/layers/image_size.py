"""An image size as users give it: one side, or height and width."""

from collections.abc import Sequence

from ..errors import UserError


def to_sides(image_size: int | Sequence[int]) -> tuple[int, ...]:
    """A side or (height, width), as (height, width)."""
    return tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)


def to_height_width(image_size: int | Sequence[int], multiple: int, network: str) -> tuple[int, int]:
    """`image_size` in pixels, a side or (height, width), as (height, width).

    Args:
        image_size: side of a square, or (height, width).
        multiple: every side must be a positive multiple of this.
        network: whose rule it is, for the message.

    Raises:
        UserError: a side that the network does not take.
    """
    sides = to_sides(image_size)
    if len(sides) != 2 or any(not isinstance(side, int) or side <= 0 or side % multiple for side in sides):
        raise UserError(
            f"image_size: {network} takes sides that are positive multiples of {multiple} "
            f"(one side, or height and width), got {image_size}"
        )
    return sides
