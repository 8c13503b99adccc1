"""How fast the device is: facts, which nothing is held against."""

import mindspore as ms

from benchmarks.step_time import measure
from src.devices.device import current_device

from .check import Check, Measurement, Part

NETWORKS = {
    "tnt_s_patch16_224": (128, {}),
    "ptnt_s_patch16_256": (128, {}),
    "t2t_vit_14": (128, {}),
    "retinanet_ptnt_s": (4, {}),
}
"""Name -> images a step on an accelerator, arguments."""

ON_CPU = 1


def _timed(name: str, kind: str, batch: int) -> Measurement:
    if current_device() != "CPU":
        ms.hal.reset_peak_memory_stats()
    found = measure(kind, name, dict(NETWORKS[name][1]), batch, 10 if batch > 1 else 3, 3, current_device())
    facts = {
        "batch_size": float(batch),
        "images_per_second": found.images_per_second,
        "compile_seconds": found.compile_seconds,
        "step_seconds": found.step_seconds,
    }
    if current_device() != "CPU":
        facts["device_memory_mib"] = ms.hal.max_memory_allocated() / 2**20
    return Measurement(note=f"{found.images_per_second:.1f} images/s at {batch} a step", facts=facts)


def _parts(device: str, quick: bool) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for name, (batch, _) in NETWORKS.items():
        if device == "CPU" and name.startswith("retinanet"):
            continue  # minutes a step, and no yardstick
        size = ON_CPU if device == "CPU" else batch
        for kind in ("inference", "training"):
            found[f"{name} {kind}"] = lambda n=name, k=kind, b=size: _timed(n, k, b)
    return found


CHECKS = {"speed": Check("images a second, compile time, memory: facts only", _parts, 300, is_quick=False)}
