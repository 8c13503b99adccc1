"""Operators without a line "Supported Platforms" in MindSpore's docstrings, resolved by hand from MindSpore's source.

The files are those of MindSpore's public repository. An entry never says that a device lacks an operator: what it does
not answer is unknown.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What is known of an operator.

    Attributes:
        source: where it says so.
        platforms: devices that have it.
        parts: operators that MindSpore replaces it by on a device without a kernel for it; such a device has it when it
            has them all.
    """

    source: str
    platforms: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


_ALL = ("Ascend", "GPU", "CPU")


def _virtual(where: str) -> Entry:
    return Entry(f"no kernel, done by the compiler and the runtime ({where})", _ALL)


def _replaced(file: str, *parts: str) -> Entry:
    path = f"mindspore/ccsrc/backend/common/expander/fallback/{file}"
    return Entry(f"replaced by {', '.join(parts)} where there is no kernel ({path})", parts=parts)


def _kernels(operator: str) -> Entry:
    """Registered in MindSpore's source for Ascend and GPU; on CPU it runs in this project's tests."""
    where = f"REG_ADPT_DESC({operator}) for Ascend, NativeGpuKernelMod, {operator} for GPU"
    return Entry(f"kernels registered ({where}); run on CPU by the tests here", _ALL)


_WITH_KERNELS = (
    "AvgPoolGrad",
    "BatchNormGrad",
    "BiasAddGrad",
    "Conv2DBackpropFilter",
    "Conv2DBackpropInput",
    "GatherDGradV2",
    "LayerNormGrad",
    "ReluGrad",
    "StridedSliceGrad",
    "TanhGrad",
    "TensorMove",
)

_NOT_REAL = "IsRealKernel in mindspore/core/utils/anf_utils.cc"

TABLE: dict[str, Entry] = {
    "Return": _virtual(_NOT_REAL),
    "MakeTuple": _virtual(_NOT_REAL),
    "TupleGetItem": _virtual(_NOT_REAL),
    "MakeList": _virtual(_NOT_REAL),
    "ListGetItem": _virtual(_NOT_REAL),
    "Load": _virtual(_NOT_REAL),
    "UpdateState": _virtual(_NOT_REAL),
    "Switch": _virtual("GetControlOps in mindspore/ccsrc/backend/graph_compiler/transform.cc"),
    "Muls": _replaced("math_ops.cc", "Cast", "Mul"),
    "Divs": _replaced("math_ops.cc", "Div"),
    "RemainderTensorScalar": _replaced("math_ops.cc", "Cast", "FloorMod"),
    "SoftmaxBackward": _replaced("nn_ops.cc", "Mul", "Sub", "ReduceSum", "Transpose"),
    "SplitWithSize": _replaced("array_ops.cc", "Slice"),
    **{operator: _kernels(operator) for operator in _WITH_KERNELS},
}
