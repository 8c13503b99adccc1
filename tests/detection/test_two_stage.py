"""Losses and predictions of detectors with two stages: what is not there never counts, what is not finite is told.

Their values are those of the cases in tests/reference/detection; here the network before the heads is a sketch.
"""

from functools import cache

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.detection.anchors import AnchorGrid
from src.detection.matcher import Matcher
from src.detection.region_targets import RegionTargets
from src.detection.roi_head import CASCADE, ONE_STAGE, RoIHead
from src.detection.rpn_head import RPNHead
from src.detection.two_stage import TwoStageLosses, TwoStagePredictions, TwoStageSettings, loss_names

pytestmark = pytest.mark.usefixtures("equal_graphs")

CANVAS, STRIDES, CLASSES = (64, 128), (4, 8, 16, 32, 64), 3
GRID = AnchorGrid(STRIDES, (4.0,))
SETTINGS = TwoStageSettings(candidates=30, proposals=24, test_proposals=24, regions=80)


class Sketch(nn.Cell):
    """A detector whose maps are one convolution of every n-th pixel."""

    def __init__(self, stages=ONE_STAGE):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1, has_bias=True)
        self.rpn_head = RPNHead(4, 4)
        self.roi_head = RoIHead(stages, CLASSES, 4, 8, 1, len(stages) > 1, window=36)
        self.anchor_grid, self.canvas, self.settings, self.num_classes = GRID, CANVAS, SETTINGS, CLASSES
        rng = np.random.default_rng(0)
        for parameter in self.get_parameters():
            values = rng.normal(0, 0.3 / max(1, len(parameter.shape) - 2), parameter.shape).astype(np.float32)
            parameter.set_data(Tensor(values))

    def construct(self, images):
        maps = tuple(self.body(images[:, :, ::stride, ::stride]) for stride in STRIDES)
        return maps, *self.rpn_head(maps)


class Sum(nn.Cell):
    def __init__(self, losses):
        super().__init__(auto_prefix=False)
        self.losses = losses

    def construct(self, *batch):
        losses = self.losses(*batch)
        return losses.sum(), losses


class Gradients(nn.Cell):
    """Beside the losses; as a Cell it sees weights that were set."""

    def __init__(self, losses, weights):
        super().__init__(auto_prefix=False)
        self.function = ms.value_and_grad(Sum(losses), None, weights, has_aux=True)

    def construct(self, *batch):
        return self.function(*batch)


class Compiled:
    """A network, its losses with gradients and its predictions, each compiled once for all tests."""

    def __init__(self, stages):
        self.net = Sketch(stages)
        self.names = loss_names(len(stages))
        self.parameters = {p.name: p for p in self.net.trainable_params()}
        self.start = {name: p.asnumpy().copy() for name, p in self.parameters.items()}
        weights = ms.ParameterTuple(list(self.parameters.values()))
        self.gradients = Gradients(TwoStageLosses(self.net), weights)
        self.predictions = TwoStagePredictions(self.net, max_per_image=10)

    def set(self, **values):
        """Weights as they were at the start, but for parameters whose names begin with the given ones, with __ for
        points."""
        values = {name.replace("__", "."): value for name, value in values.items()}
        for name, p in self.parameters.items():
            given = [value for start, value in values.items() if name.startswith(start)]
            p.set_data(Tensor(np.full_like(self.start[name], given[0]) if given else self.start[name]))
        return self

    def train(self, counts, max_objects=4):
        """Losses and gradients by name, of a batch of images with so many objects."""
        given = [Tensor(draw_images(len(counts))), *truth_of(counts, max_objects)]
        (_, found), gradients = self.gradients(*given)
        gradients = {name: g.asnumpy() for name, g in zip(self.parameters, gradients, strict=True)}
        return dict(zip(self.names, found.asnumpy().tolist(), strict=True)), gradients

    def predict(self, images):
        """Of images that were half as large."""
        size, scales = np.array([images.shape[2:]] * len(images)), np.full((len(images), 2), 2)
        return [x.asnumpy() for x in self.predictions(*(Tensor(x.astype(np.float32)) for x in (images, size, scales)))]


compiled = cache(Compiled)
SHORT_CASCADE = CASCADE[:2]  # the third head does what the second does
each = pytest.mark.parametrize("stages", [ONE_STAGE, SHORT_CASCADE], ids=["mask_rcnn", "cascade"])
MOVED_AWAY = {"rpn_head__rpn_reg__weight": 0, "rpn_head__rpn_reg__bias": 50}  # all anchors, out of the image


def draw_images(number=2, canvas=CANVAS):
    return np.random.default_rng(1).standard_normal((number, 3, *canvas)).astype(np.float32)


