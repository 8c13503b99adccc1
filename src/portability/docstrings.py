"""What the docstrings of the installed MindSpore say about the devices that an operator runs on."""

import re
import sys
from dataclasses import dataclass

import mindspore.ops
from mindspore.ops import Primitive

PLATFORMS = ("Ascend", "GPU", "CPU")

_LINE = re.compile(r"Supported Platforms:[^\S\n]*\n([^\n]*)")
_REFERENCE = re.compile(r"[Rr]efer to :func:`~?mindspore\.ops\.(\w+)`")


@dataclass(frozen=True)
class Statement:
    """Which of Ascend, GPU and CPU, and where it says so. A device that is not named is documented as missing."""

    platforms: frozenset[str]
    source: str


def find_statement(operator: str) -> Statement | None:
    """The line "Supported Platforms" of the primitive `operator`, or of the function that its docstring refers to.

    None where there is no such operator in Python, no such line, or one that names no device ("Deprecated").
    """
    docstrings = [cls.__doc__ or "" for cls in _primitives(operator)]
    for docstring in docstrings:
        if platforms := _platforms(docstring):
            return Statement(platforms, f"docstring of ops.{operator}")
    for function in (name for docstring in docstrings for name in _REFERENCE.findall(docstring)):
        if platforms := _platforms(_function_docstring(function)):
            return Statement(platforms, f"docstring of ops.{function}, to which that of {operator} refers")
    return None


def _platforms(docstring: str) -> frozenset[str]:
    line = _LINE.search(docstring)
    return frozenset(name for name in PLATFORMS if line is not None and name in line[1])


def _ops_modules() -> list:
    """`mindspore.ops` and what belongs to it, the public one first."""
    inner = [module for name, module in sorted(sys.modules.items()) if name.startswith("mindspore.ops.") and module]
    return [mindspore.ops, *inner]


def _primitives(operator: str) -> list[type]:
    """All classes of that name: some modules hold an older one beside the one that is used."""
    found = (getattr(module, operator, None) for module in _ops_modules())
    return list(dict.fromkeys(cls for cls in found if isinstance(cls, type) and issubclass(cls, Primitive)))


def _function_docstring(function: str) -> str:
    """The docstring of the function that `mindspore.ops` publishes, or else of the one that MindSpore uses itself."""
    found = (getattr(module, function, None) for module in _ops_modules())
    return next((item.__doc__ for item in found if callable(item) and item.__doc__), "")
