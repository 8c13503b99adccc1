"""train.py and eval.py as a user runs them, on a tiny network and a few digits."""

import fcntl
import itertools
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

import eval as eval_script
import train as train_script
from src.config import load_config
from src.engine.evaluation import evaluate
from src.engine.run_folder import RunFolder
from src.engine.training import Training
from src.errors import TemporaryError, UserError
from src.tasks.classification_scores import ClassificationScorer, score_kinds
from src.tasks.scores import Scores
from src.terminal.command import run_command
from src.terminal.stop_request import Stopped
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.described_network import create_network

pytestmark = pytest.mark.usefixtures("equal_graphs")

CONFIG = """
model:
  name: tnt_ti_patch16_224
  image_size: 16
  drop_path_rate: 0.0
  structure: {depth: 1, inner_dim: 4, inner_num_heads: 2, outer_dim: 16, outer_num_heads: 2}
data: {source: digits, crop_scale: [0.8, 1.0], flip_prob: 0.0, crop_pct: 1.0, workers: 1}
optimizer: {lr: 1e-3}
schedule: {epochs: 2, warmup_epochs: 1, warmup_lr: 1e-4, cooldown_epochs: 1}
train: {batch_size: 16, log_every: 2}
limit_batches: 3
output: runs
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with tiny.yaml and its finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_script.main(["--config", "tiny.yaml"])
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it as the working directory."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_run_leaves_its_record(folder):
    run = folder / "runs" / "tiny"
    assert load_config(run / "config.yaml") == load_config(folder / "tiny.yaml")
    assert json.loads((run / "environment.json").read_text())["device"] == "CPU"
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [(e["step"], e["epoch"]) for e in entries if e["kind"] == "train"]
    assert steps == [(2, 0.6667), (3, 1.0), (4, 1.3333), (6, 2.0), (8, 2.6667), (9, 3.0)]
    assert [e["learning_rate"] for e in entries if e["kind"] == "train"][:3] == [1e-4, 1e-4, pytest.approx(5.05e-4)]
    evaluations = [e for e in entries if e["kind"] == "eval"]
    assert [e["step"] for e in evaluations] == [3, 6, 9]
    assert all(0 <= e["top1"] <= e["top5"] <= 100 and e["images"] == 48 for e in evaluations)
    log = (run / "train.log").read_text()
    assert "1,437 training and 360 validation images of 10 labels: 0, 1, 2, 3, 4 and 5 more\n" in log
    assert "step 9/9, epoch 3.00, loss" in log and "images/s" in log and "0:00:00 left" in log
    last, best = (read_checkpoint(run / "checkpoints" / f"{name}.ckpt") for name in ("last", "best"))
    assert last.progress["step"] == 9 and "adam_m.head.weight" in last.state and not best.state
    assert best.card.classes == [str(d) for d in range(10)]


def test_a_report_of_every_image(folder, capsys):
    eval_script.main(["--config", "tiny.yaml", "--report", "some/report", "--per_class"])
    out = capsys.readouterr().out
    assert "class  precision  recall" in out and "written: some/report (scores.json, classes.csv, images.csv" in out
    checkpoint = "runs/tiny/checkpoints/best.ckpt"
    assert out.endswith(f"export.py --config tiny.yaml --checkpoint {checkpoint}\n")
    report = folder / "some" / "report"
    assert len((report / "images.csv").read_text().splitlines()) == 49
    best = max(e["top1"] for e in evaluations(folder / "runs" / "tiny"))
    assert 100 * json.loads((report / "scores.json").read_text())["accuracy"] == pytest.approx(best)
    with pytest.raises(UserError, match="cannot write into tiny.yaml/report: .*tiny.yaml is not a folder"):
        eval_script.main(["--config", "tiny.yaml", "--report", "tiny.yaml/report"])


def test_a_check_refuses_what_a_start_would_and_starts_nothing(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    train, evaluate = train_script.main, eval_script.main
    for main, options, expected in [
        (train, [], r"^runs/tiny already holds a run: give --resume to continue it, --overwrite to"),
        (train, ["--overwrite", "--train.tensorboard", "true"], r"^train\.tensorboard needs tensorboardX: pip"),
        (train, ["--overwrite", "--data", "nowhere"], r"nowhere"),
        (train, ["--resume", "--optimizer.lr", "1.0"], r"^the configuration differs from that of runs/tiny"),
        (evaluate, ["--checkpoint", "none.ckpt"], r"none\.ckpt does not exist"),
        (evaluate, ["--data", "nowhere"], r"nowhere"),
    ]:
        with pytest.raises(UserError, match=expected):
            main(["--config", "tiny.yaml", *options, "--check"])
        with pytest.raises(UserError, match=expected):
            main(["--config", "tiny.yaml", *options])
    for main, options in ((train, ["--overwrite"]), (train, ["--resume"]), (evaluate, [])):
        capsys.readouterr()
        main(["--config", "tiny.yaml", *options, "--check"])
        (folder / "printed.yaml").write_text(capsys.readouterr().out)
        assert load_config("printed.yaml") == load_config("tiny.yaml")
        (folder / "printed.yaml").unlink()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_of_equal_scores_the_lower_loss_is_the_best(folder, monkeypatch):
    losses = iter([3.0, 2.0, 4.0])

    def evaluate(*_):
        return Scores(score_kinds(10), (50.0, 80.0, next(losses)), 48)

    monkeypatch.setattr("src.engine.training.evaluate", evaluate)
    train_script.main(["--config", "tiny.yaml", "--overwrite"])
    best = read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "best.ckpt").progress
    assert (best["step"], best["best_score"], best["best_tie"]) == (6, 50.0, -2.0)


def test_patience_ends_a_run(folder, monkeypatch, capsys):
    """And a run that is stopped before goes on to the same end."""
    tops = iter([10.0, 50.0, 40.0, 50.0, 60.0])

    def evaluate(*_):
        return Scores(score_kinds(10), (next(tops), 80.0, 3.0), 48)

    monkeypatch.setattr("src.engine.training.evaluate", evaluate)
    options = ["--config", "tiny.yaml", "--schedule.cooldown_epochs", "4", "--train.patience", "2"]
    with pytest.MonkeyPatch.context() as patch:
        end_after_step(patch, 7, sigterm)
        with pytest.raises(Stopped):
            train_script.main([*options, "--overwrite"])
    train_script.main([*options, "--resume"])
    assert [e["step"] for e in evaluations(folder / "runs" / "tiny")] == [3, 6, 9, 12]
    line = "no better top-1 for 2 epochs, train.patience is 2: training ends here"
    assert line in capsys.readouterr().out
    train_script.main([*options, "--resume"])
    assert line in capsys.readouterr().out and next(tops) == 60.0


def test_other_losses_and_shares_of_classes(folder):
    """A run each: its first loss is that of ten equal outputs."""
    for loss, first in (("bce", 0.72), ("focal", 1.9)):
        options = ["--train.loss", loss, "--train.class_weights", "sqrt", "--data.balance", "full"]
        train_script.main(
            ["--config", "tiny.yaml", *options, "--overwrite", "--schedule.epochs", "1", "--train.log_every", "1"]
        )
        entries = [json.loads(line) for line in (folder / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()]
        assert entries[0]["loss"] == pytest.approx(first, abs=0.2)


def test_a_teacher(folder):
    """It is in no checkpoint, and a run that is stopped goes on with it to the same bits."""
    options = ["--config", "tiny.yaml", "--train.teacher", "runs/tiny/checkpoints/best.ckpt", "--output", "taught"]
    train_script.main(options)
    whole = read_checkpoint("taught/tiny/checkpoints/last.ckpt")
    assert not [name for name in (*whole.weights, *whole.state) if "teacher" in name]
    plain = read_checkpoint("runs/tiny/checkpoints/last.ckpt")
    assert whole.weights.keys() == plain.weights.keys() and whole.state.keys() == plain.state.keys()
    assert (whole.weights["head.weight"] != plain.weights["head.weight"]).any()
    with pytest.MonkeyPatch.context() as patch:
        end_after_step(patch, 5, sigterm)
        with pytest.raises(Stopped):
            train_script.main([*options, "--overwrite"])
    train_script.main([*options, "--resume"])
    for name, value in read_checkpoint("taught/tiny/checkpoints/last.ckpt").weights.items():
        np.testing.assert_array_equal(value, whole.weights[name])
    with pytest.raises(UserError, match="nothing.ckpt"):
        train_script.main([*options, "--overwrite", "--train.teacher", "nothing.ckpt"])


def test_a_second_start_is_refused_and_names_the_ways_out(folder):
    with pytest.raises(UserError, match="already holds a run: give --resume to continue it, --overwrite"):
        train_script.main(["--config", "tiny.yaml"])


def test_overwrite_starts_anew(folder):
    train_script.main(["--config", "tiny.yaml", "--overwrite", "--schedule.cooldown_epochs", "0"])
    assert read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "last.ckpt").progress["step"] == 6
    assert len((folder / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()) == 6


FULL_RECIPE = [
    *("--data.rand_augment", "rand-m9-mstd0.5-inc1", "--data.erase_prob", "0.25", "--data.mixup", "0.8"),
    *("--data.cutmix", "1.0", "--data.repeats", "3", "--model.drop_path_rate", "0.2", "--model.drop_rate", "0.1"),
    *("--train.ema_decay", "0.99", "--train.ema_warmup", "true", "--train.precision", "float16"),
    *(
        "--train.log_every",
        "50",
        "--train.accumulate",
        "2",
        "--train.loss_scale",
        "1e6",
        "--optimizer.clip_norm",
        "1.0",
    ),
]


@pytest.fixture(scope="module")
def uninterrupted(finished):
    """The last checkpoint of a run with the full recipe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        train_script.main(["--config", "tiny.yaml", "--output", "whole", *FULL_RECIPE])
    return read_checkpoint(finished / "whole" / "tiny" / "checkpoints" / "last.ckpt")


