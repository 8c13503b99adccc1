"""A second start reads its graphs, and only those that are its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.compilation.compiler_cache import CompilerCache
from src.config import Config
from src.devices.ranks import Ranks
from src.engine.from_config import create_compiler_cache
from src.engine.run_folder import RunFolder
from src.files.file_lock import file_lock
from tests.engine.test_training import CONFIG

ROOT = Path(__file__).resolve().parent.parent.parent
SHORT = ["--schedule.epochs", "1", "--schedule.cooldown_epochs", "0"]
FULL = [
    *("--model.drop_path_rate", "0.2", "--model.drop_rate", "0.1", "--train.ema_decay", "0.9"),
    *("--train.precision", "float16", "--train.accumulate", "2", "--train.save_every", "1"),
]


def start(folder, *options):
    """train.py in a new process -> its log and the losses and scores of its record."""
    subprocess.run(
        [sys.executable, ROOT / "train.py", "--config", "tiny.yaml", *FULL, *SHORT, *options],
        cwd=folder,
        check=True,
        env=dict(os.environ),
    )
    run = folder / "runs" / "tiny"
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    varying = ("images_per_second", "data_wait")
    return (run / "train.log").read_text(), [{k: v for k, v in e.items() if k not in varying} for e in entries]


def test_a_second_start_reads_its_graphs_and_trains_to_the_same_bits(tmp_path):
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    log, record = start(tmp_path)
    assert "graph training_step compiled in" in log

    log, again = start(tmp_path, "--overwrite")
    assert "graph training_step read from" in log
    assert again == record

    last = tmp_path / "runs" / "tiny" / "checkpoints"
    os.replace(last / "step_000000002.ckpt", last / "last.ckpt")  # as if it had been killed in the third step
    log, resumed = start(tmp_path, "--resume")
    assert "resuming from" in log and log.count("graph training_step read from") == 2
    assert resumed == record

    (cached,) = (tmp_path / "runs" / "tiny" / "compiler_cache").glob("training_step_rank_0/**/*.mindir")
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.write_bytes(content)
    log, again = start(tmp_path, "--overwrite")
    assert "graph training_step compiled in" in log
    assert again == record


class Scale(nn.Cell):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def construct(self, x):
        return x * self.factor


def key(settings=None, ranks=None, name="graph", shape=(2, 3), cell=None):
    return CompilerCache(None, name, settings or {"lr": 1.0}, ranks)._key(
        cell or nn.Dense(3, 4), (ms.Tensor(np.zeros(shape, np.float32)),)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"lr": 2.0}},
        {"ranks": Ranks(0, 2)},
        {"ranks": Ranks(1, 2)},
        {"name": "other"},
        {"shape": (4, 3)},
        {"cell": nn.Dense(3, 5)},
        {"cell": nn.Dense(3, 4).set_train(True)},
    ],
    ids=str,
)
def test_what_decides_a_graph_changes_its_key(change):
    assert key() == key()
    assert key(**change) != key()


def test_the_sources_and_the_version_change_the_key(monkeypatch, tmp_path):
    before = key()
    (tmp_path / "a.py").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr("src.devices.versions._SOURCES", tmp_path)
        assert key() != before
    monkeypatch.setattr(ms, "__version__", "0.0.1")
    assert key() != before


def test_the_switch(tmp_path):
    folder = RunFolder(tmp_path, "run")
    assert create_compiler_cache(Config(), folder, "training_step", Ranks()).folder == folder.compiler_cache
    assert create_compiler_cache(Config(compiler_cache=False), folder, "training_step", Ranks()).folder is None


@pytest.fixture
def first_use(monkeypatch):
    """As in a process that has a start script and has not used the cache."""
    monkeypatch.setattr("mindspore.graph.api.entry_script_path", __file__)
    monkeypatch.setattr(CompilerCache, "is_used", False)


def test_a_folder_without_seal_is_compiled_anew(tmp_path, first_use):
    """A process that was killed while it compiled or read has left it."""
    cache = CompilerCache(tmp_path, "scale", {})
    folder = tmp_path / "scale_rank_0"
    folder.mkdir()
    (folder / "half").write_text("half a graph")
    x = ms.Tensor(np.ones(3, np.float32))
    cell = Scale(3.0)
    assert cache.compile("scale", cell, x).startswith("graph scale compiled in")
    assert cache.compile("scale", cell, x) is None
    assert not (folder / "half").exists()
    assert (folder / "seal.json").exists()
    assert cell(x).asnumpy().tolist() == [3.0] * 3


def test_a_folder_in_use_or_that_cannot_be_written_is_left_alone(tmp_path, first_use):
    x = ms.Tensor(np.ones(3, np.float32))
    lock = tmp_path / "scale_rank_0.lock"
    with file_lock(lock, "another process"):
        assert CompilerCache(tmp_path, "scale", {}).compile("scale", Scale(2.0), x).startswith("graph scale compiled")
    (tmp_path / "file").write_text("")
    cache = CompilerCache(tmp_path / "file", "scale", {})
    assert cache.compile("scale", Scale(2.0), x).startswith("graph scale compiled in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", lock.name]


def test_without_a_start_script_there_is_no_cache(tmp_path, first_use, monkeypatch):
    monkeypatch.setattr("mindspore.graph.api.entry_script_path", str(tmp_path / "-c"))
    x = ms.Tensor(np.ones(3, np.float32))
    cell = Scale(2.0)
    assert CompilerCache(tmp_path, "scale", {}).compile("scale", cell, x).startswith("graph scale compiled in")
    assert cell(x).asnumpy().tolist() == [2.0] * 3
