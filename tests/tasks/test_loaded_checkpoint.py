"""A checkpoint in one call: classifiers and detectors, feature maps, refusals; and what the package prints."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

import src
from src import FeatureExtractor, load_checkpoint, load_feature_extractor
from src.detection.catalogue import create_detector
from src.errors import UserError
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network
from tests.prediction.test_predictions import CARD
from tests.weights.test_detector_start import CARD as DETECTOR_CARD

REPOSITORY = Path(__file__).resolve().parents[2]


def same_values(first, second) -> bool:
    values = {p.name: p.asnumpy() for p in first.get_parameters()}
    return all(np.array_equal(values.pop(p.name), p.asnumpy()) for p in second.get_parameters()) and not values


def test_a_classifier(tmp_path):
    net = create_network(CARD)
    save_checkpoint("net.ckpt", net.get_parameters(), CARD)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    loaded, card = load_checkpoint("net.ckpt")
    assert ms.get_context("mode") == ms.GRAPH_MODE
    assert card == CARD and same_values(net, loaded) and not loaded.training

    extractor, card = load_feature_extractor("net.ckpt", stages=[0])
    assert card == CARD and same_values(net, extractor) and not extractor.training
    images = Tensor(np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_array_equal(extractor(images)[0].asnumpy(), FeatureExtractor(net)(images)[0].asnumpy())


def test_random_numbers_are_left_alone():
    save_checkpoint("net.ckpt", create_network(CARD).get_parameters(), CARD)
    ms.set_seed(7)
    load_checkpoint("net.ckpt")
    assert ms.get_seed() == 7


def test_a_detector():
    net = create_detector(DETECTOR_CARD.model, **DETECTOR_CARD.detector_arguments())
    save_checkpoint("detector.ckpt", net.get_parameters(), DETECTOR_CARD)
    loaded, card = load_checkpoint(Path("detector.ckpt"), device="CPU")
    assert card == DETECTOR_CARD and same_values(net, loaded) and not loaded.training
    with pytest.raises(UserError, match="^detector.ckpt holds a detector, retinanet_ptnt_ti: expected a classifier$"):
        load_feature_extractor("detector.ckpt")
    with pytest.raises(UserError, match="^detector.ckpt holds a detector, retinanet_ptnt_ti: "):
        src.Classifier("detector.ckpt")


def test_refusals():
    net = create_network(CARD)
    ms.save_checkpoint(net, "bare.ckpt")
    save_checkpoint("other.ckpt", net.get_parameters(), replace(CARD, classes=["a", "b"]))
    save_checkpoint("unknown.ckpt", net.get_parameters(), replace(CARD, model="vgg"))
    save_checkpoint("net.ckpt", net.get_parameters(), CARD)
    for arguments, message in (
        (("none.ckpt",), "none.ckpt"),
        (("bare.ckpt",), "^bare.ckpt does not say which network it holds: expected a checkpoint of this project"),
        (("other.ckpt",), "^other.ckpt does not fit this network: .* 2 of another shape"),
        (("unknown.ckpt",), "^unknown.ckpt: its description of the network cannot be used: unknown model 'vgg'"),
        (("net.ckpt", "GPU"), "device GPU is not available"),
    ):
        with pytest.raises(UserError, match=message):
            load_checkpoint(*arguments)
    with pytest.raises(UserError, match="stages: expected rising indices from 0 to 0"):
        load_feature_extractor("net.ckpt", [1])


def test_the_package_gives_its_names_and_prints_nothing():
    """The device is looked for, which MindSpore warns of where there is no Ascend and no GPU."""
    program = (
        "import src, sys\n"
        "assert 'mindspore' not in sys.modules and 'load_checkpoint' in dir(src)\n"
        "from src import *\n"
        "set_up_device()\n"
        "assert all(callable(globals()[name]) for name in src.__all__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLOG_v"}
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with pytest.raises(AttributeError, match="module 'src' has no attribute 'load_chekpoint'"):
        src.load_chekpoint  # noqa: B018
