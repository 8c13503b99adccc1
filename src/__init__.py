"""TNT, PyramidTNT and T2T-ViT: networks, training and deployment. The rooms are listed in CONTRIBUTING.md.

What programs use most is here by name, see docs/python.md: `from src import load_checkpoint`. It is looked up when it
is asked for, so that rooms that do without MindSpore go on doing without it.

Importing this package quiets MindSpore's log, which works before MindSpore is imported only.
"""

import importlib
import os
from typing import Any

os.environ.setdefault("GLOG_v", "4")  # MindSpore repeats on stderr what it raises; must be set before its import

__path__.append(os.path.join(__path__[0], "moved"))  # modules by the names they had before the rooms

_MODULES = {
    "Classifier": "prediction.classifier",
    "FeatureExtractor": "models.feature_extractor",
    "create_detector": "detection",
    "create_model": "models",
    "list_detectors": "detection",
    "list_models": "models",
    "load_checkpoint": "tasks.loaded_checkpoint",
    "load_feature_extractor": "tasks.loaded_checkpoint",
    "set_up_device": "devices.device",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