def end_after_step(patch, step, action):
    """Does `action` when the run has done `step` steps."""
    check_finite = Training._check_finite

    def check_and_act(self, loss):
        check_finite(self, loss)
        if self.step == step:
            action()

    patch.setattr(Training, "_check_finite", check_and_act)


def power_failure():
    raise BrokenPipeError


def sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "step,action,saved,ahead",
    [pytest.param(2, sigterm, 2, 1, marks=pytest.mark.slow), (3, sigterm, 3, 0), (5, power_failure, 4, 2)],
)
def test_resume_gives_the_same_bits(folder, uninterrupted, step, action, saved, ahead):
    """Stopped in the middle of an epoch, at its end, and without a chance to save; batches copied ahead or not."""
    options = ["--config", "tiny.yaml", "--output", "parts", *FULL_RECIPE, "--train.save_every", "2"]
    options += ["--data.prefetch_to_device", str(ahead)]
    with pytest.MonkeyPatch.context() as patch:
        end_after_step(patch, step, action)
        with pytest.raises((Stopped, BrokenPipeError)):
            train_script.main(options)
    assert read_checkpoint(folder / "parts" / "tiny" / "checkpoints" / "last.ckpt").progress["step"] == saved
    train_script.main([*options, "--resume"])
    resumed = read_checkpoint(folder / "parts" / "tiny" / "checkpoints" / "last.ckpt")
    assert resumed.progress["step"] == uninterrupted.progress["step"] == 9
    assert resumed.progress["best_score"] == uninterrupted.progress["best_score"]
    assert 0 < uninterrupted.state["skipped_steps"] < 9
    for part in ("weights", "state"):
        values, expected = getattr(resumed, part), getattr(uninterrupted, part)
        assert values.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(values[name], value, err_msg=name)
    of_parts, of_whole = (told_by(folder / name / "tiny") for name in ("parts", "whole"))
    assert of_parts == of_whole  # also the average loss over steps before and after the stop
    assert [entry["step"] for entry in of_parts if "ema_top1" in entry] == [3, 6, 9]


