"""The audit lists what a graph holds, believes only statements, and fails on what is documented as missing."""

import os
from pathlib import Path

import mindspore as ms
import pytest
from mindspore import Tensor, nn, ops

from src.config import load_config
from src.engine.train_step import TrainStep
from src.errors import UserError
from src.optim.optimizer import AdamW
from src.portability.audit import audit, audit_graphs, check_targets
from src.portability.by_hand import TABLE, Entry
from src.portability.docstrings import PLATFORMS, find_statement
from src.portability.graph_operators import list_operators
from src.tasks.classification import Classification, ClassificationLoss
from src.tasks.configured_card import create_card

REPOSITORY = Path(__file__).resolve().parents[2]
EVERYWHERE = dict.fromkeys(PLATFORMS, "yes")
FLOATS = Tensor(shape=[2, 4], dtype=ms.float32)
LABELS = Tensor(shape=[2], dtype=ms.int32)


class Toy(nn.Cell):
    """Two products, the sigmoid of one, and a branch on a value."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Dense(4, 3), nn.Dense(3, 3)

    def construct(self, x):
        x = ops.sigmoid(self.first(x))
        if x.sum() > 0:
            x = ops.cos(x)
        return self.second(x)


def test_operators_of_a_network():
    """Products twice, and those of a branch that may not be taken."""
    found = list_operators(Toy().set_train(False), FLOATS)
    assert found["MatMul"] == 2 and found["Sigmoid"] == found["Cos"] == found["Switch"] == 1
    assert "AdamWeightDecay" not in found and "SigmoidGrad" not in found and "Constant" not in found


def test_operators_of_a_training_step():
    """Derivatives and optimizer are in it; the working directory stays as it is."""
    net = nn.SequentialCell(nn.Dense(4, 3), nn.Sigmoid())
    step = TrainStep(ClassificationLoss(net), AdamW(net.trainable_params(), 1e-3), batch_size=len(FLOATS))
    found = list_operators(step, FLOATS, LABELS)
    assert found["AdamWeightDecay"] == 2 and found["SigmoidGrad"] == 1
    assert found["MatMul"] == 2  # the input has no gradient
    assert os.listdir() == []


def test_statements_of_docstrings():
    assert find_statement("MatMul").platforms == set(PLATFORMS)
    assert find_statement("MatMul").source == "docstring of ops.MatMul"
    assert find_statement("PowTensorScalar").platforms == {"Ascend"}
    assert find_statement("LayerNormGrad") is None  # its docstring is empty
    assert find_statement("Conv2DBackpropInput") is None  # "Deprecated" names no device
    assert find_statement("NoSuchOperator") is None


def test_statement_of_the_function_that_a_docstring_refers_to():
    found = find_statement("SumExt")
    assert found.platforms == set(PLATFORMS)
    assert found.source == "docstring of ops.sum_ext, to which that of SumExt refers"
    assert find_statement("Muls") is None  # it refers to a function without a docstring


def test_table_answers_what_docstrings_do_not():
    (row,) = audit_graphs("toy", {"inference": ["Muls"]}).rows
    assert row.answers == EVERYWHERE and "Cast, Mul" in row.source


def test_table_does_not_repeat_docstrings():
    """And every operator that another is replaced by has a statement."""
    for operator, entry in TABLE.items():
        assert find_statement(operator) is None, operator
        assert entry.source and (entry.platforms or all(map(find_statement, entry.parts))), operator


def test_replacement_that_is_missing_leaves_the_operator_unknown(monkeypatch):
    """Not missing: it may have a kernel of its own."""
    monkeypatch.setitem(TABLE, "Muls", Entry("test", parts=("Cast", "PowTensorScalar")))
    (row,) = audit_graphs("toy", {"inference": ["Muls"]}).rows
    assert row.answers == {"Ascend": "yes", "GPU": "unknown", "CPU": "unknown"}


def test_no_statement_is_unknown_and_passes():
    result = audit_graphs("toy", {"inference": ["MatMul", "NoSuchOperator", "Add"], "training": ["Add"]})
    assert [row.operator for row in result.rows] == ["Add", "MatMul", "NoSuchOperator"]
    assert [row.graphs for row in result.rows] == [("inference", "training"), ("inference",), ("inference",)]
    assert result.rows[2].answers == dict.fromkeys(PLATFORMS, "unknown") and result.rows[2].source == ""
    assert result.unknown_share == 1 / 3
    for report in (result.to_text(), result.to_markdown()):
        assert "Left unknown for at least one of them: 1 of 3 (33.3 %)" in report
        assert "GPU 2 yes, 0 no, 1 unknown" in report
    assert "| NoSuchOperator | inference | unknown | unknown | unknown | - |" in result.to_markdown()
    result.check()


def test_documented_as_missing_fails_on_the_targets_asked_for():
    graphs = {"training": ["MatMul", "PowTensorScalar"]}
    result = audit_graphs("toy", graphs)
    assert result.missing("GPU") == result.missing("CPU") == ["PowTensorScalar"] and result.missing("Ascend") == []
    with pytest.raises(UserError, match=r"toy: .*\(GPU: PowTensorScalar; CPU: PowTensorScalar\)"):
        result.check()
    audit_graphs("toy", graphs, ["Ascend"]).check()
    assert audit_graphs("toy", graphs, ["CPU"]).rows[1].answers == {"CPU": "no"}


def test_targets():
    assert check_targets(["CPU", "Ascend", "CPU"]) == ("Ascend", "CPU")
    with pytest.raises(UserError, match="'Asend' is no device of MindSpore; did you mean Ascend"):
        check_targets(["CPU", "Asend"])
    with pytest.raises(UserError, match="expected at least one"):
        check_targets([])


@pytest.fixture(scope="module")
def whole():
    """The audit of a TNT of one block with all that the recipe can switch on."""
    config = load_config(REPOSITORY / "config/demo/tnt_digits.yaml")
    config.model.image_size, config.model.drop_path_rate = 16, 0.1
    config.model.structure = {
        "depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 8, "outer_num_heads": 2
    }  # fmt: skip
    config.data.mixup, config.optimizer.clip_norm = 0.8, 1.0
    config.train.precision, config.train.accumulate, config.train.ema_decay = "float16", 2, 0.99
    return audit(config, Classification(config, create_card(config, ["cat", "dog"])), ["GPU", "Ascend"])


def test_audit_of_a_network(whole):
    """Every operator once, with the graphs that hold it and an answer for each target."""
    rows = {row.operator: row for row in whole.rows}
    assert len(rows) == len(whole.rows) and whole.targets == ("Ascend", "GPU")
    assert rows["Softmax"].graphs == ("inference", "training") and rows["AdamWeightDecay"].graphs == ("training",)
    assert rows["Softmax"].answers == {"Ascend": "yes", "GPU": "yes"}
    assert whole.unknown_share <= 0.05 and whole.missing("Ascend") == []


def test_training_step_is_whole(whole):
    """Masks, loss scaling, clipping, accumulation, derivatives."""
    assert {"BitwiseXor", "IsFinite", "Minimum", "Switch", "LayerNormGrad"} <= {row.operator for row in whole.rows}
