"""Class features and their embedding in the plane."""

import numpy as np
import pytest

from src.data.digits import Digits
from src.errors import UserError
from src.visualization.embedding import Thinned, draw_embedding, embed


def clusters() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    centres = 20 * np.eye(3, 8)
    return (centres[labels] + rng.standard_normal((60, 8))).astype(np.float32), labels


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_clusters_stay_apart_and_runs_agree(method):
    features, labels = clusters()
    points = embed(features, method, seed=1)
    assert points.shape == (60, 2)
    np.testing.assert_array_equal(points, embed(features, method, seed=1))
    centres = np.stack([points[labels == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
    assert (nearest == labels).all()


def test_too_few_images():
    with pytest.raises(UserError, match="at least 5 images, got 4"):
        embed(np.zeros((4, 3), np.float32), "pca", 0)
    assert np.isfinite(embed(np.random.default_rng(0).standard_normal((5, 3)), "tsne", 0)).all()


def test_thinned_spreads_over_the_data():
    digits = Digits("val")
    thin = Thinned(digits, 60)
    assert len(thin) == 60 and thin.classes == digits.classes
    assert {thin.label(i) for i in range(60)} == set(range(10))
    assert thin[59][1] == thin.label(59) == digits.label(359)
    assert len(Thinned(digits, 1000)) == 360


def test_classes_are_named_where_they_are_few():
    points, labels = np.zeros((6, 2)), np.array([0, 1, 2, 0, 1, 2])
    figure = draw_embedding(points, labels, ["a", "_b", "$c$ \\q$", "unseen"], "title")
    legend = figure.axes[0].get_legend()
    assert [entry.get_text() for entry in legend.get_texts()] == ["a", "_b", "$c$ \\q$"]
    figure.draw_without_rendering()  # a name is no formula
    assert draw_embedding(points, labels, [str(k) for k in range(21)], "title").axes[0].get_legend() is None
