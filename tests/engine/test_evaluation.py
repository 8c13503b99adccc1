"""Scores against a reader's arithmetic."""

import numpy as np
import pytest

from src.engine.evaluation import NotFiniteError, ScoreCounter


def test_scores_of_batches_add_up():
    counter = ScoreCounter()
    counter.add(np.array([[5.0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]], np.float32), np.array([0, 0]), np.array([0, 1]))
    counter.add(np.array([[0.0, 9, 1, 1, 1, 1]], np.float32), np.array([5]), np.array([2]))
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
    counter.add(np.array([[1.0, 2.0, 3.0]], np.float32), np.array([0]), np.array([0]))
    assert counter.scores().top1 == 0 and counter.scores().top5 == 100


def test_large_logits_do_not_overflow():
    counter = ScoreCounter()
    counter.add(np.array([[1e4, 0.0]], np.float32), np.array([1]), np.array([0]))
    assert counter.scores().loss == pytest.approx(1e4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_score(value):
    """NaN would rank class 0 first. Counted to the end, and the first image is named, whichever rank met it."""
    counter = ScoreCounter()
    counter.add(np.array([[1.0, 2.0], [value, 0.0], [value, value]], np.float32), np.zeros(3, int), np.array([1, 3, 5]))
    counter.add(np.array([[1.0, 2.0]], np.float32), np.zeros(1, int), np.array([7]))
    with pytest.raises(NotFiniteError, match=r"not finite for 2 of 4 images, the first is photo 3: its weights"):
        counter.scores(describe="photo {}".format)
    other_rank = [0.0, 0, 0, 3, 1, 2]
    with pytest.raises(NotFiniteError, match=r"not finite for 3 of 8 images, the first is photo 2"):
        counter.scores(lambda own: np.array([own, other_rank], np.float64), "photo {}".format)


def test_every_rank_hears_of_what_is_not_finite():
    counter = ScoreCounter()
    counter.add(np.array([[1.0, 2.0]], np.float32), np.array([0]), np.array([0]))
    with pytest.raises(NotFiniteError, match="not finite for 1 of 2 images"):
        counter.scores(lambda own: np.array([own, [0.0, 0, 0, 0, 1, 1]], np.float64))
