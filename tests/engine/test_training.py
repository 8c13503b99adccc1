"""train.py and eval.py as a user runs them, on a tiny network and a few digits."""

import json
import os
import shutil
import signal
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

import eval as eval_script
import train as train_script
from src.checkpoint import read_checkpoint
from src.config import load_config
from src.engine.command import run_command
from src.engine.run_folder import RunFolder
from src.engine.stop_request import Stopped
from src.engine.training import Training
from src.errors import TemporaryError, UserError

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
    assert "step 9/9, epoch 3.00, loss" in log and "images/s" in log and "0:00:00 left" in log
    last, best = (read_checkpoint(run / "checkpoints" / f"{name}.ckpt") for name in ("last", "best"))
    assert last.progress["step"] == 9 and "adam_m.head.weight" in last.state and not best.state
    assert best.card.classes == [str(d) for d in range(10)]


def test_a_second_start_is_refused_and_names_the_ways_out(folder):
    with pytest.raises(UserError, match="already holds a run: give --resume to continue it, --overwrite"):
        train_script.main(["--config", "tiny.yaml"])


def test_overwrite_starts_anew(folder):
    train_script.main(
        ["--config", "tiny.yaml", "--overwrite", "--schedule.epochs", "1", "--schedule.cooldown_epochs", "0"]
    )
    assert read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "last.ckpt").progress["step"] == 3
    assert len((folder / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()) == 3


FULL_RECIPE = [
    *("--data.rand_augment", "rand-m9-mstd0.5-inc1", "--data.erase_prob", "0.25", "--data.mixup", "0.8"),
    *("--data.cutmix", "1.0", "--data.repeats", "3", "--model.drop_path_rate", "0.2", "--model.drop_rate", "0.1"),
    *("--train.ema_decay", "0.99", "--train.ema_warmup", "true", "--train.precision", "float16"),
    *("--train.accumulate", "2", "--train.loss_scale", "1e6", "--optimizer.clip_norm", "1.0"),
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


@pytest.mark.parametrize("step,action,saved", [(2, sigterm, 2), (3, sigterm, 3), (5, power_failure, 4)])
def test_resume_gives_the_same_bits(folder, uninterrupted, step, action, saved):
    """Stopped in the middle of an epoch, at its end, and without a chance to save."""
    options = ["--config", "tiny.yaml", "--output", "parts", *FULL_RECIPE, "--train.save_every", "2"]
    with pytest.MonkeyPatch.context() as patch:
        end_after_step(patch, step, action)
        with pytest.raises((Stopped, BrokenPipeError)):
            train_script.main(options)
    assert read_checkpoint(folder / "parts" / "tiny" / "checkpoints" / "last.ckpt").progress["step"] == saved
    train_script.main([*options, "--resume"])
    resumed = read_checkpoint(folder / "parts" / "tiny" / "checkpoints" / "last.ckpt")
    assert resumed.progress["step"] == uninterrupted.progress["step"] == 9
    assert resumed.progress["best_top1"] == uninterrupted.progress["best_top1"]
    assert 0 < uninterrupted.state["skipped_steps"] < 9
    for part in ("weights", "state"):
        values, expected = getattr(resumed, part), getattr(uninterrupted, part)
        assert values.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(values[name], value, err_msg=name)
    entries = [json.loads(line) for line in (folder / "parts" / "tiny" / "metrics.jsonl").read_text().splitlines()]
    steps = [entry["step"] for entry in entries if entry["kind"] == "eval"]
    assert steps == [3, 6, 9] and "ema_top1" in entries[-1]


def test_evaluation_that_a_stop_interrupted_is_made_up(folder):
    options = ["--config", "tiny.yaml", "--output", "parts"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.engine.training.evaluate", lambda *arguments: sigterm() or next(arguments[1]))
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
    def fail(*args, **kwargs):
        raise ValueError("not enough memory")

    monkeypatch.setattr(ms, "load_checkpoint", fail)
    with pytest.raises(TemporaryError, match="last.ckpt, which is not damaged: not enough memory"):
        train_script.main(["--config", "tiny.yaml", "--resume"])


def test_the_best_score_outlives_a_lost_record(folder):
    (folder / "runs" / "tiny" / "metrics.jsonl").unlink()
    best = read_checkpoint(folder / "runs" / "tiny" / "checkpoints" / "last.ckpt").progress["best_top1"]
    config = load_config("tiny.yaml")
    assert best > 0 and Training(config, RunFolder(config.output, "tiny"), resume="auto").best_top1 == best


def test_a_disk_that_is_full_ends_a_run_in_one_line(folder, capsys, monkeypatch):
    fsync = os.fsync

    def fail(descriptor):
        if Path("full/tiny/metrics.jsonl").exists():
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    code, err, _ = run(train_script.main, ["--config", "tiny.yaml", "--output", "full"], capsys)
    assert code == 75 and err.startswith("error: cannot write the run's folder full/tiny: ") and err.count("\n") == 1


def test_a_changed_configuration_is_refused_unless_allowed(folder):
    longer = ["--config", "tiny.yaml", "--resume", "--schedule.epochs", "3"]
    with pytest.raises(UserError, match=r"last.ckpt \(schedule.epochs: 2, now 3\): .*allow_changes"):
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


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(folder):
    options = ["--output", "nan", "--optimizer.lr", "1e30", "--schedule.warmup_epochs", "0"]
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step [23] \(epoch 1\)"):
        train_script.main(["--config", "tiny.yaml", *options])
    assert not (folder / "nan" / "tiny" / "checkpoints" / "last.ckpt").exists()


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


def test_resume_before_the_first_checkpoint_starts_anew(folder):
    (folder / "early" / "tiny").mkdir(parents=True)
    (folder / "early" / "tiny" / "metrics.jsonl").write_text('{"kind": "train"}\n')
    train_script.main(["--config", "tiny.yaml", "--output", "early", "--schedule.epochs", "1", "--resume"])
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
