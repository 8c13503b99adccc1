"""Processes that were started differently, as threads that exchange what they would send."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter

from src.config import Config, OptimizerConfig
from src.data.digits import Digits
from src.data.fingerprint import fingerprint
from src.devices.ranks import Ranks
from src.engine.agreement import check_same, check_same_start, check_same_weights
from src.errors import UserError
from src.tasks.classification import facts_of


class ThreadExchange:
    """Of one of several threads with the others. What has another length would hang, and fails here."""

    def __init__(self, rank, shared, barrier):
        self.ranks, self._shared, self._barrier = Ranks(rank, len(shared)), shared, barrier

    def gather(self, values):
        self._shared[self.ranks.rank] = np.asarray(values, np.float64)
        self._barrier.wait(10)
        told = np.stack(list(self._shared))
        self._barrier.wait(10)
        return told


def on_ranks(check, *own):
    """What `check(exchange, value)` raises on each rank, as texts."""
    shared, barrier = [None] * len(own), threading.Barrier(len(own))

    def run(rank):
        try:
            check(ThreadExchange(rank, shared, barrier), own[rank])
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(own)) as pool:
        return list(pool.map(run, range(len(own))))


def test_equal_starts_pass():
    config = Config()
    own = replace(config, output="elsewhere", data=replace(config.data, root="/mnt/b", workers=7))
    start = lambda exchange, config: check_same_start(exchange, config, facts_of({"training": Digits("train")}))  # noqa: E731
    assert on_ranks(start, config, own, config) == [None] * 3


@pytest.mark.parametrize(
    "change,message",
    [
        ({"optimizer": OptimizerConfig(lr=0.5)}, "optimizer.lr is 0.001 on rank 0 and 0.5 on rank 1;"),
        ({"limit_batches": 3}, "limit_batches is null on rank 0 and 3 on rank 1;"),
        ({"freeze": ["x" * 99]}, f'freeze is [] on rank 0 and ["{"x" * 58}... on rank 1;'),
    ],
)
def test_every_rank_names_the_first_difference(change, message):
    own = replace(Config(), **change)
    told = on_ranks(lambda exchange, config: check_same_start(exchange, config, {}), Config(), own)
    assert told[0] == told[1] and message in told[0]
    assert told[0].startswith("the processes of this run were started differently: ")


def test_other_data_and_other_structure():
    structures = [replace(Config(), model=replace(Config().model, structure=s)) for s in ({}, {"depth": 2})]
    told = on_ranks(lambda exchange, config: check_same_start(exchange, config, {}), *structures)
    assert 'model.structure is {} on rank 0 and {"depth": 2} on rank 1' in told[1]
    structures = [{"depth": 2, **{f"argument_{n}": n for n in range(9)}, "width": w, "z": "z" * 99} for w in (1, 2)]
    told = on_ranks(check_same, *({"the source": 1, "structure": s} for s in structures))
    assert re.search(
        r'structure is \.\.\..*"width": 1, .*\.\.\. on rank 0 and \.\.\..*"width": 2, .*\.\.\. on rank 1', told[0]
    )
    splits = [{"training": Digits("train")}, {"training": Digits("val")}]
    told = on_ranks(lambda exchange, data: check_same_start(exchange, Config(), facts_of(data)), *splits)
    assert "number of training images is 1437 on rank 0 and 360 on rank 1" in told[0]


def test_another_source_may_have_other_keys():
    """These would make exchanges of other lengths, so the source is compared alone first."""
    told = on_ranks(check_same, {"the source": "a", "new key": 1}, {"the source": "b"})
    assert told[0] == told[1] and 'the source is "a" on rank 0 and "b" on rank 1' in told[0]


def test_weights():
    def parameters(last):
        values = np.zeros(1000, np.float32)
        values[-1] = last
        return [Parameter(ms.Tensor(np.ones((2, 3), np.float32)), name="a"), Parameter(ms.Tensor(values), name="b")]

    check = lambda exchange, last: check_same_weights(exchange, parameters(last), 12)  # noqa: E731
    assert on_ranks(check, 0.5, 0.5) == [None, None]
    told = on_ranks(check, 0.5, 0.5, np.float32(0.5) + np.float32(2**-24))
    assert told[0] == told[2] and told[0].startswith("after step 12 the weights of rank 2 are not those of rank 0")


def test_fingerprints():
    assert fingerprint(["a", "b"], [0, 1]) == fingerprint(iter(["a", "b"]), np.array([0, 1], np.int32))
    assert len({fingerprint(*p) for p in ((["a", "b"], [0, 1]), (["b", "a"], [0, 1]), (["a", "b"], [1, 1]))}) == 3
