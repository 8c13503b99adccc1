"""A detector that starts from a classifier's weights, or from another detector's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.detection.catalogue import backbone_of, create_detector
from src.errors import UserError
from src.models import create_model
from src.weights.checkpoint import Checkpoint
from src.weights.described_network import describe_variant
from src.weights.detector_card import DetectorCard
from src.weights.detector_start import BACKBONE, OUTPUTS_OF_CLASSES, load_backbone_or_detector
from tests.tiny_detectors import TINY_BACKBONE

MODEL = "retinanet_ptnt_ti"
CARD = DetectorCard(
    MODEL,
    {"table_size": 64, "fpn_channels": 8, "stacked_convs": 1, "backbone": TINY_BACKBONE},
    ["a", "b"],
    [1, 2],
    (64, 96),
    64,
    96,
    (0.5,) * 3,
    (0.5,) * 3,
)
TABLES = ["outer_pos", *(f"stages.{i}.relative_pos" for i in range(4))]


def detector(card=CARD):
    return create_detector(card.model, **card.detector_arguments())


def values(net):
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def spread(net):
    """Values that no other network has by chance."""
    draw = np.random.default_rng(7)
    return {name: draw.normal(size=value.shape).astype(np.float32) for name, value in values(net).items()}


def checkpoint(weights, card):
    return Checkpoint(Path("x.ckpt"), weights, {}, card, {})


def classifier(image_size=64, **changes):
    """Weights and card of a classifier with three labels."""
    card = describe_variant(backbone_of(MODEL), {**TINY_BACKBONE, **changes}, ["x", "y", "z"], image_size)
    return checkpoint(spread(create_model(card.model, **card.network_arguments())), card)


def assert_same(found, expected, names):
    assert names
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def assert_unchanged(net, before, start, message):
    with pytest.raises(UserError, match=message) as found:
        load_backbone_or_detector(net, start, CARD)
    assert "\n" not in str(found.value)
    assert_same(values(net), before, list(before))


def parts(weights):
    """Names of the backbone, of the output of classes, and of the rest."""
    backbone = [name for name in weights if name.startswith(BACKBONE)]
    classes = [name for name in weights if OUTPUTS_OF_CLASSES & set(name.split("."))]
    return backbone, classes, [name for name in weights if name not in backbone + classes]


def test_from_a_classifier():
    net, start = detector(), classifier()
    before = values(net)
    backbone, classes, rest = parts(before)
    lines = load_backbone_or_detector(net, start, CARD)
    found = values(net)
    assert_same(found, {BACKBONE + name: value for name, value in start.weights.items()}, backbone)
    assert_same(found, before, classes + rest)
    assert lines == ["the backbone starts from a classifier's weights"]
    assert {name.removeprefix(BACKBONE) for name in backbone} == {n for n in start.weights if not n.startswith("head.")}


def test_from_a_classifier_of_other_images():
    """Tables of 128 x 128 pixels become those of 64 x 64, the rest is as it was."""
    net, start = detector(), classifier(image_size=128)
    assert start.weights["outer_pos"].shape == (1, 256, 8)
    lines = load_backbone_or_detector(net, start, CARD)
    assert lines[1:] == ["position tables resized from 128x128 to 64x64 pixels"]
    found, resizers = values(net), net.backbone.table_resizers((128, 128))
    assert set(resizers) == set(TABLES)
    for name in TABLES:
        np.testing.assert_array_equal(found[BACKBONE + name], resizers[name](start.weights[name]), err_msg=name)
    assert_same(
        found, {BACKBONE + n: v for n, v in start.weights.items()}, [n for n in parts(found)[0] if "pos" not in n]
    )


def test_from_a_classifier_with_tables_of_another_size():
    """Its tables are of 128 x 128 pixels, whatever its images are."""
    net, start = detector(), classifier(table_size=128)
    assert start.card.image_size == (64, 64) and start.weights["outer_pos"].shape == (1, 256, 8)
    lines = load_backbone_or_detector(net, start, CARD)
    assert lines[1:] == ["position tables resized from 128x128 to 64x64 pixels"]
    found, resizers = values(net), net.backbone.table_resizers((128, 128))
    for name in TABLES:
        np.testing.assert_array_equal(found[BACKBONE + name], resizers[name](start.weights[name]), err_msg=name)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"outer_num_heads": [4, 4, 4, 4]}, r"outer_num_heads: \(4, 4, 4, 4\) and \(2, 2, 2, 2\)"),
        ({"depths": [1, 2, 1, 1]}, "depths: "),
        ({"qkv_bias": True}, "qkv_bias: True and False"),
    ],
)
def test_a_classifier_of_another_structure_is_refused(changes, message):
    net = detector()
    assert_unchanged(
        net, values(net), classifier(**changes), f"x.ckpt holds another network than the backbone .*{message}"
    )


def test_another_family_is_refused():
    card = describe_variant("tnt_s_patch16_224", {}, ["x"])
    net = detector()
    assert_unchanged(net, values(net), checkpoint({}, card), "model: tnt_s_patch16_224 and ptnt_ti_patch16_192")


def test_what_differs_in_training_only_does_not_matter():
    start = classifier(drop_path_rate=0.3, drop_rate=0.1)
    assert load_backbone_or_detector(detector(), start, CARD)


def test_a_file_that_does_not_say_what_it_holds():
    start = replace(classifier(), card=None)
    net = detector()
    load_backbone_or_detector(net, start, CARD)
    assert_same(values(net), {BACKBONE + n: v for n, v in start.weights.items()}, parts(values(net))[0])
    assert_unchanged(net, values(net), replace(classifier(128), card=None), "x.ckpt does not fit this network")
    missing = {name: value for name, value in start.weights.items() if name != "inner_pos"}
    assert_unchanged(net, values(net), replace(start, weights=missing), "1 missing .backbone.inner_pos")


def test_from_a_detector_of_the_same_labels():
    net = detector()
    weights = spread(net)
    assert load_backbone_or_detector(net, checkpoint(weights, replace(CARD, canvas=(96, 96))), CARD) == []
    assert_same(values(net), weights, list(weights))


@pytest.mark.parametrize("labels", [["b", "a"], ["a", "b", "c"]])
def test_from_a_detector_of_other_labels(labels):
    card = replace(CARD, classes=labels, category_ids=list(range(len(labels))))
    weights, net = spread(detector(card)), detector()
    before = values(net)
    lines = load_backbone_or_detector(net, checkpoint(weights, card), CARD)
    found, (backbone, classes, rest) = values(net), parts(before)
    assert lines == ["the outputs of classes start anew: the checkpoint has other labels"]
    assert_same(found, weights, backbone + rest)
    assert_same(found, before, classes)


def test_a_detector_that_does_not_say_its_labels():
    net = detector()
    before, weights = values(net), spread(net)
    load_backbone_or_detector(net, checkpoint(weights, None), CARD)
    backbone, classes, rest = parts(before)
    assert_same(values(net), weights, backbone + rest)
    assert_same(values(net), before, classes)


def test_another_detector_is_refused():
    net = detector()
    weights = spread(net)
    message = "x.ckpt holds retinanet_ptnt_ti with .* make the run's section 'model' that of the checkpoint"
    arguments = {**CARD.arguments, "anchor_scale": 2.0}
    assert_unchanged(net, values(net), checkpoint(weights, replace(CARD, arguments=arguments)), message)
    other = replace(CARD, model="retinanet_ptnt_s")
    assert_unchanged(net, values(net), checkpoint(weights, other), "x.ckpt holds retinanet_ptnt_s with")
