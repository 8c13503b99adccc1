"""Image files as images of a COCO data set, which results are about."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..config import DataConfig
from ..data.coco import Coco
from ..data.labels import match_labels, named
from ..errors import UserError
from ..weights.detector_card import DetectorCard
from .coco_results import FoundInFile


class CocoImages:
    """The validation images of a configuration.

    Attributes:
        category_ids: of a detector's labels.
        lines: what a user should know about the labels.

    Args:
        config: section `data`.
        card: of the detector.
        checkpoint: names its file in messages.

    Raises:
        UserError: the data is none of COCO or cannot be read, or it has other categories than the detector.
    """

    def __init__(self, config: DataConfig, card: DetectorCard, checkpoint: Path) -> None:
        if config.source != "coco" or config.root is None:
            raise UserError(
                "--coco_results needs the data set that the images are of: add --config FILE of a detector, whose "
                "data.source is 'coco', and --data DIR where it names no folder"
            )
        self._data = Coco(config.root, "val", config.val_annotations, config.val_images, keep_segmentations=False)
        match = match_labels(card.classes, self._data.classes, checkpoint)
        ids = dict(zip(match.outputs, self._data.category_ids, strict=True))
        absent = [label for number, label in enumerate(card.classes) if number not in ids]
        if absent:
            raise UserError(
                f"{self._data.annotations_file} has no category for labels of {checkpoint} ({named(absent)}), so that "
                "their boxes cannot be COCO's results; leave --coco_results out"
            )
        self.category_ids, self.lines = [ids[number] for number in range(len(ids))], match.lines
        self._places: dict[str, list[int]] = {}
        for place in range(len(self._data)):
            self._places.setdefault(self._data.path(place).name, []).append(place)

    def check_files(self, files: Iterable[Path]) -> None:
        """Raises UserError where a file is no image of the data, by its name, or two of them are the same."""
        known: dict[int, Path] = {}
        for file in files:
            other = known.setdefault(self._place(file), file)
            if other is not file:
                raise UserError(f"{file} and {other} are one image of {self._data.annotations_file}: leave one out")

    def check_size(self, image: FoundInFile) -> None:
        """Raises UserError where an image is not of the size that it has in the data."""
        height, width = self._data.size(self._place(image.file))
        if (image.height, image.width) != (height, width):
            raise UserError(
                f"image {image.file} is {image.width} x {image.height} pixels, but {self._data.annotations_file} says "
                f"{width} x {height} (width x height); its boxes would be no results of it: leave --coco_results out"
            )

    def image_id(self, file: Path) -> int:
        """Its id in the file of annotations."""
        return self._data.image_id(self._place(file))

    def _place(self, file: Path) -> int:
        places: Sequence[int] = self._places.get(file.name, ())
        if len(places) > 1:  # in several folders of the data
            places = [place for place in places if os.path.realpath(self._data.path(place)) == os.path.realpath(file)]
        if len(places) != 1:
            raise UserError(
                f"{file} is no image of {self._data.annotations_file}: leave it or --coco_results out, or name the "
                "data set that it is of (--data DIR)"
            )
        return places[0]
