"""Less memory for more time: activations of the blocks are computed anew in the backward pass."""

import itertools

from mindspore import nn

from ..layers.activation import GELU
from ..layers.cpu_operators import HasCpuOperators


def recompute_blocks(net: nn.Cell) -> None:
    """Makes training of `net`, a network of `create_model`, keep only what goes into its blocks.

    MindSpore 2.10 cannot compile a recomputed block in which dropout follows a cell with a derivative of its own
    ("Graph cycle exists"), so that GELU and LayerNorm have MindSpore's derivatives there.
    """
    for block in itertools.chain(*net.block_stages()):
        block.recompute()
        for _, cell in block.cells_and_names():
            if isinstance(cell, GELU):
                cell.has_custom_gradient = False
            elif isinstance(cell, HasCpuOperators):
                cell.uses_cpu_operators = cell.uses_kernels = False
