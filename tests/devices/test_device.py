"""Device set-up."""

import os
from pathlib import Path

import pytest

from src.devices import device as device_module
from src.devices.device import set_up_device
from src.errors import UserError
from src.layers.cpu_kernels import KernelLibrary


@pytest.fixture(autouse=True)
def kernels_are_there(monkeypatch):
    monkeypatch.setattr(device_module, "kernel_library", lambda: KernelLibrary(Path("kernels.so")))
    monkeypatch.setattr(device_module, "shortcoming", lambda: None)


@pytest.mark.parametrize(
    "has_avx512,uses_convolution,expected", [(True, True, "AVX2"), (True, False, None), (False, True, None)]
)
def test_convolutions_are_capped_to_avx2_only_where_that_helps(monkeypatch, has_avx512, uses_convolution, expected):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(device_module, "has_avx512", lambda: has_avx512)
    lines = set_up_device("CPU", 1, uses_convolution)
    assert os.environ.pop("ONEDNN_MAX_CPU_ISA", None) == expected
    assert lines[0].startswith("device CPU") and (len(lines) == 2) == (expected is not None)


def test_a_users_own_setting_stays(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX")
    monkeypatch.setattr(device_module, "has_avx512", lambda: True)
    assert len(set_up_device("CPU", 1, True)) == 1
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX"


def test_missing_kernels_are_told(monkeypatch):
    monkeypatch.setattr(device_module, "kernel_library", lambda: KernelLibrary(None, "there is no compiler"))
    assert set_up_device("CPU", 1, False)[1:] == [KernelLibrary(None, "there is no compiler").shortcoming()]


def test_images_prepared_more_slowly_are_told(monkeypatch):
    monkeypatch.setattr(device_module, "shortcoming", lambda: "a line")
    assert set_up_device("CPU", 1, False)[1:] == ["a line"]


def test_the_default_is_what_is_there():
    assert "device CPU" in set_up_device(None, 1, False)[0]


def test_an_absent_device_is_refused():
    with pytest.raises(UserError, match="device Ascend is not available .*; available: CPU"):
        set_up_device("Ascend", 1, False)
