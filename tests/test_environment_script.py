"""scripts/environment.sh: which interpreter it takes, and when it installs; pip only notes what it is asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = 'set -euo pipefail; source scripts/environment.sh; prepare_environment a.txt b.txt; echo "python $PYTHON"'
PIP = """
import os, sys
if "--version" not in sys.argv:
    print("pip", os.path.basename(sys.argv[sys.argv.index("--requirement") + 1]), flush=True)
    sys.exit("no network" if os.path.exists("broken") else 0)
"""


def make_environment(folder: Path, packages: dict[str, str]) -> Path:
    """A virtual environment with `packages`, module -> source; returns its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (place,) = folder.glob("lib/python*/site-packages")
    for name, source in packages.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(source)
    return folder / "bin"


@pytest.fixture
def project(tmp_path):
    """A project with two files of requirements, and a Python on the PATH that nobody can use."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment.sh", "scripts")
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(f"{name}>=1\n")
    Path("unusable").mkdir()
    for name in ("python", "python3", "python3.10", "python3.11", "python3.12"):
        Path("unusable", name).write_text("#!/bin/sh\nexit 1\n")
        Path("unusable", name).chmod(0o755)
    return tmp_path


def prepare(*first: Path) -> list[str]:
    """What a script says that prepares the environment, with folders at the front of the PATH."""
    path = os.pathsep.join(map(str, [*first, Path("unusable").resolve(), "/usr/bin", "/bin"]))
    done = subprocess.run(["bash", "-c", SCRIPT], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def installed(lines: list[str]) -> list[str]:
    return [line.removeprefix("pip ") for line in lines if line.startswith("pip ")]


ACTIVE = {"mindspore/__init__.py": "", "pip/__init__.py": "", "pip/__main__.py": PIP}
OWN = {name: source for name, source in ACTIVE.items() if not name.startswith("mindspore")}


def test_an_active_environment_is_filled_once(project):
    first = make_environment(project / "one", ACTIVE)
    lines = prepare(first)
    assert lines[0] == f"using the active environment: {first / 'python3'}" and installed(lines) == ["a.txt", "b.txt"]
    assert installed(prepare(first)) == []
    Path("b.txt").write_text("b.txt>=2\n")
    assert installed(prepare(first)) == ["b.txt"]
    assert installed(prepare(make_environment(project / "two", ACTIVE))) == ["a.txt", "b.txt"]
    assert installed(prepare(first)) == []


def test_the_projects_own_environment_is_the_same_whether_it_is_active_or_not(project):
    own = make_environment(project / ".venv", OWN)
    lines = prepare()
    assert lines[-1] == f"python {own / 'python'}" and installed(lines) == ["a.txt", "b.txt"]
    assert installed(prepare()) == []
    make_environment(project / ".venv", ACTIVE)  # which has MindSpore, once requirements are installed
    assert prepare(own) == [f"using the active environment: {own / 'python3'}", f"python {own / 'python3'}"]


def test_another_interpreter_installs_again(project):
    first = make_environment(project / "one", ACTIVE)
    prepare(first)
    stamp = project / "one" / "tnt-mindspore-a.txt"
    stamp.write_text(stamp.read_text().replace(sys.version.split()[0], "3.9.0"))
    assert installed(prepare(first)) == ["a.txt"]


def test_what_failed_is_tried_again(project):
    first = make_environment(project / "one", ACTIVE)
    prepare(first)
    Path("a.txt").write_text("a.txt>=2\n")
    Path("broken").touch()
    assert prepare(first)[-1] == "error: pip could not install a.txt; see its messages above"
    Path("broken").unlink()
    Path("a.txt").write_text("a.txt>=1\n")  # back to what the stamp of before said
    assert installed(prepare(first)) == ["a.txt"]


def test_requirements_include_no_other_files():
    """A stamp knows the content of the file itself."""
    for path in ROOT.glob("requirements*.txt"):
        assert not any(line.startswith("-") for line in path.read_text().splitlines())
