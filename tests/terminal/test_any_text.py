"""Output whose encoding lacks letters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, warnings
from src.errors import UserError
from src.terminal.command import run_command
from src.terminal.progress import Progress, print_line, tell_line
def main():
    with Progress("trénieren…", 10) as progress:
        progress.advance(5, "狗")
        print_line("32 × 16 → 狗")
    tell_line("é", to_stderr=True)
    warnings.warn("3–4")
    print("odd: " + "\\udc80")
    raise UserError("no “狗”")
run_command(main)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_letter_is_too_much_for_a_stream(encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, env=environment, capture_output=True)
    output, errors = (text.decode(encoding) for text in (done.stdout, done.stderr))
    sign = "x" if encoding == "ascii" else "×"
    assert output == f"32 {sign} 16 -> \\u72d7\nodd: \\udc80\n"
    letter = "\\xe9" if encoding == "ascii" else "é"
    assert errors == f"{letter}\nwarning: 3-4\nerror: no \\u201c\\u72d7\\u201d\n" and done.returncode == 2


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_command_under_such_an_encoding(variables, tmp_path):
    (tmp_path / "a.yaml").write_text("model: {name: 狗}\n", encoding="utf-8")
    command = [sys.executable, REPOSITORY / "train.py", "--config", "a.yaml", "--print_config"]
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="ascii")
    assert done.returncode == 0 and done.stderr == ""
    assert "name: \\u72d7" in done.stdout
