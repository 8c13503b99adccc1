"""Random decisions on the device against the same on the CPU of the same machine, bit by bit."""

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from src.detection.matcher import Matcher
from src.detection.region_sampling import RegionSampling
from src.devices.device import set_up_device
from src.layers.drop_path import DropPath
from src.layers.dropout import Dropout
from src.layers.random_mask import mask_state, number_masks, step_key
from src.models import create_model

from .check import Check, Measurement, Part, module_environment

KEYS = (12345, -987654321, 2**31 - 1)


def draw() -> dict[str, dict[str, np.ndarray]]:
    """What is decided at random, on the device that is set up: name of the part -> arrays."""
    return {
        "stochastic depth": _masks(DropPath(0.6), 16, 1),
        "dropout": _masks(Dropout(0.3), 16, 24),
        "dropout of one row": _masks(Dropout(0.3), 1, 24),
        "keys of steps": _keys(),
        "regions to train on": _regions(),
        "initial weights": _weights(),
    }


def _masks(layer: nn.Cell, rows: int, columns: int) -> dict[str, np.ndarray]:
    number_masks(nn.CellList([Dropout(0.5), layer]))
    layer.set_train()
    found = {}
    for key in KEYS:
        ops.assign(mask_state, Tensor(np.array([key, 0, 1, rows], np.int32)))
        found[str(key)] = layer(Tensor(np.ones((rows, columns), np.float32))).asnumpy() > 0
    return found


def _keys() -> dict[str, np.ndarray]:
    steps = (0, 1, 77, 400_000)
    found = [int(step_key(seed, Tensor(step, mstype.int32)).asnumpy()) for seed in (0, 3, 2**31 - 1) for step in steps]
    return {"keys": np.array(found)}


def _regions() -> dict[str, np.ndarray]:
    corner = np.random.RandomState(0).randint(0, 80, (2, 300, 2)).astype(np.float32)
    candidates = np.concatenate([corner, corner + 24], -1)
    objects = candidates[:, :5] + 4
    sampling = RegionSampling(Matcher(0.5, 0.5, 0.5, False), 64)
    arrays = candidates, np.ones((2, 300), bool), objects, np.ones((2, 5), bool), np.array([1, -7], np.int32)
    regions, found, drawn, _ = sampling(*map(Tensor, arrays))
    return {"regions": regions.asnumpy(), "objects": found.asnumpy(), "drawn": drawn.asnumpy()}


def _weights() -> dict[str, np.ndarray]:
    ms.set_seed(0)
    net = create_model("tnt_ti_patch16_224", image_size=32, depth=1)
    return {name: parameter.asnumpy() for name, parameter in net.parameters_dict().items()}


@functools.cache
def _on_cpu() -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "drawn.npz")
        command = [sys.executable, "-m", "benchmarks.device_checks.randomness", str(file)]
        subprocess.run(command, cwd=folder, env=module_environment(), check=True, capture_output=True)
        with np.load(file) as arrays:
            return dict(arrays)


@functools.cache
def _on_device() -> dict[str, dict[str, np.ndarray]]:
    return draw()


def _compare(name: str) -> Measurement:
    found, expected = _on_device()[name], _on_cpu()
    wrong = [key for key, array in found.items() if not np.array_equal(array, expected[f"{name}/{key}"])]
    return Measurement(float(len(wrong)), 0.0, f"differs: {', '.join(wrong[:3])}" if wrong else "")


def _parts(device: str, quick: bool) -> dict[str, Part]:
    names = ("stochastic depth", "dropout", "dropout of one row", "keys of steps", "regions to train on")
    return {name: lambda name=name: _compare(name) for name in (*names, "initial weights")}


CHECKS = {"randomness": Check("masks, sampling and initial weights, to the bit against the CPU's", _parts, 180)}


if __name__ == "__main__":
    set_up_device("CPU", seed=0)
    np.savez(sys.argv[1], **{f"{part}/{name}": a for part, arrays in draw().items() for name, a in arrays.items()})
