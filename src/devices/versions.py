"""What a run ran on and with, for its record."""

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).resolve().parent.parent
_PACKAGES = ("mindspore", "numpy", "pillow", "pyyaml", "scikit-learn", "matplotlib", "tqdm")


def describe_environment(device: str) -> dict[str, Any]:
    """Versions, machine, device, and the revision of this source tree (None outside a git checkout)."""
    return {
        "device": device,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "source_revision": _source_revision(),
    }


def source_digest() -> str:
    """SHA-256 of this project's Python files."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(f"{path.relative_to(_SOURCES)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _source_revision() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
