"""Beyond top-1: scores of each class, what is taken for what, calibration, and the images that are wrong."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.loader import Dataset
from ..errors import printable
from ..files.csv_file import csv_line, csv_text, write_csv
from ..files.json_file import write_json
from ..files.whole_file import write_whole
from ..terminal.text_table import Table
from .judged_images import JudgedImages
from .report_pictures import draw_calibration, draw_confusion, draw_mistakes

BINS = 15
"""Of probabilities, as in Guo et al., On Calibration of Modern Neural Networks, 2017."""

MOST_MISTAKES = 25


class ClassScore(NamedTuple):
    """How well a class is told.

    Attributes:
        name: its label.
        images: that are of it.
        predicted: images that are taken for it.
        precision: share of those taken for it that are of it; None where there are none.
        recall: share of its images that are taken for it, its accuracy; None where there are none.
        f1: harmonic mean of both, 0 where one of them is; None where there are no images of it.
    """

    name: str
    images: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


class Bin(NamedTuple):
    """Images whose prediction has a probability of more than `above`, at most `to`.

    Attributes:
        confidence: mean probability; None without images.
        accuracy: share that is right; None without images.
    """

    above: float
    to: float
    images: int
    confidence: float | None
    accuracy: float | None


class ClassificationReport:
    """Numbers, tables and pictures of what a classifier said.

    Args:
        judged: at least one image.
        classes: label of each output.
    """

    def __init__(self, judged: JudgedImages, classes: Sequence[str]):
        self.judged, self.classes = judged, classes

    def per_class(self) -> list[ClassScore]:
        """Of the classes that there are images of, or that something is taken for."""
        from sklearn.metrics import precision_recall_fscore_support  # slow to import, and few commands make a report

        judged, present = self.judged, self._present()
        precision, recall, f1, images = precision_recall_fscore_support(
            judged.labels, judged.predictions, labels=present, zero_division=0.0
        )
        predicted = np.bincount(judged.predictions, minlength=len(self.classes))[present]
        return [
            ClassScore(
                self.classes[label],
                int(images[row]),
                int(predicted[row]),
                float(precision[row]) if predicted[row] else None,
                float(recall[row]) if images[row] else None,
                float(f1[row]) if images[row] else None,
            )
            for row, label in enumerate(present)
        ]

    def confused_pairs(self) -> Iterator[tuple[str, str, int, float]]:
        """Label, what it is taken for, how many images, and their share of the label's; most first."""
        counts, present = self.confusion(), self._present()
        of_label = counts.sum(axis=1)
        np.fill_diagonal(counts, 0)
        for place in np.argsort(-counts, axis=None, kind="stable"):
            label, taken = divmod(int(place), len(present))
            if not counts[label, taken]:
                return
            names = self.classes[present[label]], self.classes[present[taken]]
            yield *names, int(counts[label, taken]), float(counts[label, taken] / of_label[label])

    def confusion(self) -> np.ndarray:
        """Counts (n, n) of the classes of `per_class`: a row for each label, a column for what it is taken for."""
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(self.judged.labels, self.judged.predictions, labels=self._present())

    def calibration(self) -> list[Bin]:
        """`BINS` of equal width."""
        edges, judged, bins = np.linspace(0, 1, BINS + 1), self.judged, []
        for above, to in zip(edges[:-1], edges[1:], strict=True):
            inside = (judged.probabilities > above) & (judged.probabilities <= to)
            confidence = accuracy = None
            if inside.any():
                confidence = float(judged.probabilities[inside].mean())
                accuracy = float(judged.are_right[inside].mean())
            bins.append(Bin(float(above), float(to), int(inside.sum()), confidence, accuracy))
        return bins

    def calibration_error(self) -> float:
        """Expected calibration error: |accuracy - confidence| of a bin, the mean over images."""
        gaps = (of.images * abs(of.accuracy - of.confidence) for of in self.calibration() if of.images)
        return sum(gaps) / len(self.judged)

    def mistakes(self) -> np.ndarray:
        """Places in `judged` of the images that are wrong, the most confident first."""
        wrong = np.flatnonzero(~self.judged.are_right)
        return wrong[np.argsort(-self.judged.probabilities[wrong], kind="stable")]

    def table(self) -> Table:
        """`per_class` in percent."""
        rows = [
            [
                printable(of.name),
                *("-" if value is None else f"{100 * value:.2f}" for value in (of.precision, of.recall, of.f1)),
                f"{of.images:,}",
            ]
            for of in self.per_class()
        ]
        return Table("Scores of each class in percent", ["class", "precision", "recall", "F1", "images"], rows)

    def numbers(self) -> dict[str, Any]:
        """Plain values for JSON, shares from 0 to 1."""
        scores = [of for of in self.per_class() if of.images]
        return {
            "images": len(self.judged),
            "accuracy": float(self.judged.are_right.mean()),
            "balanced_accuracy": float(np.mean([of.recall for of in scores])),
            "macro_f1": float(np.mean([of.f1 for of in scores])),
            "expected_calibration_error": self.calibration_error(),
            "classes": [of._asdict() for of in self.per_class()],
            "calibration": [of._asdict() for of in self.calibration()],
        }

    def write(self, folder: Path, dataset: Dataset) -> list[str]:
        """Writes all of it, and returns the names of the files.

        Args:
            folder: exists.
            dataset: where the images come from.

        Raises:
            UserError: a file cannot be written.
        """
        write_json(folder / "scores.json", self.numbers())
        tables = {
            "classes.csv": self._classes_csv(),
            "images.csv": self._images_csv(dataset),
            "confusion.csv": self._confusion_csv(),
            "confused_pairs.csv": self._pairs_csv(),
        }
        for name, lines in tables.items():
            write_csv(folder / name, "".join(lines))
        names = [self.classes[label] for label in self._present()]
        pictures = {
            "confusion.png": draw_confusion(self.confusion(), names, list(self.confused_pairs())),
            "calibration.png": draw_calibration(self.calibration(), self.calibration_error()),
        }
        if len(worst := self.mistakes()[:MOST_MISTAKES]):
            pictures["mistakes.png"] = draw_mistakes(self.judged, worst, self.classes, dataset)
        for name, content in pictures.items():
            write_whole(folder / name, content)
        return ["scores.json", *tables, *pictures]

    def _present(self) -> np.ndarray:
        return np.union1d(self.judged.labels, self.judged.predictions)

    def _classes_csv(self) -> Iterator[str]:
        yield csv_line(*ClassScore._fields)
        for of in self.per_class():
            yield csv_line(csv_text(of.name), *("" if value is None else value for value in of[1:]))

    def _images_csv(self, dataset: Dataset) -> Iterator[str]:
        judged = self.judged
        yield csv_line("index", "file", "label", "prediction", "probability", "rank")
        for row, index in enumerate(judged.indices.tolist()):
            names = (self.classes[labels[row]] for labels in (judged.labels, judged.predictions))
            yield csv_line(
                index,
                csv_text(dataset.describe(index)),
                *map(csv_text, names),
                judged.probabilities[row],
                judged.ranks[row],
            )

    def _confusion_csv(self) -> Iterator[str]:
        names = [csv_text(self.classes[label]) for label in self._present()]
        yield csv_line("label", *names)
        for name, counts in zip(names, self.confusion().tolist(), strict=True):
            yield csv_line(name, *counts)

    def _pairs_csv(self) -> Iterator[str]:
        yield csv_line("label", "prediction", "images", "share")
        for label, prediction, images, share in self.confused_pairs():
            yield csv_line(csv_text(label), csv_text(prediction), images, share)
