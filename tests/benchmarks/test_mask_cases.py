"""That a comparison of mask targets sees what is wrong; the case itself is in tests/detection/test_cases.py."""

from pathlib import Path

import pytest

from benchmarks.cases.case import Case
from benchmarks.cases.masks import check_mask_targets

CASE = Case.read(Path(__file__).parents[1] / "reference/detection/mask_targets.json")


@pytest.mark.parametrize(
    "changes,wrong",
    [
        ({}, []),
        ({"proposals": CASE.arrays["proposals"] + 2}, ["targets_bitmap", "targets_polygon"]),
        ({"masks": CASE.arrays["masks"][:, :, ::-1].copy()}, ["masks", "targets_bitmap"]),
        ({"targets_polygon": CASE.arrays["targets_polygon"][:, :27]}, ["targets_polygon"]),
    ],
)
def test_what_differs_is_seen(changes, wrong):
    rows = list(check_mask_targets(Case(CASE.meta, CASE.arrays | changes)))
    assert [row.name for row in rows if not row.holds] == wrong and len(rows) == 3
