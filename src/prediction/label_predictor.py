"""Labels for predict.py."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .drawing import Drawings
from .files import write_predictions
from .open_classifier import OpenClassifier
from .options import TOP_K, PredictOptions
from .predictions import Prediction, Skipped, predict_images
from .predictor import Predictor
from .table import PredictionTable


class LabelPredictor(Predictor):
    """The most probable labels of each image.

    Args:
        classifier: the network.
        options: of predict.py; those of detectors are not looked at.
    """

    def __init__(self, classifier: OpenClassifier, options: PredictOptions) -> None:
        self._classifier, self._options = classifier, options
        self.changes = classifier.changes

    def table(self, files: Sequence[Path], columns: int | None) -> PredictionTable:
        return PredictionTable(files, self._classifier.card.classes, columns)

    def predict(self, files: Sequence[Path], workers: int) -> Iterator[Prediction | Skipped]:
        batch_size = self._classifier.batch_size(self._options.batch_size, len(files))
        top_k = self._options.top_k or TOP_K
        return predict_images(self._classifier, files, batch_size=batch_size, top_k=top_k, workers=workers)

    def draw(self, drawings: Drawings, result: Prediction) -> None:
        drawings.draw(result)

    def write(self, results: Sequence[Prediction], skipped: Sequence[Skipped]) -> None:
        write_predictions(self._options.json, self._options.csv, results, skipped)
