"""The training loop on a task of the test's own, of which it knows what `src.tasks.task.Task` says."""

import ast
import json
import os
import re
import signal
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.devices.ranks import Exchange, Ranks
from src.engine.evaluation import evaluate
from src.engine.from_config import create_train_step
from src.engine.training import Training
from src.terminal.progress import Progress
from src.terminal.stop_request import Stopped
from src.weights.checkpoint import read_checkpoint
from tests.devices.test_ranks import launch
from tests.tasks import toy_task
from tests.tasks.toy_task import EvalBatches, Median, ToyTask, train

pytestmark = pytest.mark.usefixtures("equal_graphs")

SOURCES = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("toy")
    scores = train(output=str(folder))
    assert list(scores) == ["median", "worst"] and scores.images == toy_task.NUM_ROWS
    return folder / "toy"


def entries(folder, kind):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in found if entry["kind"] == kind]


def checkpoint(folder, name="last"):
    return read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")


def assert_same(one, other, bound):
    for kind, keys in (("train", ("loss", "loss_height", "loss_slope")), ("eval", ("median", "worst", "ema_median"))):
        for first, second in zip(entries(one, kind), entries(other, kind), strict=True):
            for key in keys:
                assert first[key] == pytest.approx(second[key], abs=bound), key
    for part in ("weights", "state"):
        values, others = getattr(checkpoint(one), part), getattr(checkpoint(other), part)
        assert values.keys() == others.keys()
        for name, value in values.items():
            np.testing.assert_allclose(value, others[name], rtol=0, atol=bound, err_msg=name)


def test_losses_and_scores_have_their_names_everywhere(whole):
    train_entries, eval_entries = entries(whole, "train"), entries(whole, "eval")
    assert [e["step"] for e in eval_entries] == [3, 6, 9]
    for entry in train_entries:
        assert entry["loss"] == pytest.approx(entry["loss_height"] + entry["loss_slope"])
    assert {"median", "worst", "images", "ema_median", "ema_worst"} <= eval_entries[0].keys()
    log = (whole / "train.log").read_text()
    assert "lines through points" in log and "a line, 10 trainable parameters" in log
    assert re.search(r"loss \d\.\d{4} \(height \d\.\d{4}, slope \d\.\d{4}\), lr", log)
    assert re.search(
        r"epoch 1/3: closeness -\d\.\d{4}, worst error \d\.\d{4} over 22 images; moving average: clos", log
    )
    best = max(max(e["median"], e["ema_median"]) for e in eval_entries)
    assert checkpoint(whole, "best").progress["best_score"] == best
    assert f"best closeness {best:.4f}, checkpoint" in log
    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_sum_of_the_losses_is_minimised():
    """By hand: AdamW's first step is the rate times the sign of the gradient, and each loss has a row of weights."""
    config = toy_task.config()
    task = ToyTask(config)
    net = task.create_network(True)
    start = np.random.default_rng(3).standard_normal(net.weight.shape).astype(np.float32)
    net.weight.set_data(ms.Tensor(start))
    net.bias.set_data(ms.Tensor(np.zeros(2, np.float32)))
    inputs, *truth = next(task.create_train_batches(Ranks()).epoch(0))
    losses = create_train_step(config, task.create_losses(net), net, 0.1)(*map(ms.Tensor, (inputs, *truth))).asnumpy()
    errors = inputs @ start.T - np.stack(truth, axis=1)
    np.testing.assert_allclose(losses, np.square(errors).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(net.weight.asnumpy(), start - 0.1 * np.sign(errors.T @ inputs), atol=1e-4)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(whole, tmp_path):
    check_finite = Training._check_finite

    def stop_after_four(self, loss):
        check_finite(self, loss)
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_check_finite", stop_after_four)
        with pytest.raises(Stopped):
            train(output=str(tmp_path))
    assert checkpoint(tmp_path / "toy").progress["step"] == 5
    train(output=str(tmp_path), resume="auto")
    assert_same(tmp_path / "toy", whole, 0)


def test_two_ranks_train_and_judge_as_one(whole, tmp_path):
    """A median of medians would be another number."""
    launch(2, Path(toy_task.__file__), "both", folder=tmp_path)
    assert_same(tmp_path / "both" / "toy", whole, 1e-5)


def test_the_best_checkpoint_is_judged_again(whole):
    best = checkpoint(whole, "best")
    net, _ = ToyTask(toy_task.config()).load_network(best)
    with Progress("toy", toy_task.NUM_ROWS) as progress:
        scores = evaluate(net, EvalBatches(5, Ranks()), Median(), Exchange(Ranks()), progress)
    assert scores.deciding == pytest.approx(best.progress["best_score"], abs=1e-6)
    assert scores.images == toy_task.NUM_ROWS


WORDS = re.compile(
    r"top-?[15]|\blabels\b|(?<!data\.)\bclass(es)?\b|box(es)?\b|softmax|cross.entropy|mixup|logits", re.I
)


@pytest.mark.parametrize("path", sorted((SOURCES / "src/engine").glob("*.py")), ids=lambda path: path.name)
def test_the_engine_has_no_word_of_a_task(path):
    """In names, texts and comments; Python's own `class` apart."""
    text = re.sub(r"^(@.*\n)?class \w+", "", path.read_text(), flags=re.M)
    assert not WORDS.findall(text), WORDS.search(text)
    modules = [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not any("classification" in module for module in modules)
