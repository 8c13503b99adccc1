"""The contract of a network: what everybody who trains, resizes, exports or looks at one asks of it."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import numpy as np
from mindspore import Tensor, nn

from .variant import FeatureInfo


class TrainedNetwork(Protocol):
    """What training asks of any network."""

    def block_stages(self) -> list[list[nn.Cell]]:
        """The blocks that repeat; those of a list get inputs of the same shapes. For recomputation, shared graphs."""
        ...

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not decayed, besides those of one dimension."""
        ...


class Network(TrainedNetwork, Protocol):
    """A classifier of images. `construct(images)` is `forward_head(forward_features(images))`.

    Attributes:
        uses_convolution: whether the device is to be set up for convolutions.
        uses_batch_norm: whether its constructor takes `batch_norm`.
        image_size: (height, width) in pixels.
        num_classes: K; 0 for features.
        feature_info: channels and stride of each map that `forward_maps` can give.
    """

    uses_convolution: ClassVar[bool]
    uses_batch_norm: ClassVar[bool]
    image_size: tuple[int, int]
    num_classes: int
    feature_info: tuple[FeatureInfo, ...]

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> tokens after the final norm, unpooled."""
        ...

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens -> logits (B, K), or what goes into the head (B, D)."""
        ...

    def forward_maps(self, images: Tensor, stages: Sequence[int]) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the maps of some stages, each (B, channels, H / stride, W / stride)."""
        ...

    def table_resizers(self, image_size: tuple[int, int]) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """Name of each table whose size follows the image's -> what makes one of this network's size of it."""
        ...
