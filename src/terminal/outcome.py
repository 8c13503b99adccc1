"""How every command ends: a line for each thing that it wrote, and what a person would do next."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.shipped import SHIPPED

_REPOSITORY = Path(__file__).resolve().parents[2]


def written_line(path: str | Path, content: str = "") -> str:
    """'written: a.mindir (1.9 MB, float32)'.

    Args:
        path: a file, or a folder where there are many.
        content: what is in it, in a few words.
    """
    return f"written: {path}{f' ({content})' if content else ''}"


def next_line(script: str, *arguments: str | Path) -> str:
    """'next: python eval.py --config CONFIG', which a shell takes as it stands.

    Args:
        script: name of a root script; its path is that from the working directory.
        arguments: of the script. Words in capitals stand for what the user has to fill in.
    """
    return next_step(f"python {shlex.join(map(str, (os.path.relpath(_REPOSITORY / script), *arguments)))}")


def next_step(text: str) -> str:
    """The same for what is no command of this project."""
    return f"next: {text}"


def same_run(given: Mapping[str, Any]) -> list[str]:
    """Arguments that lead another command to the same run's folder.

    Args:
        given: what the command line of this one says itself, `CommandLine.given`.
    """
    return [word for key in ("config", "output") if key in given for word in (f"--{key}", given[key])]


def config_of(name: str) -> str:
    """The path of the shipped configuration for a network or a detector; CONFIG where there is none."""
    for path in (SHIPPED / "classification" / f"{name}.yaml", SHIPPED / "detection" / f"{name}_1x.yaml"):
        if path.is_file():
            return os.path.relpath(path)
    return "CONFIG"
