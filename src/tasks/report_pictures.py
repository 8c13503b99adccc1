"""Pictures of a classifier's report, as PNG."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from ..data.loader import Dataset
from ..errors import printable
from ..terminal.fonts import choose_font, find_fonts, shorten
from .judged_images import JudgedImages

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

    from .classification_report import Bin

MOST_CLASSES = 50
"""A matrix of more cannot be read: the most confused pairs are drawn in its place."""

MOST_NUMBERS = 20  # classes of a matrix whose cells have numbers
MOST_PAIRS = 30
LONGEST_NAME = 24

_SIDE, _COLUMNS, _ROOM = 180, 5, 8  # pixels of an image, images in a row, pixels between
_LINE, _LETTERS = 20, 14  # pixels, of text
_BLUE, _GREEN, _RED, _GREY = "#2a6fbb", "#20794d", "#b3263a", "#666666"


def draw_confusion(counts: np.ndarray, classes: Sequence[str], pairs: Sequence[tuple[str, str, int, float]]) -> bytes:
    """The shares of each label's images that are taken for each class, or the most confused pairs of many classes.

    Args:
        counts: (n, n), a row for each label.
        classes: n labels.
        pairs: see `ClassificationReport.confused_pairs`.
    """
    if len(classes) > MOST_CLASSES:
        return _draw_pairs(pairs[:MOST_PAIRS])
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.32 * len(classes)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names, fonts = [_short(name) for name in classes], _font(classes)
    axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False, **fonts)
    axes.set_yticks(range(len(names)), names, parse_math=False, **fonts)
    axes.set(xlabel="prediction", ylabel="label")
    if len(classes) <= MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, label="share of the label's images", shrink=0.8)
    return _png(figure)


def draw_calibration(bins: Sequence["Bin"], error: float) -> bytes:
    """Accuracy over confidence, above how many images there are of each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    width, known = bins[0].to - bins[0].above, [of for of in bins if of.images]
    above.bar([of.above for of in known], [of.accuracy for of in known], width, align="edge", color=_BLUE, ec="white")
    above.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="as probable as said")
    above.plot([of.confidence for of in known], [of.accuracy for of in known], "o", color="black", markersize=3)
    above.set(ylabel="accuracy", ylim=(0, 1), xlim=(0, 1), title=f"Expected calibration error {100 * error:.2f} %")
    above.legend(frameon=False, loc="upper left")
    below.bar([of.above for of in bins], [of.images for of in bins], width, align="edge", color="#9db8d6", ec="white")
    below.set(xlabel="probability of the prediction", ylabel="images")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def draw_mistakes(judged: JudgedImages, places: Sequence[int], classes: Sequence[str], dataset: Dataset) -> bytes:
    """Images in rows, below each its label in green, the prediction in red, and its name.

    Args:
        judged: all images.
        places: of those to draw.
        classes: label of each output.
        dataset: gives the images.
    """
    fonts = find_fonts()
    rows, columns = -(-len(places) // _COLUMNS), min(len(places), _COLUMNS)
    width, height = _SIDE + _ROOM, _SIDE + 3 * _LINE + _ROOM
    picture = Image.new("RGB", (columns * width + _ROOM, rows * height + _ROOM), "white")
    draw = ImageDraw.Draw(picture)
    for number, place in enumerate(places):
        index = int(judged.indices[place])
        left, top = _ROOM + number % _COLUMNS * width, _ROOM + number // _COLUMNS * height
        image = _tile(dataset[index][0])
        picture.paste(image, (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2))
        label, prediction = (classes[of[place]] for of in (judged.labels, judged.predictions))
        share = f"   {100 * judged.probabilities[place]:.1f} %"
        texts = (label, "", _GREEN), (prediction, share, _RED), (Path(dataset.describe(index)).name, "", _GREY)
        for row, (text, end, colour) in enumerate(texts):
            font = choose_font(fonts, text).font_variant(size=_LETTERS)
            text = shorten(printable(text), font, int(_SIDE - font.getlength(end))) + end
            draw.text((left, top + _SIDE + _LINE * row + _LINE // 2), text, colour, font, anchor="lm")
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _tile(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    factor = _SIDE / max(image.size)
    size = tuple(max(1, round(side * factor)) for side in image.size)
    return image.resize(size, Image.Resampling.NEAREST if factor > 2 else Image.Resampling.LANCZOS)


def _draw_pairs(pairs: Sequence[tuple[str, str, int, float]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.25 * max(len(pairs), 1)), layout="constrained")
    axes = figure.subplots()
    names = [f"{_short(label)} → {_short(prediction)}" for label, prediction, *_ in pairs]
    axes.barh(range(len(pairs)), [images for *_, images, _ in pairs], color=_BLUE)
    axes.set_yticks(range(len(pairs)), names, parse_math=False, **_font([name for pair in pairs for name in pair[:2]]))
    axes.invert_yaxis()
    for row, (*_, images, share) in enumerate(pairs):
        axes.text(images, row, f" {images:,} ({100 * share:.0f} %)", va="center", fontsize=8)
    axes.margins(x=0.15)
    axes.set(xlabel="images (share of the label's)", title="Label → what it is most often taken for")
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _font(names: Sequence[str]) -> dict[str, "FontProperties"]:
    """For matplotlib, which has a font of its own for Latin, Greek and Cyrillic."""
    from matplotlib.font_manager import FontProperties

    path = choose_font(find_fonts(), "".join(names)).path
    return {"font": FontProperties(fname=path)} if isinstance(path, str) else {}


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # `choose_font` has said it
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
