"""The masks of one training step: of stochastic depth all at once, of dropout by the layers themselves.

A network has dozens of stochastic depth layers, and a few lines of hashing in each would double the graph that is to be
compiled. So their masks are computed together, as a table with a row for each layer, and each reads its row.
"""

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from .drop_path import DropPath
from .random_mask import LAYER_FACTOR, ROW_FACTOR, mask_bits, mask_state, number_masks, to_int32
from .wrapping import wrapping_product, wrapping_sum


class StepMasks(nn.Cell):
    """Sets the masks that the layers of a network read, as `RandomMask.mask` defines them.

    Numbers the layers of `net` and makes them read from here; a network belongs to the last one made for it.

    Args:
        net: the network.
        batch_size: images of a part, which is what the network gets at a time.
        num_parts: of a global batch, see `mask_state`.
    """

    def __init__(self, net: nn.Cell, batch_size: int, num_parts: int):
        super().__init__(auto_prefix=False)
        number_masks(net)
        self.batch_size, self.num_parts = batch_size, num_parts
        groups: dict[int, list[DropPath]] = {}
        for _, cell in net.cells_and_names():
            if isinstance(cell, DropPath) and cell.rate > 0.0:
                groups.setdefault(cell.rows_per_image, []).append(cell)
        self.tables = nn.CellList([DropPathTable(layers, batch_size, num_parts) for layers in groups.values()])

    def construct(self, key, part):
        """Key of the step and number of the part, int32 scalars."""
        num_parts, size = (ops.full((), value, dtype=mstype.int32) for value in (self.num_parts, self.batch_size))
        done = ops.assign(mask_state, ops.stack((key, part, num_parts, size)))
        for table in self.tables:
            done = ops.depend(table(key, part), done)
        return done


class DropPathTable(nn.Cell):
    """Masks of the stochastic depth layers that have equally many rows for an image.

    Args:
        layers: numbered; each has a rate above 0.
        batch_size, num_parts: see `StepMasks`.
    """

    def __init__(self, layers: list[DropPath], batch_size: int, num_parts: int):
        super().__init__(auto_prefix=False)
        per_image = layers[0].rows_per_image
        rows = np.arange(batch_size * per_image)
        image = rows // per_image
        is_first = 2 * image < batch_size
        # the row of the global batch is row_of_part_0 + row_step * part, see `mask_state`
        row_of_part_0 = (num_parts * image + np.where(is_first, 0, num_parts - 1)) * per_image + rows % per_image
        row_step = np.where(is_first, per_image, -per_image)
        numbers = np.array([[layer.layer] for layer in layers])
        self.words = Tensor(to_int32(row_of_part_0 * ROW_FACTOR + numbers * LAYER_FACTOR))  # (layers, rows)
        self.word_steps = Tensor(to_int32(row_step * ROW_FACTOR))
        self.thresholds = Tensor(np.array([[layer.threshold] for layer in layers], np.int32))
        self.factors = Tensor(np.array([[1.0 / (1.0 - layer.rate)] for layer in layers], np.float32))
        masks = Parameter(Tensor(np.ones(self.words.shape, np.float32)), name=f"masks_{per_image}", requires_grad=False)
        object.__setattr__(self, "masks", masks)  # not as a parameter of this cell: it is no state to be saved
        for index, layer in enumerate(layers):
            layer.read_masks(masks, index)

    def construct(self, key, part):
        bits = mask_bits(wrapping_sum(self.words, wrapping_product(self.word_steps, part)), key)
        return ops.assign(self.masks, (bits >= self.thresholds).astype(mstype.float32) * self.factors)