def truth_of(counts, max_objects):
    """Targets of images with the first so many of three objects."""
    encode = RegionTargets(GRID, Matcher(0.7, 0.3, 0.3), max_objects, num_samples=32)
    boxes = np.array([[4, 6, 40, 44], [60, 10, 90, 60], [70, 8, 120, 50]], np.float32)
    masks = np.zeros((3, *CANVAS), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0 : (x0 + x1) // 2] = 1
    targets = [encode(boxes[:n], np.arange(n), CANVAS, CANVAS, masks[:n], np.random.default_rng(n)) for n in counts]
    return [Tensor(np.stack([target[name] for target in targets])) for name in targets[0]]


def assert_finite(losses, gradients):
    assert all(np.isfinite(value) for value in losses.values()), losses
    assert [name for name, gradient in gradients.items() if not np.isfinite(gradient).all()] == []


def test_names_of_losses():
    assert loss_names(1) == ("rpn_cls", "rpn_bbox", "cls", "bbox", "mask")
    assert loss_names(3)[:5] == ("rpn_cls", "rpn_bbox", "s0_cls", "s0_bbox", "s0_mask") and len(loss_names(3)) == 11


@each
@pytest.mark.parametrize("counts", [pytest.param((3, 0), marks=pytest.mark.slow), (0, 0)])
def test_images_without_objects(stages, counts):
    losses, gradients = compiled(stages).set().train(counts)
    assert_finite(losses, gradients)
    without = {name for name, value in losses.items() if value == 0}
    assert without == (set() if sum(counts) else {name for name in losses if name.endswith(("bbox", "mask"))})
    of_masks = [gradient for name, gradient in gradients.items() if "mask_head" in name]
    assert any(gradient.any() for gradient in of_masks) == (sum(counts) > 0)


@each
@pytest.mark.parametrize("counts", [(3, 0), (0, 0)])
def test_no_anchor_gives_a_proposal(stages, counts):
    """The heads learn from the objects' own boxes, or from nothing."""
    losses, gradients = compiled(stages).set(**MOVED_AWAY).train(counts)
    assert_finite(losses, gradients)
    learning = {name for name, value in losses.items() if value > 0}
    of_heads = {name for name in losses if name.endswith(("cls", "mask")) and name != "rpn_cls"}
    assert learning & of_heads == (of_heads if sum(counts) else set())


@pytest.mark.slow
def test_more_rows_that_are_no_objects_change_nothing():
    """Where all regions are drawn; otherwise others are, because a region's place in the table decides."""
    one = compiled(ONE_STAGE).set()
    few, gradients = one.train((3, 2))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    many, others = one.train((3, 2), 9)
    assert many == pytest.approx(few, rel=1e-5)
    for name, gradient in gradients.items():
        bound = 1e-5 * max(1, np.abs(gradient).max())
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=bound, err_msg=name)


NOT_FINITE = ["rpn_head__rpn_cls", "rpn_head__rpn_reg", "roi_head__bbox_head", "roi_head__mask_head"]


@each
def test_weights_that_are_not_finite_give_losses_that_are_not(stages):
    for name in NOT_FINITE:
        losses, _ = compiled(stages).set(**{name: np.nan}).train((3, 0))
        assert not np.isfinite(sum(losses.values())), name


@each
def test_outputs_that_are_not_finite_are_no_detections(stages):
    for name in ["body", *NOT_FINITE]:
        for value in (np.nan, np.inf):
            found = compiled(stages).set(**{name: value}).predict(draw_images())
            assert found[3].tolist() == [-1, -1], (name, value)


@each
def test_an_image_that_is_not_finite_concerns_no_other(stages):
    one, images = compiled(stages).set(), draw_images()
    expected = one.predict(images)
    assert expected[3].min() > 0
    images[0] = np.nan
    found = one.predict(images)
    assert found[3][0] == -1
    for x, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(x[1], other[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("canvas", [CANVAS, pytest.param(CANVAS[::-1], marks=pytest.mark.slow)])
def test_predictions(canvas):
    """Boxes in pixels of the images as they were, on both canvases; behind the last there is nothing."""
    boxes, scores, labels, counts, masks = compiled(ONE_STAGE).set().predict(draw_images(canvas=canvas))
    assert boxes.shape == (2, 10, 4) and masks.shape == (2, 10, 28, 28) and 0 < counts.min() <= counts.max() <= 10
    height, width = canvas
    for image, count in enumerate(counts):
        own = boxes[image, :count]
        assert (own >= 0).all() and (own <= np.array([width, height] * 2) / 2).all() and own.max() > 16
        assert (np.diff(scores[image, :count]) <= 0).all() and (scores[image, :count] > 0.05).all()
        assert set(labels[image, :count]) <= set(range(CLASSES))
        assert not boxes[image, count:].any() and (labels[image, count:] == -1).all()
        assert (masks[image] > 0).all() and (masks[image] < 1).all()


@each
def test_no_region_is_there(stages):
    boxes, _, labels, counts, masks = compiled(stages).set(**MOVED_AWAY).predict(draw_images())
    assert counts.tolist() == [0, 0] and not boxes.any() and (labels == -1).all() and np.isfinite(masks).all()
