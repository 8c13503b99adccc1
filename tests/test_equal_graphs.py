"""Compilations that tests share: equal cells only, and each computes with values of its own."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from src.layers.dropout import Dropout
from src.layers.random_mask import number_masks
from tests.equal_graphs import EqualGraphs

ONES = Tensor(np.ones(3, np.float32))


class Count(nn.Cell):
    """Adds its input, times a constant, to a total, and returns it; from the third call on it also counts calls."""

    def __init__(self, factor=2.0, name="total"):
        super().__init__()
        self.factor = factor
        self.total = Parameter(Tensor(np.zeros(3, np.float32)), name=name)
        self.calls = Parameter(Tensor(0, ms.int32), name="calls")
        self.late = Parameter(Tensor(0, ms.int32), name="late")

    def construct(self, x):
        total = ops.depend(self.total, ops.assign_add(self.total, x * self.factor))
        calls = ops.depend(self.calls, ops.assign_add(self.calls, 1))
        if calls > 2:
            total = ops.depend(total, ops.assign_add(self.late, 1))
        return total * 1.0


@pytest.fixture
def compiled(equal_graphs, monkeypatch):
    """Which cells were compiled."""
    cells, compile_ = [], EqualGraphs.compile_and_run

    def note(self, cell, *inputs, **more):
        if self.first_equal(cell, inputs, more) is cell:
            cells.append(cell)
        return compile_(self, cell, *inputs, **more)

    monkeypatch.setattr(EqualGraphs, "compile_and_run", note)
    return cells


def state(cell):
    return cell.total.asnumpy().tolist(), int(cell.calls.asnumpy()), int(cell.late.asnumpy())


def test_each_has_its_own_values(compiled):
    one, other = Count(), Count()
    for cell, times in ((one, 4), (other, 3), (one, 1)):
        for _ in range(times):
            cell(ONES)
    assert {id(cell) for cell in compiled} == {id(one)}
    assert state(one) == ([10.0] * 3, 5, 3) and state(other) == ([6.0] * 3, 3, 1)
    other.total.set_data(Tensor(np.ones(3, np.float32)))
    np.testing.assert_array_equal(other(ONES).asnumpy(), [3.0] * 3)
    assert state(one)[0] == [10.0] * 3


def test_what_differs_is_compiled(compiled):
    first = Count(3.0, name="sum")
    cells = [first, Count(4.0, name="sum"), Count(3.0, name="other"), Count(3.0, name="sum")]
    cells[3].total.requires_grad = False
    for cell in cells:
        cell(ONES)
    assert [id(cell) for cell in compiled] == [id(cell) for cell in cells]
    cells[1](ONES.astype(ms.int32))
    assert compiled[-1] is cells[1]


MORE = 0.0


def subtract(self, x):
    return x - self.factor - MORE


def test_another_method_makes_another_graph(compiled, monkeypatch):
    one, other = Count(5.0), Count(5.0)
    one(ONES)
    monkeypatch.setattr(Count, "construct", subtract)
    np.testing.assert_array_equal(other(ONES).asnumpy(), [-4.0] * 3)
    monkeypatch.setattr("tests.test_equal_graphs.MORE", 1.0)
    np.testing.assert_array_equal(Count(5.0)(ONES).asnumpy(), [-5.0] * 3)


class Reduce(nn.Cell):
    operator = ops.ReduceSum()

    def construct(self, x):
        return self.operator(x, 0)


def test_another_operator_of_the_class_makes_another_graph(compiled, monkeypatch):
    assert float(Reduce()(ONES).asnumpy()) == 3.0
    monkeypatch.setattr(Reduce, "operator", ops.ReduceMean())
    assert float(Reduce()(ONES).asnumpy()) == 1.0


def test_numbers_and_rates_of_masks_matter_in_training_only(compiled):
    def build(rate, is_numbered):
        net = nn.SequentialCell(nn.ReLU(), Dropout(rate))
        if is_numbered:
            number_masks(net)
        return net.set_train(False)

    nets = [build(0.0, False), build(0.5, False), build(0.5, True)]
    for net in nets:
        np.testing.assert_array_equal(net(ONES).asnumpy(), ONES.asnumpy())
    assert [id(cell) for cell in compiled] == [id(nets[0])]
    for net in nets:
        net.set_train()(ONES.reshape(1, 3))
    assert [id(cell) for cell in compiled[1:]] == [id(net) for net in nets]
