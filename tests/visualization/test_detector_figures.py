"""Pictures of a detector with two stages: what its first stage says, and which anchors are to find the objects."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from matplotlib.figure import Figure
from mindspore import Tensor, ops

import visualize as visualize_script
from src.data.scenes import make_scenes
from src.detection import create_detector
from src.detection.boxes import pairwise_iou
from src.devices.device import set_up_device
from src.visualization import detector_figures
from src.weights.checkpoint import save_checkpoint
from src.weights.detector_card import DetectorCard
from tests.tiny_detectors import TINY_BACKBONE

STRUCTURE = {
    "table_size": 64,
    "anchor_scale": 4.0,
    "fpn_channels": 8,
    "fc_channels": 4,
    "mask_convs": 0,
    "proposals": 4,
    "backbone": TINY_BACKBONE,
}
CONFIG = "model: {name: cascade_mask_rcnn_ptnt_ti}\ndata: {source: coco, root: scenes, workers: 0}\n"


@pytest.fixture
def drawn(monkeypatch):
    """The arguments with which scores and anchors were drawn for two scenes, and the network."""
    make_scenes("scenes", size=96, num_train=1, num_val=2, seed=1)
    Path("tiny.yaml").write_text(CONFIG)
    set_up_device("CPU", 1, True)
    classes = [str(number) for number in range(10)]
    ids = list(range(1, 11))
    card = DetectorCard("cascade_mask_rcnn_ptnt_ti", STRUCTURE, classes, ids, (96, 96), 96, 96, (0.5,) * 3, (0.5,) * 3)
    net = create_detector(card.model, **card.detector_arguments()).set_train(False)
    weight = net.rpn_head.rpn_cls.weight
    weight.set_data(Tensor(np.random.default_rng(0).normal(0, 1, weight.shape).astype(np.float32)))
    save_checkpoint("net.ckpt", net.get_parameters(), card)
    calls = {"draw_scores": [], "draw_anchors": []}
    for name, found in calls.items():
        draw = getattr(detector_figures, name)

        def noted(*arguments, draw=draw, found=found) -> Figure:
            found.append(arguments)
            return draw(*arguments)

        monkeypatch.setattr(detector_figures, name, noted)
    assert visualize_script.main(["--config", "tiny.yaml", "--checkpoint", "net.ckpt", "--folder", "pictures"]) == 0
    return calls["draw_scores"], calls["draw_anchors"], net


def test_first_stage(drawn):
    of_scores, of_anchors, net = drawn
    found = sorted(str(path.relative_to("pictures")) for path in Path("pictures").rglob("*.png"))
    assert found == [f"{n + 1}_{n:06d}/{kind}.png" for n in range(2) for kind in ("anchors", "scores")]
    maps, pixels, canvas, title = of_scores[0]
    assert {name: values.shape for name, values in maps.items()} == {
        "P2": (24, 24), "P3": (12, 12), "P4": (6, 6), "P5": (4, 4), "P6": (2, 2)
    }  # fmt: skip
    assert title == "cascade_mask_rcnn_ptnt_ti, 1_000000: any object, as the first stage sees it"
    image = (pixels.astype(np.float32) / 255 - 0.5) / 0.5
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    logits = ops.sigmoid(net(Tensor(image.transpose(2, 0, 1)[None]))[1][0]).asnumpy()[0]
    np.testing.assert_allclose(maps["P2"], logits.reshape(24, 24, 3).max(axis=2), atol=1e-5)
    assert canvas == (96, 96) and np.ptp(maps["P2"]) > 0.01

    for anchors, boxes, _, title in of_anchors:
        assert title.endswith(f": {len(anchors)} anchors, annotated boxes: {len(boxes)}") and len(boxes) > 0
        assert len(anchors) > 0 and anchors.min() >= 0 and anchors.max() <= 96  # a cascade leaves others out
        assert (pairwise_iou(anchors, boxes).max(axis=1) >= 0.3).all()
        inside = [a for level in net.anchor_grid.anchors(net.anchor_grid.grids((96, 96))) for a in level]
        inside = np.array([a for a in inside if a.min() >= 0 and a.max() < 96])
        good = inside[pairwise_iou(inside, boxes).max(axis=1) >= 0.7]
        assert {tuple(a) for a in good} <= {tuple(a) for a in anchors}
