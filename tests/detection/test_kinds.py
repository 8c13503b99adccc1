"""What each kind of detector is trained on and gives."""

import numpy as np
import pytest

from src.detection.anchor_targets import AnchorTargets
from src.detection.catalogue import LABEL_OF_KIND, create_detector, list_detectors
from src.detection.kinds import create_losses, create_predictions, create_targets, has_masks, loss_names_of
from src.detection.region_targets import RegionTargets
from src.detection.retinanet import RetinaNetLosses, RetinaNetPredictions
from src.detection.two_stage import TwoStageLosses, TwoStagePredictions
from src.errors import UserError
from tests.tiny_detectors import TINY_BACKBONE

CANVAS = (64, 96)


def tiny(kind):
    small = {} if kind == "retinanet" else {"fc_channels": 8, "mask_convs": 1, "proposals": 10, "regions": 8}
    return create_detector(f"{kind}_ptnt_ti", 3, CANVAS, 64, fpn_channels=8, backbone=TINY_BACKBONE, **small)


@pytest.mark.parametrize("name", list_detectors())
def test_each_detector_has_losses_and_targets(name):
    kind = name.split("_ptnt_")[0]
    assert has_masks(name) == (kind != "retinanet")
    assert len(loss_names_of(name)) == {"retinanet": 2, "mask_rcnn": 5, "cascade_mask_rcnn": 11}[kind]
    targets = create_targets(name, {"anchor_scale": 4.0}, 3, 5)
    assert isinstance(targets, AnchorTargets if kind == "retinanet" else RegionTargets)
    assert targets.needs_masks == has_masks(name)
    box, mask = np.array([[4, 4, 40, 40]], np.float32), np.ones((1, *CANVAS), np.uint8)
    given = targets(box, np.zeros(1, np.int32), CANVAS, CANVAS, mask)
    shapes = {key: (values.shape, values.dtype.type) for key, values in given.items()}
    assert shapes == targets.fields(CANVAS)
    if kind != "retinanet":
        assert targets.allowed_border == (0 if kind == "cascade_mask_rcnn" else -1)


@pytest.mark.parametrize("kind", LABEL_OF_KIND)
def test_what_is_made_for_a_network(kind):
    net = tiny(kind)
    losses, predictions = create_losses(net), create_predictions(net, max_per_image=7)
    of_retinanet = kind == "retinanet"
    assert isinstance(losses, RetinaNetLosses if of_retinanet else TwoStageLosses)
    assert isinstance(predictions, RetinaNetPredictions if of_retinanet else TwoStagePredictions)
    assert predictions.choose.max_per_image == 7
    assert list(losses.get_parameters()) and {p.name for p in losses.get_parameters()} == {
        p.name for p in net.get_parameters()
    }


def test_unknown_names():
    for function in (has_masks, loss_names_of, lambda name: create_targets(name, {}, 3, 5)):
        with pytest.raises(UserError, match="unknown detector 'mask_rcnn'; did you mean mask_rcnn_ptnt_"):
            function("mask_rcnn")
