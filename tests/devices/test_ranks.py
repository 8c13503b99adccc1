"""Several processes, started by MindSpore's launcher, do what one does."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from src.devices.ranks import Exchange, Ranks
from src.weights.checkpoint import read_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]

NETWORKS = {
    "tnt": """
  name: tnt_ti_patch16_224
  image_size: 16
  structure: {depth: 1, inner_dim: 4, inner_num_heads: 2, outer_dim: 16, outer_num_heads: 2}""",
    "ptnt": """
  name: ptnt_ti_patch16_192
  image_size: 64
  structure:
    depths: [1, 1, 1, 1]
    inner_dims: [4, 4, 4, 4]
    inner_num_heads: [1, 1, 1, 1]
    outer_dims: [8, 8, 8, 8]
    outer_num_heads: [2, 2, 2, 2]""",
    "t2t": """
  name: t2t_vit_7
  image_size: 32
  structure: {depth: 2, embed_dim: 32, num_heads: 2, token_dim: 16}""",
}
CONFIG = """
model:{network}
  drop_rate: 0.1
  drop_path_rate: 0.2
data:
  source: digits
  workers: 0
  crop_pct: 1.0
  rand_augment: rand-m9-mstd0.5-inc1
  erase_prob: 0.25
  mixup: 0.8
  cutmix: 1.0
  repeats: 3
optimizer: {{lr: 1e-4, clip_norm: 1.0}}
schedule: {{epochs: 1, warmup_epochs: 0, cooldown_epochs: 0}}
train: {{log_every: 1, ema_decay: 0.99, ema_warmup: true}}
limit_batches: 20
"""


def launch(num_ranks, script, *arguments, folder):
    """Runs a script with `num_ranks` processes in `folder`; returns the output of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("msrun"), f"--worker_num={num_ranks}", f"--local_worker_num={num_ranks}"]
    command += [f"--master_port={port}", "--log_dir=ranks", "--join=True", "--cluster_time_out=120"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "GLOG_v": "4"}
    done = subprocess.run([*command, script, *arguments], cwd=folder, env=environment, capture_output=True, timeout=900)
    outputs = [(folder / "ranks" / f"worker_{rank}.log").read_text() for rank in range(num_ranks)]
    assert done.returncode == 0, "\n".join(outputs)
    return outputs


def run(num_ranks, name, folder, *options):
    arguments = ["--config", "net.yaml", "--output", name, *options]
    if num_ranks > 1:
        launch(num_ranks, REPOSITORY / "train.py", *arguments, folder=folder)
    else:
        subprocess.run([sys.executable, REPOSITORY / "train.py", *arguments], cwd=folder, check=True, timeout=900)
    lines = (folder / name / "net" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], read_checkpoint(folder / name / "net" / "checkpoints" / "last.ckpt")


def assert_equal_runs(first, second, exempt=()):
    """Where something is exempt, evaluation is too: running means lag behind biases that only rounding moves."""
    for one, other in zip(first[0], second[0], strict=True):
        if not exempt or one["kind"] == "train":
            for key in {"loss", "top1", "ema_loss", "ema_top1", "images"} & one.keys():
                assert one[key] == pytest.approx(other[key], abs=1e-5), (key, one, other)
    for part in ("weights", "state"):
        values, others = getattr(first[1], part), getattr(second[1], part)
        assert values.keys() == others.keys()
        for name, value in values.items():
            if not name.endswith(exempt):
                np.testing.assert_allclose(value, others[name], atol=1e-5, err_msg=name)


def write_config(folder, network):
    (folder / "net.yaml").write_text(CONFIG.format(network=NETWORKS[network]))


def test_two_processes_train_as_one_does(tmp_path):
    write_config(tmp_path, "tnt")
    options = ["--train.accumulate", "2", "--limit_batches", "8"]
    alone = run(1, "alone", tmp_path, "--train.batch_size", "16", *options)
    both = run(2, "both", tmp_path, "--train.batch_size", "8", *options)
    assert len(alone[0]) == 9
    assert_equal_runs(alone, both)


