"""Batches copied ahead: their values although the loader uses its memory again, their order, errors and end."""

import threading
import time

import numpy as np
import pytest
from mindspore import Tensor

from src.data.eval_batch import EvalBatch
from src.engine.prefetch import batches_ahead, on_device


class Batches:
    """Of a loader that has memory for one batch alone."""

    def __init__(self, count, broken=None):
        self.count, self.broken, self.read = count, broken, 0
        self.memory = np.zeros((2, 3), np.float32)

    def __iter__(self):
        for number in range(self.count):
            if number == self.broken:
                raise ValueError(f"batch {number} is broken")
            self.memory[:] = number
            self.read += 1
            yield self.memory, np.array([number])


def numbers(prepared):
    """What each batch holds when the consumer comes to it, a while after the copying could have gone on."""
    found = []
    for tensors, _ in prepared:
        time.sleep(0.01)
        assert all(isinstance(tensor, Tensor) for tensor in tensors)
        found.append((float(tensors[0].asnumpy().max()), int(tensors[1].asnumpy()[0])))
    return found


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_every_batch_keeps_its_values_and_its_turn(ahead):
    batches = Batches(6)
    with on_device(iter(batches), 6, ahead) as prepared:
        assert numbers(prepared) == [(n, n) for n in range(6)]


def test_a_batch_is_copied_while_the_one_before_is_used():
    batches = Batches(6)
    with on_device(iter(batches), 6, 2) as prepared:
        next(prepared)
        deadline = time.monotonic() + 10
        while batches.read < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert batches.read == 3


def test_nothing_is_read_beyond_what_is_asked_for():
    batches = Batches(6)
    with on_device(iter(batches), 2, 3) as prepared:
        assert len(numbers(prepared)) == 2
    assert batches.read == 2


def test_fewer_batches_than_said_end_it():
    with on_device(iter(Batches(2)), 5, 1) as prepared:
        assert len(numbers(prepared)) == 2


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_comes_at_its_batch(ahead):
    with on_device(iter(Batches(6, broken=2)), 6, ahead) as prepared:
        next(prepared), next(prepared)
        with pytest.raises(ValueError, match="batch 2 is broken"):
            next(prepared)


def test_the_thread_ends_with_the_context():
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        with on_device(iter(Batches(6)), 6, 2) as prepared:
            next(prepared)
            assert threading.active_count() == before + 1
            raise KeyboardInterrupt
    assert threading.active_count() == before


def test_of_a_batch_of_evaluation_the_inputs_go_to_the_device():
    batches = (EvalBatch((np.full(3, n, np.float32),), (np.array([n]),), n) for n in range(3))
    with on_device(batches, 3, 1, lambda batch: batch.inputs) as prepared:
        for number, ((images,), batch) in enumerate(prepared):
            assert images.asnumpy().tolist() == [number] * 3
            assert (batch.truth[0].item(), batch.num_valid) == (number, number)


def test_none_are_copied_ahead_on_cpu_unless_asked_for():
    assert [batches_ahead(wanted) for wanted in (None, 0, 3)] == [0, 0, 3]


def test_one_is_copied_ahead_on_a_device_with_memory_of_its_own(monkeypatch):
    monkeypatch.setattr("src.engine.prefetch.current_device", lambda: "GPU")
    assert [batches_ahead(wanted) for wanted in (None, 0)] == [1, 0]
