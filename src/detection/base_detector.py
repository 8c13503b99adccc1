"""What detectors of every kind share: the way from images to maps, and what is done with the heads' outputs."""

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from .anchors import AnchorGrid
from .nms import Detections
from .upsample_neck import upsample_maps


class BaseDetector(nn.Cell):
    """Everything before the heads. Parameter names are the authors' for `backbone.*`, mmdetection's for `neck.*`.

    Args:
        backbone: a `Backbone`.
        upsample: an `UpsampleLevel` for each map, -> strides 4 to 32.
        neck: -> the maps that the heads get.
        anchors: what the heads say something about.
        canvas: (height, width) in pixels; its transpose is taken too.
    """

    def __init__(
        self, backbone: nn.Cell, upsample: nn.CellList, neck: nn.Cell, anchors: AnchorGrid, canvas: tuple[int, int]
    ):
        super().__init__()
        self.backbone, self.upsample, self.neck = backbone, upsample, neck
        self.anchor_grid, self.canvas = anchors, canvas

    def no_weight_decay(self) -> set[str]:
        """See `TrainedNetwork`."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def block_stages(self) -> list[list[nn.Cell]]:
        """See `TrainedNetwork`."""
        return self.backbone.block_stages()

    def maps(self, images):
        """Images (B, 3, H, W) -> maps, the finest first."""
        return self.neck(upsample_maps(self.upsample, self.backbone.canvas_maps(images)))


class CanvasAnchors(nn.Cell):
    """Images -> the anchors of each map (A, 4), as constants of both orientations of a canvas.

    Args:
        grid: the anchors.
        canvas: (height, width) in pixels.
    """

    def __init__(self, grid: AnchorGrid, canvas: tuple[int, int]):
        super().__init__(auto_prefix=False)
        self.canvas = canvas
        self.landscape, self.portrait = (
            tuple(map(Tensor, grid.anchors(grid.grids(sides)))) for sides in (canvas, canvas[::-1])
        )

    def construct(self, images):
        if images.shape[2] == self.canvas[0] and images.shape[3] == self.canvas[1]:
            return self.landscape
        return self.portrait


class BasePredictions(nn.Cell):
    """Base of what makes detections of images, their shapes and scales.

    Args:
        net: a `BaseDetector`.
        score_threshold: candidates have more.
        candidates: pairs of a class and an anchor, of each map at most, or a region, of an image at most.
        iou_threshold: of the suppression.
        max_per_image: detections.
    """

    def __init__(
        self,
        net: nn.Cell,
        score_threshold: float = 0.05,
        candidates: int = 1000,
        iou_threshold: float = 0.5,
        max_per_image: int = 100,
    ):
        super().__init__(auto_prefix=False)
        self.net, self.num_classes = net, net.num_classes
        self.score_threshold, self.candidates = score_threshold, candidates
        self.anchors = CanvasAnchors(net.anchor_grid, net.canvas)
        self.choose = Detections(max_per_image, iou_threshold)


def finite_images(values):
    """Whether all of each image's are, of arrays (B, ...): (B,) bool."""
    found = ()
    for x in values:
        found = found + (ops.isfinite(x.astype(mstype.float32)).reshape(x.shape[0], -1).all(axis=1),)
    return ops.stack(found).all(axis=0)
