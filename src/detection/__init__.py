"""Detectors on PyramidTNT by name: `create_detector("retinanet_ptnt_s", num_classes=80, canvas=(800, 1344))`.

The functions are looked up when they are asked for: the workers that make anchor targets import this package, and do
without MindSpore.
"""

from typing import Any

__all__ = ["create_detector", "list_detectors"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import catalogue

    return getattr(catalogue, name)
