"""Detectors by name, what they refuse, and the sizes of what they say."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src import detection
from src.detection.catalogue import (
    anchor_grid,
    backbone_of,
    check_canvas,
    check_detector_arguments,
    create_detector,
    kind_of,
    list_detectors,
)
from src.detection.two_stage import TwoStageSettings
from src.errors import UserError
from tests.tiny_detectors import TINY_BACKBONE

KINDS = ("retinanet", "mask_rcnn", "cascade_mask_rcnn")
SETTINGS = {"num_classes": 3, "canvas": (96, 160), "table_size": 64, "fpn_channels": 8, "stacked_convs": 1}


def tiny(**arguments):
    return create_detector("retinanet_ptnt_ti", **{**SETTINGS, "backbone": TINY_BACKBONE, **arguments})


def test_names():
    assert list_detectors() == [f"{kind}_ptnt_{size}" for kind in KINDS for size in ("ti", "s", "m", "b")]
    assert list_detectors("*_s") == [f"{kind}_ptnt_s" for kind in KINDS]
    assert list_detectors("mask*_ti") == ["mask_rcnn_ptnt_ti"] and list_detectors("faster*") == []
    for kind in KINDS:
        name = f"{kind}_ptnt_ti"
        assert backbone_of(name) == "ptnt_ti_patch16_192" and kind_of(name) == kind
    assert detection.create_detector is create_detector and detection.list_detectors is list_detectors
    with pytest.raises(AttributeError, match="no attribute 'create_detectr'"):
        detection.create_detectr  # noqa: B018


WRONG = [
    ({"canvas": (60, 128)}, r"canvas: expected height and width, positive multiples of 32, got \(60, 128\)"),
    ({"canvas": (0, 128)}, "canvas: expected"),
    ({"canvas": (64.0, 128)}, "canvas: expected"),
    ({"canvas": (64, 128, 3)}, "canvas: expected"),
    ({"canvas": 64}, "canvas: expected .* got 64"),
    ({"num_classes": 0}, "num_classes: expected a whole number from 1 to 1000000, got 0"),
    ({"num_classes": True}, "num_classes: expected"),
    ({"table_size": "big"}, "table_size: expected"),
    ({"relative_pos": (True, False)}, "relative_pos: expected a list of 4 entries"),
    ({"final_norm": 1}, "final_norm: expected true or false, got 1"),
    ({"batch_norm": "none"}, "batch_norm: expected one of"),
    ({"anchor_scale": float("nan")}, "anchor_scale: expected a number from 0.1 to 64"),
    ({"fpn_channels": 0}, "fpn_channels: expected"),
    ({"stacked_convs": -1}, "stacked_convs: expected"),
    ({"drop_path_rate": 1.5}, "drop_path_rate: expected"),
    ({"backbone": [1]}, "backbone: expected names and values"),
    ({"backbone": {"dephts": [1, 1, 1, 1]}}, "did you mean depths"),
    ({"backbone": {"image_size": 64}}, "backbone: image_size is no argument here, but follows from the detector's"),
    ({"backbone": {"batch_norm": "eval"}}, "backbone: batch_norm is no argument here"),
]


@pytest.mark.parametrize("arguments,message", WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_wrong_arguments_are_named_in_one_line(arguments, message):
    for function in (lambda: tiny(**arguments), lambda: check_detector_arguments("retinanet_ptnt_ti", arguments)):
        with pytest.raises(UserError, match=message) as found:
            function()
        assert "\n" not in str(found.value)


def test_unknown_names():
    with pytest.raises(UserError, match="unknown detector 'retinanet_ptnt_x'; did you mean retinanet_ptnt_"):
        create_detector("retinanet_ptnt_x")
    with pytest.raises(UserError, match="expected the name of a detector, got 5"):
        backbone_of(5)
    with pytest.raises(UserError, match="retinanet_ptnt_ti has no argument 'fpn_chanels'; did you mean fpn_channels"):
        check_detector_arguments("retinanet_ptnt_ti", {"fpn_chanels": 8})

    with pytest.raises(UserError, match="unknown detector 'mask_rcn_ptnt_s'; did you mean mask_rcnn_ptnt_s"):
        kind_of("mask_rcn_ptnt_s")


OF_ONE_KIND = [
    ("retinanet_ptnt_s", {"proposals": 100}),
    ("retinanet_ptnt_s", {"window": 16}),
    ("retinanet_ptnt_s", {"fc_channels": 16}),
    ("retinanet_ptnt_s", {"mask_convs": 1}),
    ("retinanet_ptnt_s", {"regions": 16}),
    ("mask_rcnn_ptnt_s", {"stacked_convs": 1}),
    ("cascade_mask_rcnn_ptnt_s", {"stacked_convs": 1}),
]


@pytest.mark.parametrize("name,arguments", OF_ONE_KIND)
def test_arguments_of_the_other_kind_are_refused(name, arguments):
    (argument,) = arguments
    for function in (create_detector, lambda name, **given: check_detector_arguments(name, given)):
        with pytest.raises(UserError, match=f"^{name} has no argument '{argument}'; ") as found:
            function(name, **arguments)
        assert "\n" not in str(found.value)


WRONG_OF_TWO_STAGES = [
    ({"proposals": 0}, "proposals: expected a whole number from 1 to 3000, got 0"),
    ({"regions": 3}, "regions: expected a whole number from 4 to 4096, got 3"),
    ({"window": 3}, "window: expected a whole number from 4 to 1024, got 3"),
    ({"fc_channels": 1.5}, "fc_channels: expected a whole number"),
    ({"mask_convs": -1}, "mask_convs: expected a whole number"),
]


@pytest.mark.parametrize("arguments,message", WRONG_OF_TWO_STAGES)
def test_wrong_arguments_of_two_stages(arguments, message):
    with pytest.raises(UserError, match=f"^mask_rcnn_ptnt_ti: {message}"):
        check_detector_arguments("mask_rcnn_ptnt_ti", arguments)


def two_stages(kind, **arguments):
    settings = {key: value for key, value in SETTINGS.items() if key != "stacked_convs"}
    given = {"fc_channels": 16, "mask_convs": 2, "proposals": 20, "regions": 16, "window": 16, **arguments}
    return create_detector(f"{kind}_ptnt_ti", **settings, backbone=TINY_BACKBONE, **given)


def test_a_mask_rcnn_has_the_numbers_it_is_given():
    net = two_stages("mask_rcnn")
    assert net.settings == TwoStageSettings(40, 20, 20, 16, 0.0)
    assert net.roi_head.box_features.window == net.roi_head.mask_features.window == 16
    shapes = {p.name.removeprefix("roi_head."): p.shape for p in net.get_parameters() if p.name.startswith("roi_head.")}
    assert shapes["bbox_head.shared_fcs.0.weight"] == (16, 8 * 49) and shapes["bbox_head.fc_reg.weight"] == (12, 16)
    assert shapes["mask_head.convs.1.conv.weight"] == (8, 8, 3, 3) and "mask_head.convs.2.conv.weight" not in shapes
    assert shapes["bbox_head.fc_cls.bias"] == (4,) and shapes["mask_head.conv_logits.bias"] == (3,)


def test_a_cascade_has_three_heads_that_know_one_box_for_all_classes():
    net = two_stages("cascade_mask_rcnn")
    assert net.settings == TwoStageSettings(40, 40, 20, 16, 1 / 9)
    shapes = {p.name: p.shape for p in net.get_parameters()}
    for stage in range(3):
        assert shapes[f"roi_head.bbox_head.{stage}.fc_reg.weight"] == (4, 16)
        assert shapes[f"roi_head.mask_head.{stage}.conv_logits.weight"] == (3, 8, 1, 1)
    assert not [name for name in shapes if ".3." in name and name.startswith("roi_head.")]


def test_anchors_of_two_stages():
    for kind in KINDS[1:]:
        grid = anchor_grid(f"{kind}_ptnt_s")
        assert grid.strides == (4, 8, 16, 32, 64) and grid.num_per_position == 3
        sides = np.sqrt(np.prod(grid.base_anchors(0)[:, 2:] - grid.base_anchors(0)[:, :2], axis=1))
        np.testing.assert_allclose(sides, 32, rtol=1e-5)
    assert anchor_grid("mask_rcnn_ptnt_s", 2).scales == (2.0,)


def test_a_canvas_of_a_list():
    assert check_canvas([64, 128]) == (64, 128)


@pytest.mark.parametrize("canvas", [(96, 160), (160, 96)])
def test_sizes_of_maps_and_outputs_are_those_of_the_anchors(canvas):
    ms.set_context(mode=ms.PYNATIVE_MODE)  # nothing is compiled
    net = tiny().set_train(False)
    images = np.random.default_rng(0).normal(size=(2, 3, *canvas)).astype(np.float32)
    maps = net.maps(Tensor(images))
    logits, deltas = net.bbox_head(maps)
    grids = net.anchor_grid.grids(canvas)
    assert [x.shape for x in maps] == [(2, 8, *grid) for grid in grids]
    counts = [9 * rows * columns for rows, columns in grids]
    assert [len(anchors) for anchors in net.anchor_grid.anchors(grids)] == counts
    assert [x.shape for x in logits] == [(2, count, 3) for count in counts]
    assert [x.shape for x in deltas] == [(2, count, 4) for count in counts]
    probability = 1 / (1 + np.exp(-logits[0].asnumpy()))
    assert probability.mean() == pytest.approx(0.01, rel=0.2)  # at the start every class is unlikely


def test_arguments_reach_the_parts():
    net = tiny(anchor_scale=2.0, stacked_convs=2, batch_norm="frozen", relative_pos=[True, False, True, True])
    assert net.anchor_grid.scales[0] == 2.0 and len(net.bbox_head.cls_convs) == 2
    assert [stage.uses_relative_pos for stage in net.backbone.stages] == [True, False, True, True]
    assert net.backbone.table_size == (64, 64) and net.backbone.image_size == (96, 160)
    assert {"backbone.outer_pos", "backbone.inner_pos"} == net.no_weight_decay()


def test_tables_have_the_published_size_unless_told():
    net = create_detector("retinanet_ptnt_ti", **{**SETTINGS, "table_size": None}, backbone=TINY_BACKBONE)
    assert net.backbone.table_size == (192, 192)


def test_the_default_head_is_mmdetections():
    """Four convolutions a tower, nine anchors: names and shapes of a published RetinaNet's head."""
    net = tiny(num_classes=80, fpn_channels=16, stacked_convs=4)
    shapes = {p.name: p.shape for p in net.get_parameters() if p.name.startswith("bbox_head.")}
    towers = {
        f"bbox_head.{kind}_convs.{i}.conv.{part}"
        for kind in ("cls", "reg")
        for i in range(4)
        for part in ("weight", "bias")
    }
    assert shapes.keys() == towers | {
        f"bbox_head.retina_{kind}.{part}" for kind in ("cls", "reg") for part in ("weight", "bias")
    }
    assert shapes["bbox_head.retina_cls.weight"] == (720, 16, 3, 3) and shapes["bbox_head.retina_reg.bias"] == (36,)
