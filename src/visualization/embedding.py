"""Class features of labelled images as points in the plane, by t-SNE or PCA."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..data.loader import Dataset
from ..errors import UserError

METHODS = ("tsne", "pca")
FEWEST_IMAGES = 5
MOST_NAMED_CLASSES = 20


class Thinned:
    """A data set of at most `count` images of a data set, evenly spread over it, so that all classes are among them.

    Args:
        dataset: see `src.data`.
        count: of images.
    """

    def __init__(self, dataset: Dataset, count: int) -> None:
        self._dataset = dataset
        self._indices = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
        self.classes = dataset.classes

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self._dataset[int(self._indices[index])]

    def label(self, index: int) -> int:
        return self._dataset.label(int(self._indices[index]))

    def describe(self, index: int) -> str:
        return self._dataset.describe(int(self._indices[index]))

    def fingerprint(self) -> str:
        return self._dataset.fingerprint()


def embed(features: np.ndarray, method: str, seed: int) -> np.ndarray:
    """(n, D) -> (n, 2), the same at every run.

    Args:
        features: of images.
        method: 'tsne' (van der Maaten and Hinton, 2008; perplexity 30, less where there are under 90 images) or 'pca'.
        seed: of t-SNE.

    Raises:
        UserError: fewer than five images.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(features) < FEWEST_IMAGES:
        raise UserError(f"an embedding needs at least {FEWEST_IMAGES} images, got {len(features)}")
    if method == "pca":
        return PCA(2, svd_solver="full").fit_transform(features)
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def draw_embedding(points: np.ndarray, labels: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """The points, coloured by class; classes are named where they are not too many.

    Args:
        points: (n, 2).
        labels: (n,).
        classes: names in label order.
        title: of the picture.
    """
    figure = Figure(figsize=(8, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    palette = colormaps["tab10" if len(classes) <= 10 else "tab20" if len(classes) <= 20 else "gist_rainbow"]
    for label in np.unique(labels):
        color = palette(label if len(classes) <= 20 else label / max(1, len(classes) - 1))
        chosen = points[labels == label]
        axes.scatter(*chosen.T, s=14, color=color, label=str(label), alpha=0.8, linewidths=0)
    axes.set_title(title, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    if len(classes) <= MOST_NAMED_CLASSES:
        legend = axes.legend(frameon=False, markerscale=1.5, loc="center left", bbox_to_anchor=(1, 0.5))
        for entry, label in zip(legend.get_texts(), np.unique(labels), strict=True):
            entry.set_parse_math(False)  # names may hold dollar signs, or begin with what matplotlib leaves out
            entry.set_text(classes[label])
    return figure
