"""Training on the device: the same losses by other ways of computing them, stopped and gone on, and the demos."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.config import load_config
from src.data.epoch_order import positions
from src.devices.device import current_device
from src.engine.from_config import create_train_step
from src.engine.prefetch import on_device
from src.engine.train_step import TrainStep
from src.tasks import create_task

from .check import Check, Measurement, NotApplicable, Part

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 4
BATCH = 8
DEMOS = {"tnt_digits": ("top1", 95.0), "ptnt_digits": ("top1", 97.0), "retinanet_scenes": ("ap50", 90.0)}
"""Configuration -> score and what it must reach, in percent."""


class Run:
    """A few steps of the small TNT of the demo on random images.

    Args:
        settings: 'section.key' -> value of the configuration.
    """

    def __init__(self, **settings: Any):
        self.step, self.shape = _create_step(settings)
        self.accumulate = settings.get("train.accumulate", 1)
        self.done, self._at_start = 0, self.state()

    def go_on(self, steps: int = STEPS, ahead: int = 0) -> list[float]:
        """The losses of further steps, with so many batches copied to the device ahead."""
        losses = []
        with on_device(self._batches(self.done), steps * self.accumulate, ahead) as prepared:
            for _ in range(steps):
                parts = [self.step(*next(prepared)[0]).asnumpy().item() for _ in range(self.accumulate)]
                losses.append(float(np.mean(parts)))
        self.done += steps
        return losses

    def _batches(self, step: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The micro-batches from a step on, in memory that is used again."""
        images = np.empty((BATCH // self.accumulate, *self.shape), np.float32)
        for number in count(step):
            draws = np.random.RandomState(number)
            of_step, labels = draws.standard_normal((BATCH, *self.shape)), draws.randint(0, 10, BATCH)
            for part in range(self.accumulate):
                rows = positions(part, self.accumulate, BATCH // self.accumulate, paired=False)
                images[:] = of_step[rows]
                yield images, labels[rows].astype(np.int32)

    def anew(self) -> "Run":
        """From the start again, by the same graph."""
        return self.load(self._at_start, 0)

    def state(self) -> dict[str, np.ndarray]:
        """All parameters of the training step by name."""
        return {name: parameter.asnumpy().copy() for name, parameter in self.step.parameters_dict().items()}

    def load(self, state: dict[str, np.ndarray], done: int) -> "Run":
        """Goes on from the state of a run after `done` steps."""
        for name, parameter in self.step.parameters_dict().items():
            parameter.set_data(Tensor(state[name]))
        self.done = done
        return self


def _create_step(settings: dict[str, Any]) -> tuple[TrainStep, tuple[int, ...]]:
    """The step, and the shape of an image."""
    ms.set_seed(0)
    config = load_config(REPOSITORY / "config/demo/tnt_digits.yaml")
    config.model.drop_path_rate, config.data.mixup, config.data.cutmix = 0.1, 0.0, 0.0
    for key, value in settings.items():
        section, name = key.split(".")
        setattr(getattr(config, section), name, value)
    config.train.batch_size = BATCH // config.train.accumulate
    task = create_task(config)
    task.open_without_data()
    net = task.create_network(for_training=True)
    net.set_train()
    step = create_train_step(config, task.create_losses(net), net, 1e-3)
    return step, task.example_batch(1)[0].shape[1:]


def _difference(losses: list[float], others: list[float]) -> float:
    return float(np.abs(np.subtract(losses, others)).max())


def repeated() -> Measurement:
    """Facts only: whether two runs are equal to the bit."""
    run = Run()
    losses, state = run.go_on(), run.state()
    same = losses == run.anew().go_on() and _same(state, run.state())
    return Measurement(note=f"two runs are {'equal' if same else 'not equal'} to the bit", facts={"same_bits": same})


def _same(state: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in state.items())


def stopped() -> Measurement:
    """Stopped in the middle and gone on, against not stopped: to the bit where two equal runs are."""
    run = Run()
    losses = run.go_on()
    is_exact = losses == run.anew().go_on()
    before = run.anew().go_on(STEPS // 2)
    after = Run().load(run.state(), STEPS // 2).go_on(STEPS - STEPS // 2)
    bound = 0.0 if is_exact else 1e-4
    note = "" if is_exact else "runs on this device are not equal to the bit, so this one need not be"
    return Measurement(_difference(losses, before + after), bound, note)


def accumulated() -> Measurement:
    """Two micro-batches a step against one batch."""
    return Measurement(_difference(Run().go_on(), Run(**{"train.accumulate": 2}).go_on()), 2e-4)


def copied_ahead() -> Measurement:
    """Batches copied to the device while the step before runs, against batches copied when they are due: to the bit
    where two equal runs are."""
    run = Run()
    losses = run.go_on()
    bound = 0.0 if losses == run.anew().go_on() else 1e-4
    return Measurement(_difference(losses, run.anew().go_on(ahead=2)), bound)


def in_half_precision() -> Measurement:
    """float16 with loss scaling against float32."""
    half = Run(**{"train.precision": "float16", "train.loss_scale": 1024.0})  # so that no step overflows
    return Measurement(_difference(Run().go_on(), half.go_on()), 3e-2)


def averaged() -> Measurement:
    """The moving average of the weights, against NumPy."""
    run = Run(**{"train.ema_decay": 0.9, "train.ema_warmup": False})
    averages: dict[str, np.ndarray] = {}
    for number in range(STEPS + 1):
        state = run.state()
        for name in (name for name in state if name.startswith("ema.")):
            weight = state[name.removeprefix("ema.")].astype(np.float64)
            averages[name] = weight if number == 0 else 0.9 * averages[name] + 0.1 * weight
        if number < STEPS:
            run.go_on(1)
    state = run.state()
    if not averages:
        raise AssertionError("the training step holds no averages")
    return Measurement(max(float(np.abs(state[name] - average).max()) for name, average in averages.items()), 1e-5)


def recomputed() -> Measurement:
    """Recomputed blocks against kept activations, and the memory of both."""
    losses, memory = [], []
    for recompute in (False, True):
        run = Run(**{"train.recompute": recompute})
        if current_device() != "CPU":
            ms.hal.reset_peak_memory_stats()
        losses.append(run.go_on())
        memory.append(0 if current_device() == "CPU" else ms.hal.max_memory_allocated())
    facts = {"kept_mib": memory[0] / 2**20, "recomputed_mib": memory[1] / 2**20} if memory[0] else {}
    return Measurement(_difference(*losses), 1e-4, facts=facts)


def flash_attention() -> Measurement:
    """Fused attention against the plain one."""
    if current_device() != "Ascend":
        raise NotApplicable("flash attention is for Ascend")
    settings = {"train.precision": "float16"}
    plain, fused = Run(**settings), Run(**settings, **{"train.flash_attention": True})
    return Measurement(_difference(plain.go_on(), fused.go_on()), 3e-2)


def run_script(script: str, *arguments: str, folder: str, seconds: int = 1500) -> str:
    """Runs a script of the repository in `folder`; returns what it printed.

    Raises:
        RuntimeError: it failed; the message is the last line that it printed.
    """
    command = [sys.executable, str(REPOSITORY / script), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise RuntimeError(f"{script} ended with {done.returncode}: {lines[-1]}")
    return done.stdout


def demo(name: str, device: str) -> Measurement:
    """Trains a demo to its end."""
    score, least = DEMOS[name]
    with tempfile.TemporaryDirectory() as folder:
        if name.endswith("scenes"):
            run_script("make_scenes.py", "output/scenes", "--size", "128", "--train", "5000", folder=folder)
        config = str(REPOSITORY / f"config/demo/{name}.yaml")
        run_script("train.py", "--config", config, "--device", device, folder=folder)
        metrics = next(Path(folder).rglob("metrics.jsonl"))
        entries = [json.loads(line) for line in metrics.read_text().splitlines()]
    evaluated = [entry for entry in entries if entry["kind"] == "eval"][-1]
    trained = [entry for entry in entries if entry["kind"] == "train"]
    found = evaluated[score]
    rates = [entry["images_per_second"] for entry in trained[1:]] or [0.0]
    waits = [entry["data_wait"] for entry in trained[1:]] or [0.0]
    facts = {score: found, "images_per_second": float(np.median(rates)), "data_wait_share": float(np.median(waits))}
    return Measurement(max(least - found, 0.0), 0.0, f"{score} {found:.2f}, at least {least:.0f} asked", facts)


def _parts(device: str, quick: bool) -> dict[str, Part]:
    short = {"stopped and resumed": stopped}
    if quick:
        return short
    return {
        "repeated": repeated,
        **short,
        "batches copied ahead": copied_ahead,
        "accumulation": accumulated,
        "float16 and loss scale": in_half_precision,
        "moving average": averaged,
        "recomputation": recomputed,
        "flash attention": flash_attention,
    }


def _demos(device: str, quick: bool) -> dict[str, Part]:
    return {name: lambda name=name: demo(name, device) for name in DEMOS}


CHECKS = {
    "training": Check("losses of a few steps by several ways of computing them", _parts, 240),
    "demos": Check("trained to the end, and the score it must reach", _demos, 1800, is_quick=False),
}