def told_by(run_folder):
    """Entries of metrics.jsonl without times."""
    entries = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in e.items() if k not in ("images_per_second", "data_wait")} for e in entries]


def test_evaluation_that_a_stop_interrupted_is_made_up(folder):
    options = ["--config", "tiny.yaml", "--output", "parts"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.engine.training.evaluate", lambda *arguments: sigterm() or arguments[-1](1))
        with pytest.raises(Stopped):
            train_script.main(options)
    train_script.main([*options, "--resume"])
    entries = [json.loads(line) for line in (folder / "parts" / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if entry["kind"] == "eval"] == [3, 6, 9]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(folder, capsys):
    checkpoints = folder / "runs" / "tiny" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt", "step_000000006.ckpt"]
    last = checkpoints / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.chmod(0o600)
    last.write_bytes(content)
    train_script.main(["--config", "tiny.yaml", "--resume"])
    out = capsys.readouterr().out
    assert "last.ckpt is not a readable MindSpore checkpoint" in out and "taking the one before it" in out
    assert "resuming from runs/tiny/checkpoints/step_000000006.ckpt after step 6" in out
    assert read_checkpoint(last).progress["step"] == 9


def test_a_checkpoint_that_lost_its_end_is_passed_over(folder, capsys):
    last = folder / "runs" / "tiny" / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    last.chmod(0o600)
    last.write_bytes(content[:-17])  # without its checksum it still is what MindSpore reads
    train_script.main(["--config", "tiny.yaml", "--resume"])
    assert "last.ckpt has lost its end; taking the one before it" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_loaded_now_is_not_passed_over(folder, monkeypatch):
    def fail(*args):
        raise MemoryError

    monkeypatch.setattr("src.weights.checkpoint_file._read", fail)
    with pytest.raises(
        TemporaryError, match="cannot read the checkpoint .*last.ckpt: its .* bytes do not fit into the m"
    ):
        train_script.main(["--config", "tiny.yaml", "--resume"])


def test_the_best_score_outlives_a_lost_record(folder):
    (folder / "runs" / "tiny" / "metrics.jsonl").unlink()
    best = read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "best.ckpt").progress["best_score"]
    config = load_config("tiny.yaml")
    assert best > 0 and Training(config, RunFolder(config.output, "tiny"), resume="auto").best_score == best


def test_a_disk_that_is_full_ends_a_run_in_one_line(folder, capsys, monkeypatch):
    fsync = os.fsync

    def fail(descriptor):
        if Path("full/tiny/metrics.jsonl").exists():
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    code, err, _ = run(train_script.main, ["--config", "tiny.yaml", "--output", "full"], capsys)
    assert code == 75 and err.startswith("error: cannot write the run's folder full/tiny: ") and err.count("\n") == 1


def start_on_terminal(*argv):
    """train.py with a terminal of its own, and the terminal's other end."""
    master, slave = pty.openpty()

    def lead():
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and so would train.py
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    script = [sys.executable, train_script.__file__, *argv]
    process = subprocess.Popen(script, stdin=slave, stdout=slave, stderr=slave, preexec_fn=lead)
    os.close(slave)
    return process, master


@pytest.mark.parametrize("how,code", [("twice", 143), ("ctrl_c", 130), ("closed", 129)])
def test_signals_in_a_row_and_a_closed_terminal_save_the_run(folder, how, code):
    options = ["--config", "tiny.yaml", "--output", "stopped", "--schedule.epochs", "10000", "--train.log_every", "1"]
    process, master = start_on_terminal(*options)
    metrics = folder / "stopped" / "tiny" / "metrics.jsonl"
    told = b""
    while not metrics.exists():  # it trains
        told += os.read(master, 10000)
    if how == "closed":
        os.close(master)
    else:
        for _ in range(2):
            if how == "ctrl_c":
                os.write(master, b"\x03")
            else:
                process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        with suppress(OSError):  # which is how a terminal ends
            while part := os.read(master, 10000):
                told += part
        os.close(master)
        assert f"stopped by {signal.Signals(code - 128).name}".encode() in told and b"Traceback" not in told
    try:
        assert process.wait(60) == code
    finally:
        process.kill()
    assert "last.ckpt holds it: go on with --resume" in (metrics.parent / "train.log").read_text().splitlines()[-1]
    assert read_checkpoint(metrics.parent / "checkpoints" / "last.ckpt").state


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_folder_that_is_gone_ends_the_run(folder, capsys, how):
    """It must not come back half, nor be mixed with the run that took its place."""

    def take_away():
        shutil.rmtree("gone/tiny")
        if how == "replaced":
            RunFolder("gone", "tiny").start("another: run", {}, False)

    with pytest.MonkeyPatch.context() as patch:
        end_after_step(patch, 3, take_away)
        code, err, _ = run(train_script.main, ["--config", "tiny.yaml", "--output", "gone"], capsys)
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("error: the run's folder gone/tiny was deleted, moved or replaced while the run trained")
    expected = {"deleted": [], "replaced": ["config.yaml", "environment.json"]}[how]
    assert sorted(path.name for path in Path("gone").rglob("*") if path.is_file()) == expected


def test_a_changed_configuration_is_refused_unless_allowed(folder):
    longer = ["--config", "tiny.yaml", "--resume", "--schedule.cooldown_epochs", "2"]
    with pytest.raises(UserError, match=r"last.ckpt \(schedule.cooldown_epochs: 1, now 2\): .*allow_changes"):
        train_script.main(longer)
    train_script.main([*longer, "--allow_changes", "--train.log_every", "1"])
    assert read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "last.ckpt").progress["step"] == 12


