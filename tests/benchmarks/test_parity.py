"""benchmarks/parity.py tells what is beyond its bound, and ends with 1."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import parity
from benchmarks.cases.case import compare
from src.errors import UserError

pytestmark = pytest.mark.usefixtures("equal_graphs")

CASES = Path(__file__).resolve().parents[1] / "reference" / "detection"


@pytest.mark.parametrize(
    "name,array", [("anchors_rpn", "anchors/1"), ("box_coder_rcnn", "decoded"), ("nms", "ties/keep")]
)
def test_a_changed_array_is_found(tmp_path, capsys, name, array):
    for ending in ("json", "npz"):
        shutil.copy(CASES / f"{name}.{ending}", tmp_path)
    file = str(tmp_path / f"{name}.json")
    assert parity.main(["--cases", file]) == 0
    assert "0 beyond their bound" in capsys.readouterr().out.splitlines()[-1]
    arrays = dict(np.load(tmp_path / f"{name}.npz"))
    changed = arrays[array].copy()
    changed.flat[3] += 1
    np.savez(tmp_path / f"{name}.npz", **{**arrays, array: changed})
    assert parity.main(["--cases", file]) == 1
    out = capsys.readouterr().out
    assert "EXCEEDED" in out and array in out and out.splitlines()[-1].endswith(" 1 beyond their bound")


def test_shapes_and_what_is_not_finite_count():
    assert not compare("x", np.zeros(3), np.zeros(4), 1.0).holds
    assert not compare("x", np.array([np.nan, 1.0]), np.array([1.0, 1.0]), 1.0).holds
    assert compare("x", np.array([np.inf, 1.0]), np.array([np.inf, 1.0]), 0.0).holds
    assert compare("x", np.array([10.0, 101.0]), np.array([10.0, 100.0]), 0.02).difference == pytest.approx(0.01)


def test_what_is_no_case_is_told_in_one_line(tmp_path):
    Path("x.json").write_text(json.dumps({"kind": "roi_pool"}))
    with pytest.raises(UserError, match="kind: expected one of anchors, .*, got 'roi_pool'"):
        parity.main(["--cases", "x.json"])
    with pytest.raises(UserError, match="none.json: expected a reference case"):
        parity.main(["--cases", "none.json"])
