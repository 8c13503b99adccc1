"""How fast the device is: facts, which nothing is held against."""

import statistics
import time

import mindspore as ms

from benchmarks.step_time import WARM_UP_STEPS, build, measure
from src.devices.device import current_device
from src.engine.prefetch import on_device
from src.rule import Precision

from .check import Check, Measurement, Part

NETWORKS = {"tnt_s_patch16_224": 128, "ptnt_s_patch16_256": 128, "t2t_vit_14": 128, "retinanet_ptnt_s": 4}
"""Name -> images a step on an accelerator."""

ON_CPU = 1
STEPS = 10


def _timed(name: str, kind: str, batch: int, precision: Precision) -> Measurement:
    if current_device() != "CPU":
        ms.hal.reset_peak_memory_stats()
    steps = STEPS if batch > 1 else 3
    found = measure(kind, name, {}, batch, steps, 3, current_device(), precision)
    facts = {
        "batch_size": float(batch),
        "images_per_second": found.images_per_second,
        "compile_seconds": found.compile_seconds,
        "step_seconds": found.step_seconds,
    }
    if current_device() != "CPU":
        facts["device_memory_mib"] = ms.hal.max_memory_allocated() / 2**20
    return Measurement(note=f"{found.images_per_second:.1f} images/s at {batch} a step", facts=facts)


def fed(name: str, batch: int, precision: Precision, steps: int = STEPS) -> Measurement:
    """Training from batches that lie in the host's memory, copied while the step before runs and when they are due."""
    step, inputs, _ = build("training", name, {}, batch, current_device(), precision)
    batches = [[array.copy() for array in (x.asnumpy() for x in inputs)] for _ in range(2)]
    facts = {}
    for ahead in (0, 1, 0, 1):
        count = WARM_UP_STEPS + steps
        with on_device((batches[number % 2] for number in range(count)), count, ahead) as prepared:
            times = []
            for _ in range(count):
                since = time.perf_counter()
                step(*next(prepared)[0]).asnumpy()
                times.append(time.perf_counter() - since)
        key = f"step_seconds_{'copied_ahead' if ahead else 'copied_when_due'}"
        facts[key] = min(facts.get(key, float("inf")), statistics.median(times[WARM_UP_STEPS:]))
    ratio = facts["step_seconds_copied_when_due"] / facts["step_seconds_copied_ahead"]
    return Measurement(note=f"{ratio:.3f} times the steps a second by copying ahead", facts=facts)


def _parts(device: str, quick: bool) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for name, batch in NETWORKS.items():
        if device == "CPU" and name.startswith("retinanet"):
            continue  # minutes a step, and no yardstick
        size = ON_CPU if device == "CPU" else batch
        for kind in ("inference", "training"):
            for precision in ("float32",) if device == "CPU" else ("float32", "float16"):
                found[f"{name} {kind} {precision}"] = lambda n=name, k=kind, b=size, p=precision: _timed(n, k, b, p)
    if device != "CPU":
        name = "tnt_s_patch16_224"
        found[f"{name} copied ahead"] = lambda: fed(name, NETWORKS[name], "float16")
    return found


CHECKS = {"speed": Check("images a second, compile time, memory: facts only", _parts, 300, is_quick=False)}