def test_two_runs_in_one_folder_are_refused(folder):
    with (
        RunFolder("runs", "tiny").locked(),
        pytest.raises(UserError, match="another process is training into"),
    ):
        train_script.main(["--config", "tiny.yaml", "--overwrite"])


def test_resuming_a_finished_run_changes_nothing(folder, capsys):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "train.log"}
    assert train_script.main(["--config", "tiny.yaml", "--resume"]) is None
    assert "it has finished 3 of 3 epochs, nothing is left to do; raise schedule.epochs" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


def test_resume_refusals(folder):
    with pytest.raises(UserError, match="none.ckpt does not exist"):
        train_script.main(["--config", "tiny.yaml", "--resume", "none.ckpt"])
    best = "runs/tiny/checkpoints/best.ckpt"
    with pytest.raises(UserError, match="holds weights only"):
        train_script.main(["--config", "tiny.yaml", "--resume", best])


@pytest.mark.parametrize("save_every", ["null", "1"])
def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_nothing_diverged(folder, save_every):
    """With a checkpoint after each step the weights that give the bad loss have been saved: they are taken back."""
    with pytest.MonkeyPatch.context() as patch:
        diverge_after(patch, 1, "huge")
        with pytest.raises(UserError, match=r"the loss is (nan|inf) at step 2 \(epoch 1\)") as error:
            train_script.main(["--config", "tiny.yaml", "--output", "nan", "--train.save_every", save_every])
    assert "The last checkpoint" not in str(error.value)
    assert not list((folder / "nan" / "tiny").rglob("*.ckpt"))


