"""The audit of a detector with two stages: its predictions and its whole training step."""

import mindspore as ms
import pytest
from mindspore import Tensor, nn, ops

from src.config import Config
from src.detection.losses import SmoothL1
from src.devices.device import set_up_device
from src.portability.audit import audit, audit_graphs
from src.portability.docstrings import PLATFORMS
from src.portability.graph_operators import list_operators
from src.tasks import create_task
from tests.tiny_detectors import TINY_BACKBONE

STRUCTURE = {
    "table_size": 64,
    "fpn_channels": 4,
    "fc_channels": 4,
    "mask_convs": 1,
    "proposals": 4,
    "regions": 4,
    "window": 8,
    "backbone": TINY_BACKBONE,
}


@pytest.fixture(scope="module")
def whole():
    config = Config()
    config.model.name, config.model.image_size, config.model.num_classes = "mask_rcnn_ptnt_ti", 64, 2
    config.model.structure, config.data.source, config.train.batch_size = STRUCTURE, "coco", 1
    task = create_task(config)
    task.open_without_data()
    set_up_device("CPU", 0, True)
    return audit(config, task)


def test_both_graphs_are_whole(whole):
    """Regions, suppression and masks in both; losses, derivatives and the update in one of them."""
    rows = {row.operator: row.graphs for row in whole.rows}
    both = {"TopK", "Gather", "BatchMatMul", "Conv2DTranspose", "Conv2D", "Sigmoid", "Softmax"}
    assert {name for name in both if rows.get(name) == ("inference", "training")} == both
    training = {"Log1p", "ResizeNearestNeighborGrad", "UnsortedSegmentSum", "AdamWeightDecay", "BitwiseXor"}
    assert {name for name in training if rows.get(name) == ("training",)} == training
    assert whole.subject == "mask_rcnn_ptnt_ti" and len(rows) > 90


def test_nothing_is_documented_for_other_devices_only(whole):
    assert {target: whole.missing(target) for target in PLATFORMS} == dict.fromkeys(PLATFORMS, [])
    unknown = {row.operator for row in whole.rows if "unknown" in row.answers.values()}
    assert unknown <= {"EqScalar", "LessScalar", "ResizeNearestNeighborGrad"}
    whole.check()


class Derivative(nn.Cell):
    """Of a function of two arrays."""

    def __init__(self, function: nn.Cell):
        super().__init__()
        self.function = function
        self.grad = ops.GradOperation(get_all=True)

    def construct(self, one, other):
        return self.grad(self.function)(one, other)


class Selected(nn.Cell):
    def construct(self, one, other):
        return ops.select(one > other, one * one, other)


def test_the_losses_of_boxes_have_no_operator_of_ascend_alone():
    """As the derivative of a selection has."""
    shape = Tensor(shape=[3, 4], dtype=ms.float32)
    missing = {
        name: audit_graphs(name, {"training": list_operators(Derivative(function), shape, shape)}).missing("GPU")
        for name, function in (("l1", SmoothL1()), ("smooth", SmoothL1(1.0)), ("selected", Selected()))
    }
    assert missing == {"l1": [], "smooth": [], "selected": ["ZerosLikeExt"]}
