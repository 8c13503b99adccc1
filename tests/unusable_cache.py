"""Machines on which nothing can be kept in the user's cache."""

from pathlib import Path

import pytest


def no_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Python does not know where the user's home is."""

    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", refuse)


def no_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The cache is a file in `folder`."""
    (folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
