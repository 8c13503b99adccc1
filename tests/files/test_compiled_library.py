"""C++ sources of the project; where a library cannot be made is tested with the layers and images that need one."""

import subprocess
from pathlib import Path

import pytest

from src.data import resampling
from src.files.compiled_library import OPTIONS, find_compiler
from src.layers import cpu_kernels

SOURCES = {module.SOURCE: module.OPTIONS for module in (cpu_kernels, resampling)}


def test_every_source_is_here():
    assert set(SOURCES) == set((Path(__file__).resolve().parents[2] / "src").rglob("*.cc"))


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_sources_have_no_warnings(tmp_path, source):
    options = (*OPTIONS, *SOURCES[source], "-Wall", "-Wextra", "-Werror")
    command = [find_compiler(), *options, str(source), "-o", str(tmp_path / "a.so")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
