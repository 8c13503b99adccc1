"""An ONNX graph while it is written: tensors whose methods append nodes.

The first axis of every tensor counts images, or images times their sentences, and is left open (-1); all other sides
are known. Sums of a half and a single precision tensor are taken in single precision.

Opset 17 is the first with LayerNormalization; ONNX Runtime 1.12 and later run it.
"""

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import UserError

OPSET, IR_VERSION = 17, 8
INPUT_NAME, LOGITS_NAME = "images", "logits"


def import_extra(name: str) -> ModuleType:
    """One of the packages that only ONNX files need.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"ONNX files need the package {name}: pip install -r requirements-onnx.txt") from error


class Graph:
    """Nodes and constants in the order in which they are written.

    Args:
        product_type: type of the factors of matrix products and convolutions, float32 or float16.
        paths: place in the network of each cell, by its `id`.

    Raises:
        UserError: `onnx` is not installed.
    """

    def __init__(self, product_type: type[np.floating], paths: dict[int, str]):
        self.product_type, self.paths = product_type, paths
        self._onnx = import_extra("onnx")
        self._path = ""
        self._nodes, self._inputs, self._outputs = [], [], []
        self._constants: dict[str, Any] = {}
        self._names: Counter[str] = Counter()

    @contextmanager
    def part(self, path: str | None = None, product_type: type[np.floating] | None = None) -> Iterator[None]:
        """What is written inside is named after `path` and multiplies in `product_type`; None: as outside."""
        outside = self._path, self.product_type
        self._path = self._path if path is None else path
        self.product_type = product_type or self.product_type
        yield
        self._path, self.product_type = outside

    def input(self, name: str, shape: Sequence[int | str], dtype: type[np.generic]) -> "Value":
        """An input; its first side is a number, or the name of an open one."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape))
        return Value(self, name, (-1, *shape[1:]), dtype)

    def output(self, name: str, value: "Value", batch: int | str, dtype: type[np.generic] = np.float32) -> None:
        """Makes `value` an output of type `dtype`."""
        self._nodes.append(self._onnx.helper.make_node("Cast", [value.name], [name], name, to=self._type(dtype)))
        shape = (batch, *value.shape[1:])
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), shape))

    def constant(self, array: np.ndarray, name: str | None = None) -> "Value":
        """A constant, once for each name; without a name, one that its few values name."""
        name = name or f"{array.dtype}{array.tolist()}"
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return Value(self, name, array.shape, array.dtype.type)

    def nodes(self, op: str, inputs: Sequence["Value"], num_outputs: int = 1, **attributes: Any) -> list[str]:
        """Appends one node and names its outputs."""
        name = f"{self._path}/{op}" if self._path else op
        self._names[name] += 1
        name = name if self._names[name] == 1 else f"{name}_{self._names[name]}"
        outputs = [name] if num_outputs == 1 else [f"{name}_{i}" for i in range(num_outputs)]
        inputs = [value.name for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(op, inputs, outputs, name, **attributes))
        return outputs

    def cast(self, value: "Value", dtype: type[np.generic]) -> "Value":
        (name,) = self.nodes("Cast", [value], to=self._type(dtype))
        return Value(self, name, value.shape, dtype)

    def to_model(self, name: str, metadata: dict[str, str]) -> Any:
        """The graph as a `ModelProto` that `onnx.checker` has found valid."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph,
            opset_imports=[opset],
            ir_version=IR_VERSION,
            producer_name="TNT, PyramidTNT and T2T-ViT for MindSpore",
        )
        helper.set_model_props(model, metadata)
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _type(self, dtype: type[np.generic]) -> int:
        return self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


class Value:
    """A tensor of a graph. Operators broadcast as NumPy's do; comparisons give tensors of bool."""

    def __init__(self, graph: Graph, name: str, shape: Sequence[int], dtype: type[np.generic]):
        self.graph, self.name, self.shape, self.dtype = graph, name, tuple(shape), dtype

    def node(
        self,
        op: str,
        *others: "Value",
        shape: Sequence[int] | None = None,
        dtype: type[np.generic] | None = None,
        **attributes: Any,
    ) -> "Value":
        """A node of one output, by default of this shape and type."""
        (name,) = self.graph.nodes(op, [self, *others], **attributes)
        return Value(self.graph, name, self.shape if shape is None else shape, dtype or self.dtype)

    def to(self, dtype: type[np.generic]) -> "Value":
        return self if self.dtype == dtype else self.graph.cast(self, dtype)

    def _as_value(self, other: "Value | np.ndarray | float") -> "Value":
        """A number or an array as a constant of this type."""
        return other if isinstance(other, Value) else self.graph.constant(np.asarray(other, self.dtype))

    def _with(self, op: str, other: "Value | np.ndarray | float", dtype: type[np.generic] | None = None) -> "Value":
        other = self._as_value(other)
        common = np.result_type(self.dtype, other.dtype).type
        return self.to(common).node(op, other.to(common), shape=_broadcast(self.shape, other.shape), dtype=dtype)

    def __add__(self, other):
        return self._with("Add", other)

    def __sub__(self, other):
        return self._with("Sub", other)

    def __mul__(self, other):
        return self._with("Mul", other)

    def __truediv__(self, other):
        return self._with("Div", other)

    def __gt__(self, other):
        return self._with("Greater", other, np.bool_)

    def __ge__(self, other):
        return self._with("GreaterOrEqual", other, np.bool_)

    def __le__(self, other):
        return self._with("LessOrEqual", other, np.bool_)

    def __and__(self, other):
        return self._with("And", other)

    def maximum(self, other: "Value | np.ndarray | float") -> "Value":
        return self._with("Max", other)

    def minimum(self, other: "Value | np.ndarray | float") -> "Value":
        return self._with("Min", other)

    def where(self, one: "Value", other: "Value | np.ndarray | float") -> "Value":
        """`one` where this bool is true, else `other`."""
        other = one._as_value(other)
        shape = _broadcast(self.shape, _broadcast(one.shape, other.shape))
        return self.node("Where", one, other, shape=shape, dtype=one.dtype)

    def __matmul__(self, other: "Value") -> "Value":
        return self.node("MatMul", other, shape=(*self.shape[:-1], other.shape[-1]))

    def reshape(self, *shape: int) -> "Value":
        return self.node("Reshape", self.graph.constant(np.array(shape)), shape=shape)

    def transpose(self, *order: int) -> "Value":
        return self.node("Transpose", shape=[self.shape[axis] for axis in order], perm=order)

    def mean(self, *axes: int, keep: bool = False) -> "Value":
        kept = [1 if axis in axes else side for axis, side in enumerate(self.shape) if keep or axis not in axes]
        return self.node("ReduceMean", shape=kept, axes=axes, keepdims=int(keep))

    def sum(self, axis: int) -> "Value":
        """The sum over `axis`, which stays with side 1."""
        shape = [1 if i == axis else side for i, side in enumerate(self.shape)]
        return self.node("ReduceSum", self.graph.constant(np.array([axis])), shape=shape)

    def largest(self, *axes: int) -> "Value":
        """The maximum over `axes`, which stay with side 1."""
        return self._reduce("ReduceMax", axes)

    def smallest(self, *axes: int) -> "Value":
        """The minimum over `axes`, which stay with side 1."""
        return self._reduce("ReduceMin", axes)

    def _reduce(self, op: str, axes: Sequence[int]) -> "Value":
        shape = [1 if i in axes else side for i, side in enumerate(self.shape)]
        return self.node(op, shape=shape, axes=axes)

    def top(self, k: int) -> tuple["Value", "Value"]:
        """The k largest over the last axis, the largest first, of equal ones that with the lower place: themselves, and
        their places int64."""
        count = self.graph.constant(np.array([k]))
        names = self.graph.nodes("TopK", [self, count], 2, axis=-1, largest=1, sorted=1)
        shape = (*self.shape[:-1], k)
        return Value(self.graph, names[0], shape, self.dtype), Value(self.graph, names[1], shape, np.int64)

    def split(self, parts: int) -> list["Value"]:
        """Equal parts of the last axis."""
        shape = (*self.shape[:-1], self.shape[-1] // parts)
        names = self.graph.nodes("Split", [self], parts, axis=-1)
        return [Value(self.graph, name, shape, self.dtype) for name in names]

    def concat(self, *others: "Value", axis: int = -1) -> "Value":
        """Joined over `axis`, by default the last."""
        shape = list(self.shape)
        shape[axis] = sum(value.shape[axis] for value in (self, *others))
        return self.node("Concat", *others, shape=shape, axis=axis)

    def repeat_as(self, other: "Value") -> "Value":
        """Repeated over the first two axes, where it has 1 or as many as `other`, to as many as `other`."""
        (name,) = self.graph.nodes("Shape", [other], start=0, end=2)
        sides = Value(self.graph, name, (2,), np.int64)
        sides = sides.concat(self.graph.constant(np.ones(len(self.shape) - 2, np.int64)))
        return self.node("Expand", sides, shape=(*other.shape[:2], *self.shape[2:]))

    def take(self, axis: int, places: np.ndarray, name: str) -> "Value":
        """The entries at `places` (n,) int64 of `axis`; `name` is of that constant."""
        shape = list(self.shape)
        shape[axis] = len(places)
        return self.node("Gather", self.graph.constant(places, name), shape=shape, axis=axis)

    def rows(self, places: "Value") -> "Value":
        """Of (B, n, ...) the entries at `places` (B, m) int64 of each: (B, m, ...)."""
        shape = (self.shape[0], places.shape[1], *self.shape[2:])
        return self.node("GatherND", places.reshape(-1, places.shape[1], 1), shape=shape, batch_dims=1)

    def at(self, places: "Value") -> "Value":
        """The entries of the first axis at `places` int64, of any shape, which takes its place."""
        return self.node("Gather", places, shape=(*places.shape, *self.shape[1:]), axis=0)

    def pad(self, axis: int, before: int = 0, after: int = 0) -> "Value":
        """Zeros at the ends of `axis`."""
        if not (before or after):
            return self
        pads = np.zeros((2, len(self.shape)), np.int64)
        pads[:, axis] = before, after
        shape = [side + int(pads[:, i].sum()) for i, side in enumerate(self.shape)]
        return self.node("Pad", self.graph.constant(pads.ravel()), shape=shape)

    def first(self) -> "Value":
        """Entry 0 of the second axis, which disappears."""
        index = self.graph.constant(np.array(0))
        return self.node("Gather", index, shape=(self.shape[0], *self.shape[2:]), axis=1)

    def last(self, count: int) -> "Value":
        """The last `count` entries of the second axis."""
        start, end, axis = (self.graph.constant(np.array([i])) for i in (self.shape[1] - count, self.shape[1], 1))
        return self.node("Slice", start, end, axis, shape=(self.shape[0], count, *self.shape[2:]))

    def conv(
        self, weight: "Value", *bias: "Value", kernel_size: int, stride: int, padding: int, group: int = 1
    ) -> "Value":
        """A square convolution, (B, C, H, W) -> (B, C', H', W'), zeros around the border."""
        sides = ((side + 2 * padding - kernel_size) // stride + 1 for side in self.shape[2:])
        shape = (self.shape[0], weight.shape[0], *sides)
        window = {"kernel_shape": [kernel_size] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
        return self.node("Conv", weight, *bias, shape=shape, group=group, **window)

    def conv_transposed(self, weight: "Value", *bias: "Value", stride: int) -> "Value":
        """A transposed convolution whose square windows (C, C', stride, stride) touch: (B, C, H, W) -> (B, C', ...)."""
        shape = (self.shape[0], weight.shape[1], *(stride * side for side in self.shape[2:]))
        window = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        return self.node("ConvTranspose", weight, *bias, shape=shape, **window)


def _broadcast(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The shape of what two shapes broadcast to; -1 is an open side, which stands for more than 1."""
    one, other = ((1,) * (max(len(one), len(other)) - len(shape)) + tuple(shape) for shape in (one, other))
    return tuple(b if a == 1 else a for a, b in zip(one, other, strict=True))
