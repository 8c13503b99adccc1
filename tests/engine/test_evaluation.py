"""Scores against a reader's arithmetic."""

import numpy as np
import pytest

from src.engine.evaluation import ScoreCounter


def test_scores_of_batches_add_up():
    counter = ScoreCounter()
    counter.add(np.array([[5.0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]], np.float32), np.array([0, 0]))
    counter.add(np.array([[0.0, 9, 1, 1, 1, 1]], np.float32), np.array([5]))
    scores = counter.scores()
    assert scores.images == 3
    assert scores.top1 == pytest.approx(100 / 3)
    # row 2: label 0 is the last of six; row 3: of equal logits the lower index is first, so label 5 is the fifth
    assert scores.top5 == pytest.approx(200 / 3)
    rows = [
        (np.array([5, 0, 1, 2, 3, 4.0]), 0),
        (np.array([0, 1, 2, 3, 4, 5.0]), 0),
        (np.array([0, 9, 1, 1, 1, 1.0]), 5),
    ]
    assert scores.loss == pytest.approx(np.mean([np.log(np.exp(r).sum()) - r[k] for r, k in rows]))


def test_top5_with_fewer_classes_counts_all_of_them():
    counter = ScoreCounter()
    counter.add(np.array([[1.0, 2.0, 3.0]], np.float32), np.array([0]))
    assert counter.scores().top1 == 0 and counter.scores().top5 == 100


def test_large_logits_do_not_overflow():
    counter = ScoreCounter()
    counter.add(np.array([[1e4, 0.0]], np.float32), np.array([1]))
    assert counter.scores().loss == pytest.approx(1e4)
