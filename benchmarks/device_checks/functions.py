"""Whole networks and parts of detectors against what the authors' code gave: the cases of tests/reference."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.cases import check, parts, two_stage
from benchmarks.cases import networks as detectors
from benchmarks.cases.case import Case as PartCase
from benchmarks.cases.case import Row
from src.compilation.mixed_precision import set_precision
from src.devices.device import current_device
from tests.parity import FOLDER, Case, gradient_rows, load_case, training_rows

from .check import Check, Measurement, Part, largest_difference

TINY = ("tiny_tnt", "tiny_tnt_se", "tiny_pyramid_tnt", "tiny_t2t_performer", "tiny_t2t_transformer")
PUBLISHED = ("tnt_s_patch16_224", "pyramid_tnt_s_256", "t2t_vit_14", "t2t_vit_t_14")
TIMES_OF_SHORT_PRODUCTS = 30
"""How much further float32 may be off where a device's products are of TF32 or HF32."""

HALF_BOUND = 3e-2
ON_THE_HOST = {"nms", "multiclass_nms"}
"""Kinds of cases that are arithmetic of NumPy."""


def forward(name: str, precision: str) -> Measurement:
    """The logits of a case of a classifier."""
    case = load_case(name)
    net = case.build()
    set_precision(net, precision, current_device())
    expected = case.arrays["logits"]
    logits = net(case.images()).asnumpy().astype(np.float32)
    if precision != "float32":
        return Measurement(largest_difference(logits, expected), HALF_BOUND)
    return _judge([Row("logits", float(np.abs(logits - expected).max()), 1e-4)])


def _judge(rows: Iterator[Row] | list[Row]) -> Measurement:
    """The row that is nearest to its bound, or furthest beyond."""
    rows = list(rows)
    worst = max(rows, key=lambda row: row.difference / row.bound if row.bound else np.inf * (row.difference > 0))
    note = "" if worst.holds else worst.name
    if not worst.holds and current_device() != "CPU" and worst.difference <= TIMES_OF_SHORT_PRODUCTS * worst.bound:
        note = f"{note}: as products of TF32 or HF32 give"
        return Measurement(float(worst.difference), float(TIMES_OF_SHORT_PRODUCTS * worst.bound), note)
    return Measurement(float(worst.difference), float(worst.bound), note)


def _of_rows(rows: Callable[[Case], Iterator[Row]], name: str) -> Part:
    return lambda: _judge(rows(load_case(name)))


def _outputs(device: str, quick: bool) -> dict[str, Part]:
    names = TINY[::2] if quick else (*TINY, *PUBLISHED)
    return {f"{name} {kind}": lambda n=name, k=kind: forward(n, k) for name in names for kind in _precisions(quick)}


def _precisions(quick: bool) -> tuple[str, ...]:
    if quick:
        return ("float32",)
    return ("float32", "float16", "bfloat16") if current_device() == "Ascend" else ("float32", "float16")


def _gradients(device: str, quick: bool) -> dict[str, Part]:
    return {name: _of_rows(gradient_rows, name) for name in (TINY[:1] if quick else (*TINY, f"{TINY[2]}_train_mode"))}


def _training(device: str, quick: bool) -> dict[str, Part]:
    return {name: _of_rows(training_rows, name) for name in TINY if "adamw" in load_case(name).meta}


def _detectors(device: str, quick: bool) -> dict[str, Part]:
    kinds = (parts.CHECKS | two_stage.CHECKS | detectors.CHECKS).keys() - ON_THE_HOST
    files = sorted(Path(FOLDER, "detection").glob("*.json"))
    files = [file for file in files if PartCase.read(file).meta["kind"] in kinds]
    return {file.stem: lambda file=file: _judge(check(PartCase.read(file))) for file in files}


CHECKS = {
    "outputs": Check("logits of the networks of each family, against the authors' code", _outputs, 120),
    "gradients": Check("losses and gradients of tiny networks, against the authors' code", _gradients, 180),
    "optimizer": Check("losses of ten steps of AdamW, against the authors' code", _training, 180, is_quick=False),
    "detectors": Check("parts of detectors and whole ones, against mmdetection", _detectors, 600, is_quick=False),
}
