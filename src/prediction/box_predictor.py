"""Boxes for predict.py."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..data.read_image import read_image
from .box_drawing import draw_boxes
from .box_files import write_boxes_csv
from .box_table import BoxTable
from .coco_images import CocoImages
from .coco_results import FoundInFile, write_coco_results, write_detections
from .detections import detect_in_images
from .detector import Detector
from .drawing import Drawings
from .options import PredictOptions
from .predictions import Skipped
from .predictor import Predictor


class BoxPredictor(Predictor):
    """The boxes in each image.

    Args:
        detector: the network.
        options: of predict.py; those of classifiers are not looked at.
        score_threshold: boxes have a higher score.
        max_boxes: of an image.
        coco: what the images are of, where COCO's results are wanted.
    """

    def __init__(
        self,
        detector: Detector,
        options: PredictOptions,
        score_threshold: float,
        max_boxes: int,
        coco: CocoImages | None = None,
    ) -> None:
        self._detector, self._options, self._coco = detector, options, coco
        self._score_threshold, self._max_boxes = score_threshold, max_boxes
        self.changes = [*detector.changes, *(coco.lines if coco is not None else ())]

    def table(self, files: Sequence[Path], columns: int | None) -> BoxTable:
        return BoxTable(files, self._detector.card.classes, columns)

    def predict(self, files: Sequence[Path], workers: int) -> Iterator[FoundInFile | Skipped]:
        batch_size = self._detector.batch_size(self._options.batch_size, len(files))
        if self._coco is not None:
            self._coco.check_files(files)
        results = detect_in_images(
            self._detector,
            files,
            batch_size=batch_size,
            score_threshold=self._score_threshold,
            max_boxes=self._max_boxes,
            workers=workers,
        )
        return results if self._coco is None else map(self._checked, results)

    def _checked(self, result: FoundInFile | Skipped) -> FoundInFile | Skipped:
        if isinstance(result, FoundInFile):
            self._coco.check_size(result)
        return result

    def draw(self, drawings: Drawings, result: FoundInFile) -> None:
        image, classes, found = read_image(result.file), self._detector.card.classes, result.found
        drawings.write(result.file, draw_boxes(image, *found[:3], classes, drawings.fonts, found.masks))

    def write(self, results: Sequence[FoundInFile], skipped: Sequence[Skipped]) -> None:
        options, classes = self._options, self._detector.card.classes
        if options.json is not None:
            write_detections(options.json, results, classes, skipped)
        if options.csv is not None:
            write_boxes_csv(options.csv, results, classes)
        if self._coco is not None:
            images = [(self._coco.image_id(image.file), image.found) for image in results]
            write_coco_results(options.coco_results, images, self._coco.category_ids)
