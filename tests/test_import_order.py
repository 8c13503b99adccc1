"""Who may import whom: rooms stand on each other, and nothing imports upwards."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import data
from src.compilation.mixed_precision import HALF_TYPES
from src.config import Config, flat_values
from src.config.rules import RULES
from src.engine.resume import FREE_KEYS
from src.rule import DataSource, Precision, names_of

SOURCES = Path(__file__).resolve().parents[1] / "src"
ORDER = (  # from the ground up, as in CONTRIBUTING.md
    *("errors", "memory", "rule", "files", "config", "terminal", "layers", "models", "detection", "data", "weights"),
    *("devices", "optim", "compilation", "tasks", "engine", "export", "prediction", "complexity", "portability"),
    "visualization",
)
PLAIN = ("files", "data")  # NumPy and Pillow only
OWN_MODULES = 3


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = ("src", *path.relative_to(SOURCES).parts[: -node.level])
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield from (f"src.{a.name}" for a in node.names) if base == "src" else [base]
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_nothing_imports_upwards(path):
    room = path.relative_to(SOURCES).parts[0].removesuffix(".py")
    for module in imports(path) if room not in ("__init__", "moved") else ():
        if module.startswith("src."):
            other = module.split(".")[1]
            assert ORDER.index(other) <= ORDER.index(room), f"{room} must not import {module}"


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_the_package_does_not_know_its_own_name(path):
    """It is `src` in a clone and `tnt_mindspore` where it is installed, so that nobody else's `src` is in the way."""
    assert not any(module.split(".")[0] == "src" for module in _absolute(path))


def _absolute(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_room_is_installed():
    project = (SOURCES.parent / "pyproject.toml").read_text()
    rooms = [path.parent.name for path in SOURCES.glob("*/__init__.py")]
    assert all(f'"tnt_mindspore.{room}"' in project for room in rooms) and '"tnt_mindspore",' in project


def test_every_room_has_its_place():
    entries = [path for path in SOURCES.iterdir() if path.name not in ("__init__.py", "__pycache__", "moved")]
    assert {path.stem for path in entries} == set(ORDER)
    assert sum(path.suffix == ".py" for path in entries) <= OWN_MODULES


@pytest.mark.parametrize("path", [p for room in PLAIN for p in sorted((SOURCES / room).glob("*.py"))], ids=str)
def test_files_and_data_do_without_mindspore(path):
    if path.name != "mindrecord_shards.py":  # it writes MindSpore's own format
        assert not any(module.split(".")[0] == "mindspore" for module in imports(path))


@pytest.mark.parametrize("name", ["convert.load_reference_weights", "torch_file.read_weights"])
def test_scripts_written_before_the_rooms_go_on(name):
    module, _, function = name.partition(".")
    with pytest.warns(DeprecationWarning, match=f"src.{module} is src.weights."):
        found = getattr(importlib.reload(importlib.import_module(f"src.{module}")), function)
    assert found.__module__.startswith("src.weights.")


def test_targets_are_made_without_mindspore():
    """In the processes that read images, which would take a second longer to start."""
    script = (
        "import sys; import src.detection.anchor_targets, src.detection.region_targets, src.data.detection_loader\n"
        "sys.exit('mindspore' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=SOURCES.parent).returncode == 0


def test_commands_start_without_what_few_of_them_need():
    """scikit-learn alone would make each start a second longer."""
    script = (
        "import sys; import train, eval, predict, export, features\n"
        "print(sys.modules.keys() & {'sklearn', 'scipy.stats', 'matplotlib', 'onnx', 'pycocotools'} or '')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=SOURCES.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_names_that_rooms_share_are_those_they_know():
    assert sorted(names_of(DataSource)) == sorted(["digits", "list", *data._FOLDERS, "coco"])
    assert set(names_of(Precision)) == {"float32", *HALF_TYPES}


def test_keys_that_rules_name_exist():
    keys = {key for key, _ in flat_values(Config())}
    assert set(FREE_KEYS) <= keys and set(RULES) <= keys
