"""Scores against a reader's arithmetic."""

import numpy as np
import pytest

from src.devices.ranks import Exchange, Ranks
from src.tasks.classification_scores import ClassificationScorer
from src.tasks.scores import NotFiniteError


def add(counter, logits, labels, indices, num_valid=None):
    counter.add(
        np.array(logits, np.float32),
        (np.array(labels), np.array(indices)),
        len(labels) if num_valid is None else num_valid,
    )


class Photos:
    """A data set, as far as messages need one."""

    def describe(self, index):
        return f"photo {index}"


class OtherRank(Exchange):
    """An exchange with one that has judged other images."""

    def __init__(self, other):
        super().__init__(Ranks())
        self._other = other

    def rows(self, own):
        return np.concatenate([*self._other._rows, own])

    def union(self, indices):
        return {*indices, *self._other._not_finite}


def scorer(num_classes=6):
    return ClassificationScorer([str(label) for label in range(num_classes)], Photos())


def test_scores_of_batches_add_up():
    counter = scorer()
    add(counter, [[5.0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]], [0, 0], [0, 1])
    add(counter, [[0.0, 9, 1, 1, 1, 1], [7, 7, 7, 7, 7, 7]], [5, 0], [2, 2], num_valid=1)
    scores = counter.scores()
    assert scores.images == 3
    assert scores["top1"] == pytest.approx(100 / 3)
    # row 2: label 0 is the last of six; row 3: of equal logits the lower index is first, so label 5 is the fifth
    assert scores["top5"] == pytest.approx(200 / 3)
    rows = [
        (np.array([5, 0, 1, 2, 3, 4.0]), 0),
        (np.array([0, 1, 2, 3, 4, 5.0]), 0),
        (np.array([0, 9, 1, 1, 1, 1.0]), 5),
    ]
    assert scores["loss"] == pytest.approx(np.mean([np.log(np.exp(r).sum()) - r[k] for r, k in rows]))


def test_top5_with_fewer_classes_counts_all_of_them():
    counter = scorer()
    add(counter, [[1.0, 2.0, 3.0]], [0], [0])
    assert counter.scores()["top1"] == 0 and counter.scores()["top5"] == 100


def test_large_logits_do_not_overflow():
    counter = scorer()
    add(counter, [[1e4, 0.0]], [1], [0])
    assert counter.scores()["loss"] == pytest.approx(1e4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_score(value):
    """NaN would rank class 0 first. Counted to the end, and the first image is named, whichever rank met it."""
    counter = scorer()
    add(counter, [[1.0, 2.0], [value, 0.0], [value, value]], [0] * 3, [1, 3, 5])
    add(counter, [[1.0, 2.0]], [0] * 1, [7])
    with pytest.raises(NotFiniteError, match=r"not finite for 2 of 4 images, the first is photo 3: its weights"):
        counter.scores()
    other = scorer()
    add(other, [[1.0, 2.0]] * 3 + [[value, 1.0]], [0] * 4, [0, 4, 6, 2])
    with pytest.raises(NotFiniteError, match=r"not finite for 3 of 8 images, the first is photo 2"):
        counter.scores(OtherRank(other))


def test_every_rank_hears_of_what_is_not_finite():
    counter, other = scorer(), scorer()
    add(counter, [[1.0, 2.0]], [0], [0])
    add(other, [[np.nan, 2.0]], [0], [1])
    with pytest.raises(NotFiniteError, match="not finite for 1 of 2 images"):
        counter.scores(OtherRank(other))


def test_the_same_numbers_on_any_number_of_ranks():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 7)), rng.integers(0, 7, 50)
    whole, first, second = scorer(7), scorer(7), scorer(7)
    add(whole, logits, labels, range(50))
    add(second, logits[::2], labels[::2], range(0, 50, 2))
    add(first, logits[1::2], labels[1::2], range(1, 50, 2))
    assert first.scores(OtherRank(second)).to_dict() == whole.scores().to_dict()
    for name, values in vars(whole.judged).items():
        np.testing.assert_array_equal(getattr(first.judged, name), values)


def test_five_classes_or_fewer_have_no_top5_to_tell():
    for count, told in ((5, False), (6, True)):
        counter = scorer(count)
        add(counter, [np.arange(count)], [0], [0])
        assert ("top-5" in str(counter.scores())) == told and "top5" in counter.scores()


def test_of_equal_scores_the_lower_loss_is_better():
    better, worse = scorer(2), scorer(2)
    add(better, [[3.0, 0.0]], [0], [0])
    add(worse, [[1.0, 0.0]], [0], [0])
    better, worse = better.scores(), worse.scores()
    assert better.deciding == worse.deciding and better.tie_breaker > worse.tie_breaker
