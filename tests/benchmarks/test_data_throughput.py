"""The benchmark prints what it says, and its figures follow from each other; no time is tested."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import data_throughput
from benchmarks.data_throughput import KINDS, main, make_images
from src.data.resampling import library
from src.errors import UserError


def test_table_and_json(capsys):
    main("--workers 1 --batch_size 4 --files 3 --images 12 --rounds 1 --json out.json".split())
    result = json.loads(Path("out.json").read_text())
    assert (result["workers"], result["batch_size"]) == (1, 4)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 JPEGs of 500 x 375 pixels, ")
    assert lines[1].startswith("1 JPEG of 2000 x 1500 pixels, ")
    assert lines[-6].split() == ["pipeline", "per", "core", "bare", "loop", "ratio", "tuned", "loop", "ratio"]
    for kind, line in zip(KINDS, lines[-5:], strict=True):
        rates = result["rates"][kind]
        (pipeline,), (bare,), (tuned,) = rates["pipeline"], rates["bare"], rates["tuned"]
        assert min(pipeline, bare, tuned) > 0
        assert result["medians"][kind] == {"pipeline": pipeline, "bare": bare, "tuned": tuned}
        assert line.startswith(kind)
        figures = [float(figure) for figure in line.removeprefix(kind).split()]
        assert figures == pytest.approx(
            [pipeline, pipeline, bare, pipeline / bare, tuned, pipeline / tuned], rel=0.01, abs=0.5
        )


def _has_own_code(kind, files, count):
    return float(library().functions is not None)


@pytest.mark.parametrize("is_tuned", [False, True])
def test_bare_loops_have_no_code_of_our_own(is_tuned, monkeypatch):
    monkeypatch.setattr(data_throughput, "bare_loop", _has_own_code)
    assert data_throughput.bare_rate("evaluation", [], 1, 1, is_tuned) == 0


def test_images_are_like_photos(tmp_path):
    make_images(tmp_path / "photos", 2)
    files = sorted((tmp_path / "photos").iterdir())
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (500, 375))
            pixels = np.asarray(image).astype(float)
        assert 50_000 < file.stat().st_size < 150_000
        assert 30 < pixels.std() < 80
        assert np.abs(np.diff(pixels, axis=1)).mean() < 0.3 * pixels.std()  # smooth
    assert files[0].read_bytes() != files[1].read_bytes()


@pytest.mark.parametrize("option", ["--workers", "--batch_size", "--files", "--images", "--rounds"])
def test_wrong_options(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main([option, "0"])
    assert stop.value.code == 2
    assert f"{option}: expected a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_file_that_cannot_be_written():
    with pytest.raises(UserError, match="cannot write missing/out.json"):
        main(["--json", "missing/out.json"])
