"""Compilations that tests share: a cell that computes what an earlier one did is not compiled again.

Tests of whole runs build the same small network anew each time, and MindSpore compiles it anew: a second to ten for a
graph that is known already. With the fixture `equal_graphs` (tests/conftest.py) such a cell computes by the graph of
the first equal one in the file, whose parameters take this one's values for the call. Cells are equal where everything
is that their graphs follow from: classes, methods and what these call by name, attributes, constants, names and types
of parameters, whatever of them is the same object, and the shapes of the inputs.
"""

import enum
import functools
import hashlib
import types
from collections.abc import Iterable
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.ops import Primitive

from src.layers.random_mask import RandomMask

_OF_EVERY_CELL = frozenset(vars(nn.Cell())) - {"_params", "_cells", "training"}
_OF_COMPILING = {
    *("current_phase", "_compile_phase", "__compile_cell_hook__", "__parse_method__", "_cell_init_args"),
    *("sequence_modified", "_has_mutable_args_list"),
}
"""What MindSpore notes at cells."""
_PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.dtype, enum.Enum)
_LARGEST_SETTING = 1 << 40
"""Larger integers are MindSpore's numbers of graphs."""


class NotDescribed(Exception):
    """Something of which this file does not know what of it makes a graph."""


class Description:
    """Describes objects so that equal texts mean equal graphs; objects met again are named by when they were met."""

    def __init__(self) -> None:
        self.met: list[object] = []  # kept, so that no other object takes their place in memory
        self._numbers: dict[int, int] = {}

    def of(self, value: object) -> str:
        if value is None or isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}"
        if id(value) in self._numbers:
            return f"met {self._numbers[id(value)]}"
        self._numbers[id(value)] = len(self.met)
        self.met.append(value)
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__} {id(value)}"
        name = type(value).__qualname__
        if isinstance(value, Parameter):
            return f"{name} {value.name} {value.shape} {value.dtype} {value.requires_grad}"
        if isinstance(value, Tensor):
            return f"{name} {value.shape} {value.dtype} {_digest(value.asnumpy())}"
        if isinstance(value, np.ndarray):
            return f"{name} {value.shape} {value.dtype} {_digest(value)}"
        if isinstance(value, types.FunctionType):
            return f"{value.__module__}.{value.__qualname__} {id(value.__code__)}{self._all(_held_by(value))}"
        if isinstance(value, types.MethodType):
            return f"method {self._all((value.__func__, value.__self__))}"
        if isinstance(value, functools.partial):
            return f"{name} {self._all((value.func, value.args, value.keywords))}"
        if isinstance(value, types.BuiltinFunctionType | types.ModuleType):
            return f"{name} {value.__name__}"
        if isinstance(value, dict):
            return f"{name} {self._all(part for item in value.items() for part in item)}"
        if isinstance(value, tuple | list):
            return f"{name} {self._all(value)}"
        if isinstance(value, set | frozenset):
            return f"{name} {sorted(map(self.of, value))}"
        if isinstance(value, nn.Cell):
            return f"{self.of(type(value))} {self._all((_methods(value), _attributes(value), value.get_flags()))}"
        if isinstance(value, Primitive):
            return f"{name} {value.name} {self._all((value.attrs, vars(value)))}"
        if type(value).__module__ == "mindspore._c_expression.typing":
            return f"{name} {value}"
        if hasattr(value, "__dict__"):
            return f"{self.of(type(value))} {self._all((vars(value),))}"
        raise NotDescribed(f"{type(value)}")

    def _all(self, values: Iterable[object]) -> str:
        return f"({', '.join(map(self.of, values))})"


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _held_by(function: types.FunctionType) -> list[object]:
    """What it computes with besides its arguments; of MindSpore's own functions what they close over."""
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    if not function.__module__.startswith("mindspore"):
        named = (function.__globals__.get(name) for name in function.__code__.co_names)
        held += [value for value in named if isinstance(value, _PLAIN + (types.FunctionType, Tensor, Primitive, tuple))]
    return [function.__defaults__, *(x for x in held if not (type(x) is int and x > _LARGEST_SETTING))]


def _methods(cell: nn.Cell) -> dict[str, object]:
    """And operators of its classes, of those that are not MindSpore's: a test may have put others in their place."""
    classes = [kind for kind in type(cell).__mro__ if kind not in nn.Cell.__mro__]
    return {
        f"{kind.__qualname__}.{name}": method
        for kind in classes
        for name, method in vars(kind).items()
        if isinstance(method, types.FunctionType | Primitive)
    }


def _attributes(cell: nn.Cell) -> dict[str, object]:
    if isinstance(cell, RandomMask) and not cell.training:
        return {}  # it returns its input; training numbers it, evaluation does not
    return {name: value for name, value in sorted(vars(cell).items()) if name not in _OF_EVERY_CELL | _OF_COMPILING}


class EqualGraphs:
    """Takes the place of `nn.Cell.compile` and `nn.Cell.compile_and_run`."""

    def __init__(self) -> None:
        self._compile, self._run = nn.Cell.compile, nn.Cell.compile_and_run
        self._first: dict[str, tuple[nn.Cell, Description]] = {}
        self._of: dict[tuple[int, str], tuple[nn.Cell, nn.Cell]] = {}  # cell and inputs -> that cell, the first equal

    def compile(self, cell: nn.Cell, *inputs: Any, **more: Any) -> None:
        if self.first_equal(cell, inputs, more) is cell:
            self._compile(cell, *inputs, **more)

    def compile_and_run(self, cell: nn.Cell, *inputs: Any, **more: Any) -> Any:
        first = self.first_equal(cell, inputs, more)
        if first is cell:
            return self._run(cell, *inputs, **more)
        own, others = ([p.asnumpy() for p in net.get_parameters()] for net in (cell, first))  # memory, no copies
        before = [array.copy() for array in others]
        _copy(own, others)
        result = self._run(first, *inputs)
        _copy(others, own)
        _copy(before, others)
        return result

    def first_equal(self, cell: nn.Cell, inputs: tuple[Any, ...], more: dict[str, Any]) -> nn.Cell:
        """The first cell that is equal, perhaps `cell` itself."""
        if more or not all(isinstance(x, Tensor) and not isinstance(x, Parameter) for x in inputs):
            return cell
        described = repr([[(x.shape, str(x.dtype)) for x in inputs], cell.training])
        key = id(cell), described
        if key not in self._of:
            description = Description()
            try:
                text = f"{description.of(cell)} {described}"
            except NotDescribed:
                return cell
            first, _ = self._first.setdefault(text, (cell, description))
            self._of[key] = cell, first
        return self._of[key][1]


def _copy(sources: list[np.ndarray], targets: list[np.ndarray]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target[...] = source
