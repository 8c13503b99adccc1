"""Stage maps of a network as a backbone for detection, segmentation or inspection."""

from collections.abc import Sequence

from mindspore import nn

from ..errors import UserError


class FeatureExtractor(nn.Cell):
    """Maps of chosen stages: images (B, in_channels, H, W) -> a tuple of (B, C, H / stride, W / stride).

    A Cell of its own because in graph mode a network's methods compile only when a Cell's `construct` calls them.
    Parameters keep the names they have in the network.

    Args:
        net: a network of `create_model`; the weights are shared, not copied.
        stages: indices into `net.feature_info`, rising; all when None. TNT: blocks (stride 16); PyramidTNT: the four
            stages (strides 8, 16, 32, 64; a side that merging does not divide rounds up).

    Raises:
        UserError: an index that the network does not have, or a list that does not rise.
    """

    def __init__(self, net: nn.Cell, stages: Sequence[int] | None = None):
        super().__init__(auto_prefix=False)
        count = len(net.feature_info)
        stages = tuple(range(count) if stages is None else stages)
        if not stages or list(stages) != sorted(set(stages)) or stages[0] < 0 or stages[-1] >= count:
            raise UserError(f"stages: expected rising indices from 0 to {count - 1}, got {list(stages)}")
        self.net = net
        self.stages = stages
        self.feature_info = tuple(net.feature_info[i] for i in stages)

    def construct(self, images):
        return self.net.forward_maps(images, self.stages)
