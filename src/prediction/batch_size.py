"""How many images go into a step of prediction."""

from ..errors import UserError


def choose_batch_size(wanted: int | None, fixed: int | None, usual: int, num_images: int) -> int:
    """What is `wanted`, or the usual number, but no more than there are; or the fixed one.

    Args:
        wanted: by the user; None for no wish.
        fixed: the only one that the network takes; None for any.
        usual: without a wish.
        num_images: in all.

    Raises:
        UserError: another one is wanted than the fixed one, or none at all.
    """
    if wanted is not None and wanted < 1:
        raise UserError(f"batch_size: expected at least 1, got {wanted}")
    if fixed is not None and wanted not in (None, fixed):
        raise UserError(f"batch_size: the model file takes {fixed} images at a time, got {wanted}")
    return min(wanted or usual, num_images) if fixed is None else fixed
