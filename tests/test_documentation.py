"""READMEs and docs: their Python blocks run, and the options of their commands exist.

A Python block that cannot run here begins with the comment `# not run here: ` and the reason. Files that blocks name
are placeholders, made before.
"""

import io
import re
import runpy
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from src.config.command_line import _SHORT_NAMES
from src.detection.catalogue import create_detector
from src.models import create_model
from src.prediction.class_features import LabelledFeatures, write_features
from src.weights.author_names import reference_weights
from src.weights.checkpoint import save_checkpoint
from src.weights.described_network import create_network, describe_variant
from tests.tiny_detectors import TINY_BACKBONE
from tests.weights.test_author_names import write_zip
from tests.weights.test_detector_start import CARD as DETECTOR_CARD

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]
NOT_RUN = "# not run here: "
ENTRIES = ("--model.structure.",)  # a dictionary's, whatever their names
WITH_OPTIONS_OF = {
    "run_standalone_train.sh": "train.py",
    "run_distribute_train.sh": "train.py",
    "run_eval.sh": "eval.py",
    "run_distribute_eval.sh": "eval.py",
}
FOREIGN = ("run_tests.sh",)  # takes whatever pytest does
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
PROGRAM = re.compile(r"(?:^|\s)(?:python|bash)\s+((?:\w+/)*\w+\.(?:py|sh))(?=\s|$)")


# --- Python ---


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each fenced block in one of the languages."""
    text = page.read_text(encoding="utf-8")
    for block in FENCED.finditer(text):
        if block[1] in languages:
            yield text.count("\n", 0, block.start()) + 2, block[2]


PYTHON = {f"{page.relative_to(REPOSITORY)}:{line}": text for page in PAGES for line, text in blocks(page, "python")}


@pytest.fixture(scope="module")
def placeholders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    card = describe_variant("ptnt_ti_patch16_192", TINY_BACKBONE, ["cat", "dog", "bird"], 64)
    save_checkpoint(folder / "best.ckpt", create_network(card).get_parameters(), card)
    detector = create_detector(DETECTOR_CARD.model, **DETECTOR_CARD.detector_arguments())
    save_checkpoint(folder / "detector.ckpt", detector.get_parameters(), DETECTOR_CARD)
    write_zip(folder / "tnt_s_81.5.pth.tar", reference_weights(create_model("tnt_s_patch16_224")))
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    (folder / "folder").mkdir()
    for name in ("photo.jpg", "folder/a.png", "folder/b.png"):
        Image.fromarray(pixels).save(folder / name)
    found = LabelledFeatures(np.zeros((2, 8), np.float32), ["a.png", "b.png"], np.array([0, 1]), ["cat", "dog"])
    write_features(folder / "features.npz", found)
    return folder


def test_there_are_python_blocks():
    assert len(PYTHON) >= 10 and sum(text.startswith(NOT_RUN) for text in PYTHON.values()) <= 1


@pytest.mark.parametrize("place", [place for place, text in PYTHON.items() if not text.startswith(NOT_RUN)])
def test_python_runs(place, placeholders, monkeypatch):
    """In PyNative mode, which computes the same without compiling."""
    monkeypatch.chdir(placeholders)
    monkeypatch.setenv("GLOG_v", "4")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    monkeypatch.setattr(ms, "set_context", lambda **settings: None)
    exec(compile(PYTHON[place], place, "exec"), {"__name__": "documented"})


# --- commands ---


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Program and options of each command in blocks and between backquotes."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, block in blocks(page, "bash", "text", "") for line in block.replace("\\\n", " ").split("\n")]
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", FENCED.sub("", text))]
    for line in lines:
        line = re.sub(r"(^|\s)#.*", "", line)
        _, *parts = PROGRAM.split(line)
        for program, rest in zip(parts[::2], parts[1::2], strict=True):
            yield program, re.findall(r"(?:^|\s|\[)(--[A-Za-z][\w.]*)", rest)


COMMANDS = sorted({(program, option) for page in PAGES for program, options in commands(page) for option in options})


def script(program: str) -> Path:
    return next(path for folder in ("", "deploy") if (path := REPOSITORY / folder / program).is_file())


@cache
def known_options(program: str) -> set[str]:
    """What `--help` lists."""
    path = script(program)
    if path.suffix == ".sh":
        more = known_options(WITH_OPTIONS_OF[path.name]) if path.name in WITH_OPTIONS_OF else set()
        head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
        return {"--help", *re.findall(r"--\w+", head)} | more
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", [str(path), "--help"])
        patch.syspath_prepend(str(path.parent))
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name="__main__")
    assert not end.value.code
    found = set(re.findall(r"--[A-Za-z][\w.]*", printed.getvalue()))
    return found | ({name for name, long in _SHORT_NAMES.items() if long in found})


def test_there_are_commands():
    assert len(COMMANDS) > 80 and {program for program, _ in COMMANDS} >= {"train.py", "predict.py"}


def test_every_program_is_there():
    for page in PAGES:
        for program, _ in commands(page):
            script(program)


@pytest.mark.parametrize("program", sorted({p for p, _ in COMMANDS if Path(p).name not in FOREIGN}))
def test_options_exist(program):
    known = known_options(program)
    unknown = {o for p, o in COMMANDS if p == program and o not in known and not o.startswith(ENTRIES)}
    assert not unknown
