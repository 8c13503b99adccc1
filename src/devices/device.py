"""Chooses the device, the execution mode and the settings that must be in place before the first operator."""

import os

import mindspore as ms

from ..data.resampling import shortcoming
from ..errors import UserError
from ..layers.conv import ISA
from ..layers.cpu_kernels import has_avx512, kernel_library

DEVICES = ("Ascend", "GPU", "CPU")

RECURSION_LIMIT = 10000
"""MindSpore unrolls a loop over parameters as nested calls, of which it allows 1,000 otherwise."""


def set_up_device(device: str | None = None, seed: int | None = None, uses_convolution: bool = True) -> list[str]:
    """Graph mode on `device`. Call once, before a network is built.

    Args:
        device: 'CPU', 'GPU' or 'Ascend'; None takes the first of Ascend, GPU, CPU that is there.
        seed: of initial weights and dropout; None leaves random numbers alone.
        uses_convolution: whether graphs hold MindSpore's convolutions.

    Returns:
        What was set, as lines for the log; the first names the device.

    Raises:
        UserError: the device is not there.
    """
    if device is None:
        device = next(name for name in DEVICES if ms.hal.is_available(name))
    elif not ms.hal.is_available(device):
        there = ", ".join(name for name in DEVICES if ms.hal.is_available(name))
        raise UserError(f"device {device} is not available to MindSpore {ms.__version__} here; available: {there}")
    lines = [f"device {device}, MindSpore {ms.__version__}"]
    if device == "CPU" and uses_convolution and has_avx512() and ISA not in os.environ:
        # with AVX-512, oneDNN 3.10 in MindSpore 2.10 falls back to its reference convolution, 20 to 120 times slower
        os.environ[ISA] = "AVX2"
        lines.append(f"set {ISA}=AVX2: convolutions are 20 to 120 times faster on this CPU")
    if device == "CPU" and (line := kernel_library().shortcoming()):
        lines.append(line)
    if line := shortcoming():
        lines.append(line)
    ms.set_context(mode=ms.GRAPH_MODE)
    if current_device() != device:  # MindSpore refuses any choice, even the same, once an operator has run
        ms.set_device(device)
    if seed is not None:
        ms.set_seed(seed)
    ms.set_recursion_limit(RECURSION_LIMIT)
    return lines


def current_device() -> str:
    """The device that operators run on."""
    return ms.get_context("device_target")
