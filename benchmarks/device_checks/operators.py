"""Operators of the networks, losses and detectors, and their derivatives, against NumPy in float64.

A case calls one operator on shapes as they occur. Inputs are rounded to the type that is checked before both sides get
them. A derivative is compared along random directions: its product with the direction, against the difference quotient
of the NumPy function.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from .check import Check, Measurement, NotApplicable, Part, largest_difference
from .operator_cases import Case, cases

TYPES = {"float32": ms.float32, "float16": ms.float16, "bfloat16": ms.bfloat16}
BOUNDS = {"float32": 2e-5, "float16": 5e-3, "bfloat16": 4e-2}
SHORT_PRODUCTS = 2e-3
"""Bound of float32 products whose factors are rounded to 10 bits of mantissa, as TF32 and HF32 do."""

PRODUCTS = {"MatMul", "BatchMatMul", "Conv2D", "Conv2DTranspose", "Dense"}
DIRECTIONS = 3


class _Call(nn.Cell):
    def __init__(self, function: Callable[..., Any], constants: tuple[Any, ...]):
        super().__init__()
        self.function, self.constants = function, constants

    def construct(self, *inputs):
        return self.function(*inputs, *self.constants)


class _Product(nn.Cell):
    """The sum of the output times `weights`, whose derivative is compared."""

    def __init__(self, call: nn.Cell, weights: np.ndarray):
        super().__init__()
        self.call, self.weights = call, Tensor(weights, ms.float32)

    def construct(self, *inputs):
        out = self.call(*inputs)
        return (out.astype(ms.float32) * self.weights).sum()


class _Derivative(nn.Cell):
    def __init__(self, product: nn.Cell, positions: tuple[int, ...]):
        super().__init__()
        self.gradient = ms.grad(product, positions)

    def construct(self, *inputs):
        return self.gradient(*inputs)


def measure(case: Case, kind: str, seed: int = 0) -> Measurement:
    """Runs the case in a type of `TYPES`."""
    draws = np.random.RandomState(seed)
    tensors, arrays = [], []
    for array in case.inputs:
        is_float = array.dtype == np.float64
        tensor = Tensor(array.astype(np.float32)).astype(TYPES[kind]) if is_float else Tensor(array)
        tensors.append(tensor)
        arrays.append(tensor.astype(ms.float32).asnumpy().astype(np.float64) if is_float else array)
    call = _Call(case.function, case.constants)
    found, expected = _as_tuple(call(*tensors)), _as_tuple(case.reference(*arrays))
    difference = max(largest_difference(_plain(f), e) for f, e in zip(found, expected, strict=False))
    derivative = 0.0
    if case.derivative:
        weights = draws.standard_normal(np.shape(expected[0]))
        positions = tuple(i for i, array in enumerate(case.inputs) if array.dtype == np.float64)
        product = _Product(_First(call) if len(found) > 1 else call, weights)
        gradients = _as_tuple(_Derivative(product, positions)(*tensors))
        derivative = _along_directions(case, arrays, positions, gradients, weights, draws)
    return _judge(case, kind, difference, derivative)


class _First(nn.Cell):
    def __init__(self, call: nn.Cell):
        super().__init__()
        self.call = call

    def construct(self, *inputs):
        return self.call(*inputs)[0]


def _along_directions(
    case: Case,
    arrays: Sequence[np.ndarray],
    positions: Sequence[int],
    gradients: Sequence[Tensor],
    weights: np.ndarray,
    draws: np.random.RandomState,
) -> float:
    """The largest difference from the difference quotient, relative to the length of the gradient."""

    def product(step: float, direction: dict[int, np.ndarray]) -> float:
        moved = [array + step * direction[i] if i in direction else array for i, array in enumerate(arrays)]
        return float((_as_tuple(case.reference(*moved))[0] * weights).sum())

    worst = 0.0
    for position, gradient in zip(positions, gradients, strict=True):
        gradient = _plain(gradient)
        if gradient.shape != arrays[position].shape:
            return np.inf
        length = np.sqrt((gradient**2).sum()) or 1.0
        for _ in range(DIRECTIONS):
            direction = {position: draws.standard_normal(gradient.shape)}
            step = 1e-6
            quotient = (product(step, direction) - product(-step, direction)) / (2 * step)
            worst = max(worst, abs((gradient * direction[position]).sum() - quotient) / length)
    return float(np.nan_to_num(worst, nan=np.inf))


def _judge(case: Case, kind: str, difference: float, derivative: float) -> Measurement:
    bound = BOUNDS[kind]
    worst = max(difference, derivative)
    note = "in its derivative" if derivative > difference else ""
    if kind == "float32" and worst > bound and PRODUCTS & set(case.covers):
        return Measurement(worst, SHORT_PRODUCTS, "products are of TF32 or HF32, not of float32")
    return Measurement(worst, bound, note if worst > bound else "")


def _plain(tensor: Any) -> np.ndarray:
    if tensor.dtype in TYPES.values():
        tensor = tensor.astype(ms.float32)
    return tensor.asnumpy().astype(np.float64)


def _as_tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def parts(kind: str):
    """The parts of a type's check: device and whether quick -> name and part."""

    def create(device: str, quick: bool) -> dict[str, Part]:
        if kind == "bfloat16" and device != "Ascend":

            def refuse() -> Measurement:
                raise NotApplicable(f"the project refuses bfloat16 on {device}, where MindSpore lacks most operators")

            return {"all": refuse}
        found: dict[str, Part] = {}
        for case in cases():
            is_float = any(array.dtype == np.float64 for array in case.inputs)
            if is_float or kind == "float32":
                name = case.covers[0] if case.covers[0] not in found else f"{case.covers[0]} again"
                found[f"{name} ({case.part})"] = lambda case=case: measure(case, kind)
        return found

    return create


def covered() -> set[str]:
    """Names of the operators that the cases call."""
    return {name for case in cases() for name in case.covers}


CHECKS = {
    f"operators {kind}": Check(
        f"each operator and its derivative in {kind}, against NumPy", parts(kind), 60, is_quick=kind == "float32"
    )
    for kind in TYPES
}
