"""Predictions of RetinaNet: what is not finite is told, wherever in the network it comes from."""

import numpy as np
from mindspore import Tensor

from src.detection import create_detector
from src.detection.retinanet import RetinaNetPredictions
from tests.tiny_detectors import TINY_BACKBONE


def test_values_that_are_not_finite_are_told():
    """Those of the backbone too, which a ReLU of the head can turn into zeros on the way."""
    net = create_detector(
        "retinanet_ptnt_ti", 3, (64, 64), table_size=64, fpn_channels=4, stacked_convs=1, backbone=TINY_BACKBONE
    )
    predictions = RetinaNetPredictions(net, candidates=20, max_per_image=5).set_train(False)
    images = Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    sizes, scales = Tensor(np.full((1, 2), 64, np.float32)), Tensor(np.ones((1, 2), np.float32))

    def count():
        return int(predictions(images, sizes, scales)[3].asnumpy()[0])

    assert count() >= 0
    for name in ("bbox_head.retina_reg.weight", "backbone.stages.3.blocks.0.outer_mlp.fc2.weight"):
        weight = dict(net.parameters_and_names())[name]
        before = weight.asnumpy().copy()
        weight.set_data(Tensor(np.full(before.shape, np.nan, np.float32)))
        assert count() == -1, name
        weight.set_data(Tensor(before))
    assert count() >= 0
