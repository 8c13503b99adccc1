"""Where the configurations of the project lie: `config/` of a clone, or a folder of the installed package."""

from pathlib import Path

_INSTALLED = Path(__file__).resolve().parents[1] / "configurations"

SHIPPED = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).resolve().parents[2] / "config"