VALUES = {"weights": np.nan, "huge": 3e38}


def diverge_after(patch, step, how):
    """The step's weights, or what the network gives with them, are not finite from here on."""

    def act(self, loss):
        check_finite(self, loss)
        if self.step >= step and how in VALUES:
            self.net.head.weight.set_data(ms.Tensor(np.full(self.net.head.weight.shape, VALUES[how], np.float32)))

    def add(self, logits, truth, num_valid):
        training = next(keepers)
        return counter_add(self, logits * (np.nan if training else 1.0), truth, num_valid)

    check_finite, counter_add = Training._check_finite, ClassificationScorer.add
    keepers = (number >= 2 * step for number in itertools.count())
    if how in VALUES:
        patch.setattr(Training, "_check_finite", act)
    else:
        patch.setattr(ClassificationScorer, "add", add)


@pytest.mark.parametrize("how,keep", [("weights", "2"), ("outputs", "1")])
def test_a_diverged_run_keeps_its_last_good_checkpoint(folder, how, keep):
    """Three batches of evaluation and three steps an epoch; what step 6 leaves is bad."""
    options = ["--config", "tiny.yaml", "--output", "bad", "--train.keep_checkpoints", keep]
    with pytest.MonkeyPatch.context() as patch:
        diverge_after(patch, {"weights": 6, "outputs": 2}[how], how)
        with pytest.raises(UserError, match="after step 6.* The last checkpoint before it is .*last.ckpt, of step 3$"):
            train_script.main(options)
    checkpoints = folder / "bad" / "tiny" / "checkpoints"
    last, best = (read_checkpoint(checkpoints / f"{name}.ckpt") for name in ("last", "best"))
    assert last.progress["step"] == best.progress["step"] == 3
    assert all(np.isfinite(value).all() for value in (*last.weights.values(), *last.state.values()))
    json_is_json(folder / "bad" / "tiny" / "metrics.jsonl")
    train_script.main([*options, "--resume"])
    assert read_checkpoint(checkpoints / "last.ckpt").progress["step"] == 9