@pytest.mark.slow
def test_sharded_optimizer_state_changes_nothing(tmp_path):
    """Neither the run nor its checkpoint: it is resumed from with the state in one place, and the other way round."""
    write_config(tmp_path, "tnt")
    options = ["--train.batch_size", "8", "--schedule.cooldown_epochs", "1"]
    alone = run(1, "alone", tmp_path, "--train.batch_size", "16", *options[2:])
    sharded = run(2, "sharded", tmp_path, *options, "--optimizer.shard_state", "true")
    assert_equal_runs(alone, sharded)
    first_half = tmp_path / "sharded" / "net" / "checkpoints" / "step_000000020.ckpt"
    whole = run(2, "whole", tmp_path, *options, "--resume", str(first_half))
    assert_equal_runs((alone[0][20:], alone[1]), whole)
    again = ["--optimizer.shard_state", "true", "--resume", str(tmp_path / "alone/net/checkpoints/step_000000020.ckpt")]
    changed = ["--allow_changes"]  # of train.batch_size
    assert_equal_runs((alone[0][20:], alone[1]), run(2, "again", tmp_path, *options, *again, *changed))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tnt", "t2t", "ptnt"])
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_processes_train_as_one_does(tmp_path, network, num_ranks):
    """PyramidTNT with synchronised batch norm; biases directly before one have no gradient but rounding."""
    write_config(tmp_path, network)
    has_batch_norm = network == "ptnt"
    accumulate = ["--train.accumulate", "2"]
    synchronized = ["--model.batch_norm", "synchronized"] if has_batch_norm else []
    alone = run(1, "alone", tmp_path, "--train.batch_size", "16", *accumulate, *synchronized)
    several = run(
        num_ranks, "several", tmp_path, "--train.batch_size", str(16 // num_ranks), *accumulate, *synchronized
    )
    exempt = ()
    if has_batch_norm:
        biases = [name for name in alone[1].weights if name.startswith("patch_embed") and name.endswith(".bias")]
        exempt = (*biases, "moving_mean")
    assert_equal_runs(alone, several, exempt)


def test_one_rank_exchanges_nothing():
    exchange = Exchange(Ranks())
    np.testing.assert_array_equal(exchange.gather([1.5, 2.0]), [[1.5, 2.0]])
    exchange.agree([])
    assert exchange.byte_rows([b"one", b""]) == [b"one", b""]


class Together(Exchange):
    """A rank that is a thread: what ranks gather goes through a list."""

    def __init__(self, rank, told, barrier):
        self.ranks, self._told, self._barrier = Ranks(rank, len(told)), told, barrier

    def gather(self, values):
        self._told[self.ranks.rank] = np.array(values, np.float64).reshape(-1)
        self._barrier.wait()
        gathered = np.stack(self._told)  # of one length, as devices need it
        self._barrier.wait()
        return gathered


@pytest.mark.parametrize(
    "shares",
    [
        [[b"one", b"", b"\x00\xff" * 50], [b"12345678", b"9"]],
        [[], [b"alone", b"twice"], []],
        [[], []],
        [[b""], []],
        [[bytes([255, 247, 255, 255, 255, 255, 255, 255, 1])], [b"\0" * 16]],
    ],
)
def test_rows_of_bytes_come_from_every_rank(shares):
    told, barrier = [None] * len(shares), Barrier(len(shares), timeout=60)
    with ThreadPoolExecutor(len(shares)) as threads:
        ranks = [Together(rank, told, barrier) for rank in range(len(shares))]
        results = list(threads.map(lambda rank, own: rank.byte_rows(own), ranks, shares))
    assert results == [sum(shares, [])] * len(shares)


WORKER = """
import sys
sys.path.insert(0, {repository!r})
import numpy as np
import mindspore as ms
from mindspore import Parameter, Tensor
from src.devices.ranks import Exchange, serve_if_scheduler, start_distribution
serve_if_scheduler()
ms.set_context(mode=ms.GRAPH_MODE)
ranks = start_distribution("CPU")
exchange = Exchange(ranks)
values = exchange.gather([100 * (51 + ranks.rank) / 360, 2.0**40 + ranks.rank, float("nan"), float("inf")])
print("gathered", [[repr(float(v)) for v in row] for row in values])
print("rows", exchange.byte_rows([b"\\xff" * 9, b""] if ranks.rank else [b"one"]))
print("united", sorted(exchange.union([3, 5] if ranks.rank else [5])), exchange.union([]))
parameters = [
    Parameter(Tensor(np.arange(3, dtype=np.int32) - 5 + ranks.rank), name="a"),
    Parameter(Tensor(np.full((2, 2), ranks.rank + 0.5, np.float32)), name="b"),
    Parameter(Tensor(-5 + ranks.rank, ms.int32), name="c"),
]
exchange.agree(parameters)
print("agreed", [p.asnumpy().tolist() for p in parameters])
"""


def test_exchange_between_processes(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER.format(repository=str(REPOSITORY)))
    for output in launch(2, "worker.py", folder=tmp_path):
        gathered = next(line for line in output.splitlines() if line.startswith("gathered"))
        rows = json.loads(gathered.removeprefix("gathered ").replace("'", '"'))
        exact = [[100 * (51 + r) / 360, 2.0**40 + r] for r in (0, 1)]
        assert [[float(v) for v in row[:2]] for row in rows] == exact
        assert rows[0][2:] == ["nan", "inf"]
        assert f"rows {[b'one', bytes([255] * 9), b'']}" in output
        assert "united [3, 5] set()" in output
        assert "agreed [[-5, -4, -3], [[0.5, 0.5], [0.5, 0.5]], -5]" in output
