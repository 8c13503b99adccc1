"""How well class features tell labels apart: nearest neighbours, and a linear classifier, of scikit-learn."""

import numpy as np

from ..errors import UserError, counted
from .class_features import LabelledFeatures

_STEPS = 1000  # of L-BFGS at most


def check_neighbours(k: int, num_images: int) -> None:
    """Raises UserError where `num_images` of the train split are fewer than `k`."""
    if num_images < k:
        raise UserError(f"--knn {k}: the train split has {counted(num_images, 'image')}; give a smaller number")


def score_lines(train: LabelledFeatures, val: LabelledFeatures, knn: int | None, linear_probe: bool) -> list[str]:
    """The accuracies that are asked for, as lines for the user.

    Args:
        train, val: of the two splits.
        knn: so many nearest neighbours; None for none.
        linear_probe: logistic regression.

    Raises:
        UserError: as `knn_accuracy` and `linear_accuracy` do.
    """
    scores = {}
    if knn is not None:
        scores[counted(knn, "nearest neighbour")] = knn_accuracy(train, val, knn)
    if linear_probe:
        scores["linear probe"] = linear_accuracy(train, val)
    images = [counted(len(found.labels), f"{name} image") for found, name in ((val, "validation"), (train, "training"))]
    return [f"{name}: top-1 {score:.2f} % of {images[0]}, by {images[1]}" for name, score in scores.items()]


def knn_accuracy(train: LabelledFeatures, val: LabelledFeatures, k: int) -> float:
    """The share, in percent, of `val` whose label most of the `k` nearest of `train` have, by cosine similarity.

    Raises:
        UserError: there are fewer than `k`.
    """
    from sklearn.neighbors import KNeighborsClassifier

    check_neighbours(k, len(train.features))
    neighbours = KNeighborsClassifier(n_neighbors=k, metric="cosine")
    return _fit_and_score(neighbours, train, val)


def linear_accuracy(train: LabelledFeatures, val: LabelledFeatures) -> float:
    """The share, in percent, of `val` whose label logistic regression on `train` tells.

    Features are standardised with mean and deviation of `train`; L2 penalty with C = 1, L-BFGS.

    Raises:
        UserError: all images of `train` have one label.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train.labels)) < 2:
        raise UserError("--linear_probe: all images of the train split have one label; expected at least two")
    return _fit_and_score(make_pipeline(StandardScaler(), LogisticRegression(max_iter=_STEPS)), train, val)


def _fit_and_score(classifier, train: LabelledFeatures, val: LabelledFeatures) -> float:
    return 100 * float(classifier.fit(train.features, train.labels).score(val.features, val.labels))
