"""Weights of a network for one image size in the same network for another: its position tables resized.

Which tables depend on the image size, and how each is resized, is the network's own matter (`table_resizers`). Tables
have the same name in our checkpoints and in the authors' files, so both are resized here.
"""

from collections.abc import Mapping

import numpy as np
from mindspore import nn

from ..errors import UserError


def resize_weights(
    net: nn.Cell, weights: Mapping[str, np.ndarray], image_size: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, tuple[int, ...]]]:
    """Fits weights of another image size to `net`.

    Args:
        net: a network of `create_model`, for its own image size.
        weights: name -> array, by our names or the authors', of the same network for images of `image_size`.
        image_size: (height, width) in pixels; `ModelCard.image_size` of a checkpoint.

    Returns:
        The weights, other tables in the place of those that do not fit, the rest the same arrays; and the old shape of
        each table that was replaced. Where the image sizes are equal, nothing is.

    Raises:
        UserError: a table is not one of `image_size`.
    """
    if tuple(image_size) == tuple(net.image_size):
        return dict(weights), {}
    resized, old_shapes = dict(weights), {}
    for name, resize in net.table_resizers(tuple(image_size)).items():
        if name in weights:
            try:
                resized[name] = resize(weights[name])
            except ValueError as error:
                height, width = image_size
                raise UserError(f"{name} is not a table for images of {height} x {width}: {error}") from error
            old_shapes[name] = tuple(weights[name].shape)
    return resized, old_shapes