def json_is_json(path):
    def refuse(constant):
        raise AssertionError(constant)

    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_network_of_nan_has_no_score(folder, capsys):
    """NaN ranks class 0 first, which would be 10 %."""
    content = read_checkpoint("runs/tiny/checkpoints/best.ckpt")
    net = create_network(content.card)
    net.head.bias.set_data(ms.Tensor(np.full(10, np.nan, np.float32)))
    save_checkpoint("nan.ckpt", net.get_parameters(), content.card)
    argv = ["--config", "tiny.yaml", "--checkpoint", "nan.ckpt", "--json", "scores.json"]
    code, err, out = run(eval_script.main, argv, capsys)
    assert code == 2 and err.count("\n") == 1 and "top-1" not in out and not (folder / "scores.json").exists()
    assert "not finite for 48 of 48 images, the first is image 0 of the split val, counted from 0" in err


def test_returning_to_an_earlier_checkpoint_returns_to_its_best(folder, capsys):
    """The best of the steps that are given up would stay as best.ckpt, under a score that is another one's."""
    run_folder = folder / "runs" / "tiny"
    options = ["--config", "tiny.yaml", "--allow_changes", "--schedule.cooldown_epochs", "2"]
    step_6 = "runs/tiny/checkpoints/step_000000006.ckpt"
    best_then = max(e["top1"] for e in evaluations(run_folder) if e["step"] <= 6)
    later = read_checkpoint(run_folder / "checkpoints" / "best.ckpt")
    net = create_network(later.card)
    save_checkpoint(
        run_folder / "checkpoints" / "best.ckpt", net.get_parameters(), later.card, (), {"step": 9, "best_score": 100.0}
    )
    with pytest.MonkeyPatch.context() as patch:
        end_after_step(patch, 7, sigterm)
        with pytest.raises(Stopped):
            train_script.main([*options, "--resume", step_6])
    out = capsys.readouterr().out
    assert "removed runs/tiny/checkpoints/best.ckpt, which is of a step that this run no longer has" in out
    best = read_checkpoint(run_folder / "checkpoints" / "best.ckpt")  # of step 6, evaluated again
    assert best.progress["step"] == 6 and best.progress["best_score"] <= best_then
    assert [e["step"] for e in evaluations(run_folder)] == [3, 6]
    train_script.main([*options, "--resume"])
    best = read_checkpoint(run_folder / "checkpoints" / "best.ckpt")
    assert f"best top-1 {best.progress['best_score']:.2f} %" in capsys.readouterr().out
    eval_script.main(["--config", "tiny.yaml", "--json", "scores.json"])
    assert json.loads((folder / "scores.json").read_text())["top1"] == best.progress["best_score"]


def evaluations(run_folder):
    entries = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["kind"] == "eval"]


def test_a_run_that_goes_on_elsewhere_is_there_from_its_start(folder, uninterrupted, capsys):
    """Stopped in its first evaluation, it must not name a checkpoint that it never wrote; nor save the averages, which
    the network has at that moment, as weights."""
    options = ["--config", "tiny.yaml", "--output", "other", *FULL_RECIPE]
    calls = itertools.count(1)

    def stop_in_the_second(*arguments):
        if next(calls) == 2:
            sigterm()
        return evaluate(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.engine.training.evaluate", stop_in_the_second)
        with pytest.raises(Stopped):
            train_script.main([*options, "--resume", "whole/tiny/checkpoints/step_000000006.ckpt"])
    assert "stopped by SIGTERM after step 6; other/tiny/checkpoints/last.ckpt holds it" in capsys.readouterr().out
    saved = read_checkpoint("other/tiny/checkpoints/last.ckpt")
    expected = read_checkpoint("whole/tiny/checkpoints/step_000000006.ckpt")
    for part in ("weights", "state"):
        for name, value in getattr(expected, part).items():
            np.testing.assert_array_equal(getattr(saved, part)[name], value)
    train_script.main([*options, "--resume"])
    assert "resuming from other/tiny/checkpoints/last.ckpt after step 6" in capsys.readouterr().out
    resumed = read_checkpoint("other/tiny/checkpoints/last.ckpt")
    for name, value in uninterrupted.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)


