"""Faster compilation: cells that compute the same, with parameters of their own, become one graph that is called.

MindSpore compiles the attention of every block anew. With `mindspore.lazy_inline(policy="front")` cells whose
`__init__` had equal arguments share a graph until the derivative is taken, which cuts the compile time of a training
step by half. The arguments say too little for that: precision, masks and the like are set later. Here cells share a
graph when everything that their graphs follow from is equal.
"""

import hashlib

from mindspore import Tensor, nn
from mindspore.ops import Primitive

from ..layers.random_mask import RandomMask

_OF_EVERY_CELL = frozenset(vars(nn.Cell()))


def share_graphs(net: nn.Cell) -> None:
    """Marks the largest cells that can share graphs among the blocks of `net`, a network of `create_model`.

    To be called when nothing about them will change any more, before the first compilation. Only cells at the same
    place in blocks of a stage share: a shared graph needs inputs of the same shapes.
    """
    for number, blocks in enumerate(net.block_stages()):
        _share(blocks, f"stage_{number}")


def _share(cells: list[nn.Cell], place: str) -> None:
    """Makes cells at one place share a graph where they are equal; where they are not, their parts may."""
    cells = [cell for cell in cells if any(True for _ in cell.get_parameters())]  # others are too small to be worth it
    groups: dict[str | None, list[nn.Cell]] = {}
    for cell in cells:
        groups.setdefault(_describe(cell), []).append(cell)
    different = groups.pop(None, [])
    for key, equal in groups.items():
        if len(equal) == 1:
            different += equal
        else:
            for cell in equal:  # what the decorator `lazy_inline` does
                cell.no_inline = False
                cell.cell_init_args = f"lazy_inline_{place}_{hashlib.sha256(key.encode()).hexdigest()}"
    parts: dict[str, list[nn.Cell]] = {}
    for cell in different:
        for name, part in cell.name_cells().items():
            parts.setdefault(name, []).append(part)
    for name, alike in parts.items():
        _share(alike, f"{place}.{name}")


def _describe(cell: nn.Cell) -> str | None:
    """Everything that the graph of `cell` follows from; None where two cells never share one."""
    if isinstance(cell, RandomMask):
        return f"{type(cell).__name__} that drops nothing" if cell.rate == 0.0 else None
    own = {name: value for name, value in vars(cell).items() if name not in _OF_EVERY_CELL and name[0] != "_"}
    described = [type(cell).__module__, type(cell).__qualname__, cell.training, sorted(cell.get_flags().items())]
    described += [(p.name.rpartition(".")[2], p.shape, p.dtype, p.requires_grad) for p in cell.get_parameters(False)]
    for name, value in sorted(own.items()):
        if isinstance(value, Tensor):
            value = hashlib.sha256(value.asnumpy().tobytes()).hexdigest(), value.shape, value.dtype
        elif not _is_plain(value):
            return None
        described.append((name, value))
    for name, part in cell.name_cells().items():
        if (described_part := _describe(part)) is None:
            return None
        described.append((name, described_part))
    return repr(described)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str | Primitive)
