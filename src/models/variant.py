"""What a published variant is: a network class, its sizes, and how its input is prepared."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mindspore import nn


class FeatureInfo(NamedTuple):
    """One map that a network can give: its channels, and the pixels between two of its positions."""

    channels: int
    stride: int


@dataclass(frozen=True)
class Variant:
    """A row of a paper's table.

    Attributes:
        network: class of the network.
        image_size: side in pixels that the variant is published for.
        mean, std: normalisation of each channel, for pixel values in [0, 1].
        structure: the constructor arguments that make this variant.
        crop_pct: in evaluation, side of the centre crop as a share of the resized short side.
        published: accuracy on ImageNet-1k in percent as the authors publish it, {"top1": ..., "top5": ...}.
    """

    network: type[nn.Cell]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    structure: dict[str, Any]
    crop_pct: float = 0.9
    published: dict[str, float] | None = field(default=None)