def test_init_from_another_run(folder):
    """Another image size, the same classes; frozen parameters stay at the start's values."""
    start = read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "best.ckpt")
    options = ["--init_from", "runs/tiny/checkpoints/best.ckpt", "--model.image_size", "32", "--output", "tuned"]
    options += ["--freeze", "blocks.*", "cls_token", "--optimizer.layer_decay", "0.5", "--optimizer.name", "sgd"]
    train_script.main(["--config", "tiny.yaml", *options])
    log = (folder / "tuned" / "tiny" / "train.log").read_text()
    assert "resized outer_pos: (1, 2, 16) to (1, 5, 16)" in log and "parameters that match blocks.*" in log
    tuned = read_checkpoint(folder / "tuned" / "tiny" / "checkpoints" / "last.ckpt")
    for name, value in start.weights.items():
        if name.startswith("blocks."):
            np.testing.assert_array_equal(tuned.weights[name], value)
    assert np.abs(tuned.weights["head.weight"] - start.weights["head.weight"]).max() > 0
    for more in (["--output", "fresh"], ["--resume"]):
        with pytest.raises(UserError, match="init_from: checkpoint none.ckpt does not exist"):
            train_script.main(["--config", "tiny.yaml", "--init_from", "none.ckpt", *more])


def test_resume_before_the_first_checkpoint_starts_anew(folder, capsys):
    (folder / "early" / "tiny").mkdir(parents=True)
    (folder / "early" / "tiny" / "metrics.jsonl").write_text('{"kind": "train"}\n')
    train_script.main(["--config", "tiny.yaml", "--output", "early", "--schedule.epochs", "1", "--resume"])
    assert "--resume: there is no checkpoint in early/tiny/checkpoints to go on from, training starts anew" in (
        capsys.readouterr().out
    )
    assert '"kind": "train"}' not in (folder / "early" / "tiny" / "metrics.jsonl").read_text()


def test_profile(folder):
    train_script.main(["--config", "tiny.yaml", "--output", "profiled", "--schedule.epochs", "1", "--profile"])
    assert any((folder / "profiled" / "tiny" / "profile").rglob("*.csv"))


def test_evaluation_counts_every_image_once(folder, capsys):
    options = ["--config", "tiny.yaml", "--limit_batches", "null", "--train.batch_size", "100", "--json", "scores.json"]
    eval_script.main(options)
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["images"] == 360  # the last of four batches is not full
    assert f"top-1 {scores['top1']:.2f} %" in capsys.readouterr().out


def run(main, argv, capsys):
    """Exit code and stderr of a command."""
    with pytest.raises(SystemExit) as end:
        run_command(lambda: main(argv))
    captured = capsys.readouterr()
    return end.value.code, captured.err, captured.out


@pytest.mark.parametrize("kind", ["missing", "truncated", "foreign", "other network"])
def test_wrong_checkpoints_end_in_one_line_and_no_number(folder, capsys, kind):
    best = folder / "runs" / "tiny" / "checkpoints" / "best.ckpt"
    argv = ["--config", "tiny.yaml", "--checkpoint", "given.ckpt"]
    if kind == "truncated":
        (folder / "given.ckpt").write_bytes(best.read_bytes()[:-50])
    elif kind == "foreign":
        (folder / "given.ckpt").write_bytes(b"PK\x03\x04 something else")
    elif kind == "other network":
        shutil.copy(best, folder / "given.ckpt")
        argv += ["--model.structure.outer_dim", "32"]
    code, err, out = run(eval_script.main, argv, capsys)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and "given.ckpt" in err
    assert "top-1" not in out


@pytest.mark.parametrize(
    "argv,message",
    [
        (["--device", "GPU"], "device GPU is not available"),
        (["--model.name", "tnt_m_patch16_224"], "unknown model 'tnt_m_patch16_224'"),
        (["--model.structure.dept", "2"], "no argument 'dept'; did you mean depth"),
        (["--model.image_size", "20"], "multiples of 16"),
        (["--model.structure.image_size", "32"], "model.structure.image_size: give it as model.image_size"),
        (["--model.num_classes", "7"], "model.num_classes is 7, but the data has 10 classes"),
        (["--train.batch_size", "2000"], "fewer than one batch of 2000"),
        (["--data", "nowhere"], "nowhere"),
        (["--output", "/proc/nowhere"], "cannot write the run's folder"),
    ],
)
def test_wrong_input_ends_in_one_line(folder, capsys, argv, message):
    code, err, _ = run(train_script.main, ["--config", "tiny.yaml", "--output", "fresh", *argv], capsys)
    assert code == 2 and message in err and err.count("\n") == 1
    assert not (folder / "fresh").exists()
