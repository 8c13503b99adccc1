"""PyramidTNT as the backbone of a detector: maps of any canvas from the weights of one image size."""

from typing import Any

from mindspore import nn, ops

from ..models.pyramid_tnt import PyramidTNT


class Backbone(PyramidTNT):
    """Images (B, 3, H, W) of a canvas or its transpose -> the maps of the four stages, strides 8 to 64.

    Its parameters, and their names, are those of a `PyramidTNT` without head.

    Args:
        canvas: (height, width) in pixels.
        final_norm: normalise the last map, as the classifier does before its head.
        arguments: see `PyramidTNT`.
    """

    def __init__(self, canvas: tuple[int, int], final_norm: bool = False, **arguments: Any):
        super().__init__(image_size=canvas, num_classes=0, **arguments)
        self.final_norm = final_norm
        self.portrait = None
        if canvas[0] != canvas[1]:
            table_size = arguments.get("table_size") or canvas
            turned = PyramidTNT(canvas[::-1], num_classes=0, **{**arguments, "table_size": table_size})
            share_parameters(self, turned)
            self.portrait = turned
            for name, parameter in self.parameters_and_names():
                parameter.name = name  # not what it is called in `portrait`

    def block_stages(self) -> list[list[nn.Cell]]:
        more = [] if self.portrait is None else self.portrait.block_stages()
        return [*super().block_stages(), *more]

    def canvas_maps(self, images):
        """The four maps, (B, C, H / stride, W / stride) each."""
        if self.portrait is None or (images.shape[2], images.shape[3]) == self.image_size:
            sentences, grids = self.forward_stages(images, 4), self.grid_sizes
        else:
            sentences, grids = self.portrait.forward_stages(images, 4), self.portrait.grid_sizes
        maps = ()
        for i in range(4):
            tokens = self.norm(sentences[i]) if i == 3 and self.final_norm else sentences[i]
            x = ops.transpose(tokens, (0, 2, 1))  # B D N
            maps = maps + (x.reshape(-1, x.shape[1], *grids[i]),)
        return maps


def share_parameters(source: nn.Cell, target: nn.Cell) -> None:
    """Gives `target` the parameters of `source`, a network of the same parts."""
    own = {name: cell for name, cell in source.cells_and_names() if cell is not target}
    for name, cell in target.cells_and_names():
        for attribute in cell._params:
            cell._params[attribute] = own[name]._params[attribute]
