"""Mask R-CNN and its cascade as ONNX: whole networks against our own, parts against reference cases of mmdetection."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import onnxruntime
import pytest
from mindspore import Tensor

from benchmarks.cases.case import Case
from benchmarks.cases.parts import anchor_grid, choice, compare_detections, map_rows
from src.detection import create_detector
from src.detection.decode_boxes import DecodeBoxes
from src.detection.nms import Detections
from src.detection.roi_align import RoIAlign
from src.detection.roi_head import CASCADE, ONE_STAGE
from src.detection.rpn_head import Proposals
from src.detection.two_stage import TwoStagePredictions
from src.devices.device import set_up_device
from src.export.onnx_cells import write_cell
from src.export.onnx_graph import Graph, Value
from src.export.onnx_two_stage import build_two_stage_onnx, choose, choose_of_regions, propose
from tests.export.test_two_stage_file import TINY

CASES = Path(__file__).resolve().parents[1] / "reference/detection"
CANVAS = (64, 96)
SHAPES, SCALES = np.float32([[60, 50], [64, 64]]), np.float32([[0.5, 0.7], [1, 2]])


@pytest.fixture(autouse=True)
def pynative():
    ms.set_context(mode=ms.PYNATIVE_MODE)


def create(kind: str, **arguments):
    """A tiny network whose scores, boxes and masks are not all alike."""
    set_up_device("CPU", 1, True)
    arguments = {**TINY, "num_classes": 3, "canvas": CANVAS, **arguments}
    net = create_detector(f"{kind}_ptnt_ti", **arguments).set_train(False)
    rng, head = np.random.default_rng(0), net.roi_head
    boxes, masks = (list(x) if head.is_cascade else [x] for x in (head.bbox_head, head.mask_head))
    cells = [(own, deviation) for box in boxes for own, deviation in ((box.fc_cls, 1.0), (box.fc_reg, 0.3))]
    for cell, deviation in [*cells, *((mask.conv_logits, 4.0) for mask in masks)]:
        cell.weight.set_data(Tensor(rng.normal(0, deviation, cell.weight.shape).astype(np.float32)))
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing to compile
    return net


def session_of(model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run_nodes(write, *arrays: np.ndarray) -> list[np.ndarray]:
    """What the nodes that `write` makes of inputs compute, as float32; sides behind the first are fixed."""
    graph = Graph(np.float32, {})
    inputs = [graph.input(f"x{i}", ("batch", *x.shape[1:]), x.dtype.type) for i, x in enumerate(arrays)]
    outputs = write(*inputs)
    for i, value in enumerate([outputs] if isinstance(outputs, Value) else outputs):
        graph.output(f"y{i}", value, "rows" if value.shape[0] == -1 else value.shape[0])
    return session_of(graph.to_model("nodes", {})).run(None, {f"x{i}": x for i, x in enumerate(arrays)})


def draw_images(number: int, canvas: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((number, 3, *canvas)).astype(np.float32)


@pytest.mark.parametrize(
    "kind,canvas,numbers",
    [
        ("mask_rcnn", CANVAS, {}),
        ("cascade_mask_rcnn", CANVAS[::-1], {"max_per_image": 7, "candidates": 40, "iou_threshold": 0.3}),
    ],
)
def test_whole_networks(kind, canvas, numbers):
    """For one image and for two; boxes to a thousandth of a pixel."""
    predictions = TwoStagePredictions(create(kind), **numbers).set_train(False)
    session = session_of(build_two_stage_onnx(predictions, canvas))
    inputs = {"images": draw_images(2, canvas), "shapes": SHAPES, "scales": SCALES}
    expected = [x.asnumpy() for x in predictions(*map(Tensor, inputs.values()))]
    masks = np.concatenate([own[:count] for own, count in zip(expected[4], expected[3], strict=True)])
    assert (masks < 0.2).any() and (masks > 0.8).any()
    for batch in (1, 2):
        got = session.run(None, {name: x[:batch] for name, x in inputs.items()})
        assert expected[3][:batch].min() > 3
        for mine, theirs, allowed in zip(got, expected, (1e-3, 1e-5, 0, 0, 2e-5), strict=True):
            np.testing.assert_allclose(mine, theirs[:batch], rtol=0, atol=allowed)
            assert mine.dtype == theirs.dtype


def test_a_fixed_batch_size():
    predictions = TwoStagePredictions(create("mask_rcnn")).set_train(False)
    any_size, two = (session_of(build_two_stage_onnx(predictions, CANVAS, size)) for size in (None, 2))
    for session, size in ((any_size, "batch"), (two, 2)):
        assert [own.shape[0] for own in (*session.get_inputs(), *session.get_outputs())] == [size] * 8
    inputs = {"images": draw_images(2, CANVAS), "shapes": SHAPES, "scales": SCALES}
    for one, other in zip(any_size.run(None, inputs), two.run(None, inputs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_not_finite_is_told_of_its_image_alone():
    session = session_of(build_two_stage_onnx(TwoStagePredictions(create("mask_rcnn")).set_train(False), CANVAS))
    images = draw_images(2, CANVAS)
    images[1, 0, 5, 5] = np.nan
    counts = session.run(["counts"], {"images": images, "shapes": SHAPES, "scales": SCALES})[0]
    assert (counts == -1).tolist() == [False, True]


@pytest.mark.parametrize("name", ["roi_align_7_s0", "roi_align_7_s2", "roi_align_14_s2", "roi_extractor_7"])
def test_features_of_regions_are_those_of_the_reference(name):
    """Tiny regions, those without area and those beyond the image included; maps are of one image at a time."""
    case = Case.read(CASES / f"{name}.json")
    settings, rois = case.meta["settings"], case.arrays["rois"]
    layer, strides = settings.get("roi_layer", settings), settings.get("featmap_strides")
    maps = [x for key, x in case.arrays.items() if key.startswith("features")]
    strides = strides or [1 / settings["spatial_scale"]]
    window = int(2 * np.abs(rois[:, 1:]).max() / strides[0]) + 3
    align = RoIAlign(layer["output_size"], strides, window, layer["sampling_ratio"])
    for image in range(2):
        own = rois[:, 0] == image
        arrays = rois[own, 1:][None], *(x[image : image + 1] for x in maps)
        (got,) = run_nodes(lambda *values: write_cell(align, *values), *arrays)
        np.testing.assert_allclose(got, case.arrays["output"][own], rtol=0, atol=1e-4)


def test_features_of_regions_are_those_of_the_network():
    """Also where a region is larger than the window, or is no place in a map, and of several images at once."""
    rng, sides = np.random.default_rng(0), ((24, 40), (12, 20))
    maps = [rng.standard_normal((2, 2, *side)).astype(np.float32) for side in sides]
    corners = rng.uniform(-20, 140, (2, 40, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(-3, 160, (2, 40, 2)).astype(np.float32)], axis=2)
    boxes[0, 0], boxes[1, 3, 2], boxes[1, 4, 1], boxes[0, 7] = np.nan, np.inf, -np.inf, [-1e30, 5, 1e30, 7]
    align = RoIAlign(7, (4, 8), window=12)
    assert (boxes[..., 2:] - boxes[..., :2] > 4 * 10).any() and len(np.unique(align.levels(Tensor(boxes[0])))) == 2
    (got,) = run_nodes(lambda *values: write_cell(align, *values), boxes, *maps)
    images = Tensor(np.repeat(np.arange(2, dtype=np.int32), 40))
    expected = align(tuple(map(Tensor, maps)), images, Tensor(boxes.reshape(-1, 4))).asnumpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


def test_proposals_are_those_of_the_reference():
    case = Case.read(CASES / "predict_rpn.json")
    grid, test, levels = anchor_grid(case.meta["settings"]["anchor_generator"]), case.meta["test_cfg"], range(5)
    scores = [map_rows(case.arrays[f"cls_score/{i}"], 1)[:, :, 0] for i in levels]
    deltas = [map_rows(case.arrays[f"bbox_pred/{i}"], 4) for i in levels]
    anchors = grid.anchors([case.arrays[f"cls_score/{i}"].shape[2:] for i in levels])
    cell = Proposals(DecodeBoxes(), test["nms_pre"], test["max_per_img"], test["nms"]["iou_threshold"])
    limits = limits_of(case)
    boxes, valid = run_nodes(
        lambda x, *heads: propose(cell, heads[:5], heads[5:], anchors, x), limits, *scores, *deltas
    )
    assert boxes.shape == (2, 40, 4)
    for image in range(2):
        expected = case.arrays[f"proposals/{image}/bboxes"]
        np.testing.assert_allclose(boxes[image][valid[image] > 0], expected, rtol=0, atol=1e-2)


def test_fewer_anchors_than_proposals():
    """What is missing is marked."""
    rng, cell = np.random.default_rng(0), Proposals(DecodeBoxes(), 10, 30)
    anchors = [
        np.tile(np.float32([0, 0, 9, 9]), (n, 1)) + 20 * np.arange(n, dtype=np.float32)[:, None] for n in (12, 5)
    ]
    logits, deltas = ([rng.standard_normal((2, n, *more)).astype(np.float32) for n in (12, 5)] for more in ((), (4,)))
    shapes = np.float32([[100, 200], [250, 250]])
    limits = np.tile(shapes[:, ::-1], 2).reshape(2, 1, 4)
    boxes, valid = run_nodes(
        lambda x, *heads: propose(cell, heads[:2], heads[2:], anchors, x), limits, *logits, *deltas
    )
    inputs = [tuple(map(Tensor, values)) for values in (logits, deltas, anchors)]
    expected = [x.asnumpy() for x in cell(*inputs, Tensor(shapes))]
    np.testing.assert_array_equal(valid > 0, expected[2])
    np.testing.assert_allclose(boxes, expected[0], rtol=0, atol=1e-4)
    assert boxes.shape == (2, 30, 4) and not valid[:, 15:].any() and valid[1, :5].all() and not valid[0, :15].all()


def limits_of(case: Case) -> np.ndarray:
    """Width, height, width, height of each image, (B, 1, 4)."""
    return np.float32([[own["img_shape"][::-1] * 2] for own in case.meta["images"]])


@pytest.mark.parametrize("name,stages", [("predict_roi_head", ONE_STAGE), ("predict_cascade", CASCADE)])
def test_detections_are_those_of_the_reference(name, stages):
    case, last = Case.read(CASES / f"{name}.json"), len(stages) - 1
    logits = np.mean([case.arrays[f"cls_score/{i}"] for i in range(last + 1)], axis=0)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    deltas = case.arrays[f"bbox_pred/{last}"]
    numbers = choice(case.meta["test_cfg"])
    cell = SimpleNamespace(
        score_threshold=numbers["score_threshold"],
        candidates=10**6,
        num_stages=last + 1,
        choose=Detections(numbers["max_per_image"], numbers["iou_threshold"]),
        net=SimpleNamespace(roi_head=SimpleNamespace(decoders=[DecodeBoxes(stage.stds) for stage in stages])),
    )
    found = run_nodes(
        lambda *values: choose_of_regions(cell, *values),
        scores[:, :-1].reshape(2, 24, -1),
        case.arrays[f"rois/{last}"][:, 1:].reshape(2, 24, 4),
        deltas.reshape(2, 24, -1, 4),
        np.ones((2, 24), bool),
        limits_of(case),
    )
    found[2:] = [x.astype(np.int32) for x in found[2:]]
    rows = list(compare_detections("network_scale", tuple(map(Tensor, found)), case))
    assert len(rows) == 6 and all(row.holds for row in rows), rows


@pytest.mark.parametrize("seed", range(3))
def test_of_equal_scores_the_lower_place_comes_first(seed):
    """As in the network, where boxes overlap, some do not count, and few of them stay."""
    rng, n = np.random.default_rng(seed), 60
    corners = rng.integers(0, 20, (2, n, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 20, (2, n, 2))], axis=2).astype(np.float32)
    scores, labels = np.round(rng.random((2, n)), 1).astype(np.float32), rng.integers(0, 3, (2, n))
    valid = rng.random((2, n)) < 0.8
    for most in (20, 100):
        cell = Detections(most, 0.5)
        got = run_nodes(partial(choose, cell), boxes, scores, labels, valid)
        expected = [x.asnumpy() for x in cell(*map(Tensor, (boxes, scores, labels.astype(np.int32), valid)))]
        assert (expected[3] > 5).all() and (expected[3] <= most).all()
        for mine, theirs in zip(got, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
