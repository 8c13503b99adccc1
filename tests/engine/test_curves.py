"""Curves of a run with many scores stay a picture of curves."""

import warnings

import numpy as np
import pytest
from PIL import Image

from src.detection.two_stage import loss_names
from src.engine.curves import draw_curves
from src.tasks.classification_scores import SCORE_KINDS as OF_LABELS
from src.tasks.detection_scores import SCORE_KINDS, SCORE_KINDS_WITH_MASKS


@pytest.mark.parametrize(
    "kinds,losses", [(OF_LABELS, ()), (SCORE_KINDS, ("cls", "bbox")), (SCORE_KINDS_WITH_MASKS, loss_names(3))]
)
def test_all_that_is_measured_has_room(kinds, losses, tmp_path):
    entries = []
    for epoch in range(1, 4):
        entries.append({"kind": "train", "epoch": epoch, "loss": 2.0 / epoch, **{f"loss_{x}": 0.5 for x in losses}})
        scores = {f"{prefix}{kind.name}": 10.0 * epoch for kind in kinds for prefix in ("", "ema_")}
        entries.append({"kind": "eval", "epoch": epoch, **scores})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # where a legend leaves no room for the axes
        draw_curves(entries, kinds, tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    rows = np.flatnonzero((np.abs(pixels - (0x2A, 0x6F, 0xBB)).sum(axis=2) < 30).any(axis=1))
    assert rows.max() - rows.min() > pixels.shape[0] / 3  # the curve of the loss fills its axes
