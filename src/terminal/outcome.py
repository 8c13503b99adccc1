"""How every command ends: a line for each thing that it wrote, and the command that a person would run next."""

import os
import shlex
from pathlib import Path

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
    return f"next: python {shlex.join(map(str, (os.path.relpath(_REPOSITORY / script), *arguments)))}"
