"""COCO's numbers of detections, of their boxes and of their masks, by pycocotools, over the images that were judged."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..detection.paste_masks import paste_masks
from ..detection.run_lengths import RunLengths, lengths
from ..devices.ranks import Exchange, Ranks
from ..errors import UserError, printable, shown
from ..files.csv_file import csv_line, csv_text, write_csv
from ..terminal.text_table import Table
from .scores import NotFiniteError, ScoreKind, Scores

SCORE_KINDS = (
    ScoreKind("ap", "AP", "%"),
    ScoreKind("ap50", "AP50", "%"),
    ScoreKind("ap75", "AP75", "%"),
    ScoreKind("ap_small", "AP small", "%", is_drawn=False),
    ScoreKind("ap_medium", "AP medium", "%", is_drawn=False),
    ScoreKind("ap_large", "AP large", "%", is_drawn=False),
    ScoreKind("ar1", "AR1", "%", is_drawn=False),
    ScoreKind("ar10", "AR10", "%", is_drawn=False),
    ScoreKind("ar100", "AR100", "%", is_drawn=False),
    ScoreKind("ar_small", "AR small", "%", is_drawn=False),
    ScoreKind("ar_medium", "AR medium", "%", is_drawn=False),
    ScoreKind("ar_large", "AR large", "%", is_drawn=False),
)
"""COCO's numbers in its order: average precision over IoU of 0.50 to 0.95, at 0.50 and 0.75, and of objects of less
than 32^2, 32^2 to 96^2 and more pixels; average recall with 1, 10 and 100 detections an image, and of the three sizes.
In percent; -1 for a size of which no object is annotated."""

MASK_SCORE_KINDS = tuple(
    kind._replace(name=f"mask_{kind.name}", title=f"mask {kind.title}") for kind in SCORE_KINDS[:6]
)
"""The first six of them where masks have to overlap instead of boxes."""

SCORE_KINDS_WITH_MASKS = SCORE_KINDS + MASK_SCORE_KINDS
"""Of detectors with masks; boxes decide as they do without."""

_NONE = -1.0  # what COCO gives where there is nothing to find


class ClassScore(NamedTuple):
    """How well a category is found.

    Attributes:
        name: of the category.
        ap, ap50: in percent; -1 where no object is annotated.
        objects: annotated ones that are no crowd, in the judged images.
        mask_ap, mask_ap50: the same of masks; None where there are none.
    """

    name: str
    ap: float
    ap50: float
    objects: int
    mask_ap: float | None = None
    mask_ap50: float | None = None


class DetectionScorer:
    """Collects detections batch by batch, and compares them with a file of annotations at the end.

    All objects of the file count as COCO counts them, also those that training leaves out.

    Args:
        annotations_file: JSON in COCO layout.
        category_ids: label -> id of its category in the file.
        image_ids: index -> id of the image in the file.
        has_masks: whether detections have masks, which are scored too: `SCORE_KINDS_WITH_MASKS` instead of
            `SCORE_KINDS`.

    Raises:
        UserError: pycocotools is not installed, the file cannot be read or is no such file, or it lacks one of the ids,
            or for masks the size of an image or the segmentation of an object.
    """

    def __init__(
        self,
        annotations_file: str | Path,
        category_ids: Sequence[int],
        image_ids: Sequence[int],
        has_masks: bool = False,
    ) -> None:
        import_coco_tools()
        self._has_masks = has_masks
        self._annotations = _Annotations(annotations_file, category_ids, image_ids, has_masks)
        self._rows: list[np.ndarray] = []  # image, label, score, x, y, width, height
        self._masks: list[bytes] = []  # of each row, the letters of its run-length code
        self._images: list[int] = []
        self._not_finite: list[int] = []
        self._per_class: list[ClassScore] | None = None

    def add(self, outputs: tuple[np.ndarray, ...], truth: tuple[np.ndarray, ...], num_valid: int) -> None:
        """Takes note of the detections of a batch.

        An image with a detection that is not finite counts nowhere, and is noted. So is one with a negative count, by
        which a network can say that what it chose detections from was not finite: NaN passes no threshold, and would
        else look like an empty image.

        Args:
            outputs: boxes (B, N, 4) float32, x0 y0 x1 y1 in pixels of the image as it is in the file; scores (B, N)
                float32; labels (B, N) int32; counts (B,) int32, how many of the N count; where there are masks
                probabilities (B, N, S, S) float32 within the box of each.
            truth: indices (B,) into `image_ids`.
            num_valid: how many of the B images count.

        Raises:
            ValueError: a label that no category has.
        """
        (indices,) = truth
        for place in range(num_valid):
            index, found = int(indices[place]), int(outputs[3][place])
            boxes, scores, labels, *probabilities = (
                array[place, : max(found, 0)] for array in (*outputs[:3], *outputs[4:])
            )
            if found < 0 or not all(np.isfinite(array).all() for array in (boxes, scores, *probabilities)):
                self._not_finite.append(index)
                continue
            masks = None
            if self._has_masks:
                image = self._annotations.images[index]
                masks = paste_masks(*probabilities, boxes, (image["height"], image["width"]))
            self.add_image(index, boxes, scores, labels, masks)

    def add_image(
        self,
        index: int,
        boxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        masks: Sequence[RunLengths] | None = None,
    ) -> None:
        """Takes note of the n detections of an image.

        Args:
            index: into `image_ids`.
            boxes: (n, 4), x0 y0 x1 y1 in pixels of the image; finite.
            scores: (n,), finite.
            labels: (n,) whole numbers.
            masks: n in the size of the image, where there are masks.

        Raises:
            ValueError: a label that no category has.
        """
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self._annotations.categories):
            raise ValueError(f"labels {labels.min()} to {labels.max()} of a network whose classes are others")
        corners = boxes.astype(np.float64)
        sides = corners[:, 2:] - corners[:, :2]
        self._rows.append(
            np.column_stack((np.full(len(labels), index), labels, scores, corners[:, :2], sides)).astype(np.float64)
        )
        if self._has_masks:
            self._masks += [mask["counts"].encode() for _, mask in zip(labels, masks, strict=True)]
        self._images.append(index)

    def scores(self, exchange: Exchange | None = None) -> Scores:
        """The scores of everything added so far, here and on the other ranks, which all compute them.

        Raises:
            NotFiniteError: on every rank, where outputs are not finite on any; says for how many images, and names the
                first.
            UserError: there was no image, or no annotated object in any.
        """
        exchange = exchange or Exchange(Ranks())
        not_finite, images = exchange.union(self._not_finite), exchange.union(self._images)
        rows = exchange.rows(np.concatenate([np.zeros((0, 7)), *self._rows]))
        masks = exchange.byte_rows(self._masks) if self._has_masks else None
        if not_finite:
            raise NotFiniteError(
                f"the network's outputs are not finite for {len(not_finite)} of {len(images | not_finite)} images, the "
                f"first is {self._annotations.describe(min(not_finite))}: its weights are damaged or its training "
                "diverged"
            )
        if not images:
            raise UserError("no image could be evaluated")
        boxes = _evaluate(self._annotations, sorted(images), _detections(self._annotations, rows), "bbox")
        values = boxes.stats.tolist()
        if values[0] == _NONE:
            raise UserError(
                f"no annotated object: {self._annotations.file} has none that is no crowd in the {len(images):,} "
                "images that were evaluated, so that there is nothing to score"
            )
        self._per_class = _of_classes(boxes, self._annotations, images)
        if masks is None:
            return Scores(SCORE_KINDS, tuple(map(_percent, values)), len(images))
        found = _detections(self._annotations, rows, masks)
        overlaps = _evaluate(self._annotations, sorted(images), found, "segm")
        self._per_class = [
            of._replace(mask_ap=mask.ap, mask_ap50=mask.ap50)
            for of, mask in zip(self._per_class, _of_classes(overlaps, self._annotations, images), strict=True)
        ]
        values += overlaps.stats[: len(MASK_SCORE_KINDS)].tolist()
        return Scores(SCORE_KINDS_WITH_MASKS, tuple(map(_percent, values)), len(images))

    def per_class(self) -> list[ClassScore]:
        """Of every category, in the order of labels; after `scores`."""
        if self._per_class is None:
            raise ValueError("per_class comes after scores")
        return self._per_class

    def table(self) -> Table:
        """The same as a table."""
        rows = [
            [
                printable(of.name),
                *("-" if value < 0 else f"{value:.2f}" for value in self._shown(of)),
                f"{of.objects:,}",
            ]
            for of in self.per_class()
        ]
        columns = ["AP", "AP50", *(["mask AP", "mask AP50"] if self._has_masks else [])]
        return Table("Scores of each class in percent", ["class", *columns, "objects"], rows)

    def write_report(self, folder: Path) -> list[str]:
        """Writes the scores of each class; see `src.tasks.task.Scorer`."""
        numbers = ["ap", "ap50", *(["mask_ap", "mask_ap50"] if self._has_masks else [])]
        lines = [csv_line("class", *numbers, "objects")]
        for of in self.per_class():
            values = ("" if value < 0 else value for value in self._shown(of))
            lines.append(csv_line(csv_text(of.name), *values, of.objects))
        write_csv(folder / "classes.csv", "".join(lines))
        return ["classes.csv"]

    def _shown(self, of: ClassScore) -> tuple[float, ...]:
        return (of.ap, of.ap50, of.mask_ap, of.mask_ap50) if self._has_masks else (of.ap, of.ap50)


def import_coco_tools() -> tuple[ModuleType, ModuleType]:
    """pycocotools' modules `coco` and `cocoeval`.

    Raises:
        UserError: it is not installed.
    """
    try:
        from pycocotools import coco, cocoeval
    except ImportError as error:
        raise UserError(
            "scores of detections need the package pycocotools: pip install -r requirements-detection.txt"
        ) from error
    return coco, cocoeval


class _Annotations:
    """What a file holds of the given images and categories: `images`, `categories` and `objects`, as pycocotools takes
    them, the first two by index and label. Masks are read where they are needed."""

    def __init__(
        self, file: str | Path, category_ids: Sequence[int], image_ids: Sequence[int], has_masks: bool
    ) -> None:
        self.file = file
        expected = "expected a COCO file of instances"
        try:
            content = json.loads(Path(file).read_bytes())
            images, categories = ({entry["id"]: entry for entry in content[key]} for key in ("images", "categories"))
            chosen, known = set(image_ids), set(category_ids)
            self.objects = [
                _object(entry, number) | ({"segmentation": entry.get("segmentation")} if has_masks else {})
                for entry, number in zip(content["annotations"], count(1))
                if entry["image_id"] in chosen and entry["category_id"] in known
            ]
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror}") from error
        except KeyError as error:
            raise UserError(f"{file}: {expected}, but an entry {error} is missing") from None
        except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise UserError(f"{file}: {expected}, got something else ({printable(str(error))})") from None
        for what, ids, entries in (("category", category_ids, categories), ("image", image_ids, images)):
            missing = next((number for number in ids if number not in entries), None)
            if missing is not None:
                raise UserError(f"{file} has no {what} of id {missing}: it is another file than the one of the data")
        if has_masks:
            self._add_masks(images, image_ids)
        self.categories = [{"id": int(number), "name": str(categories[number].get("name"))} for number in category_ids]
        self.images = [
            {"id": int(number)} | {key: images[number].get(key) for key in ("file_name", "height", "width")}
            for number in image_ids
        ]

    def _add_masks(self, images: dict[int, dict[str, Any]], image_ids: Sequence[int]) -> None:
        """Replaces segmentations, of whatever kind, by run-length codes."""
        for number in image_ids:
            sides = [images[number].get(side) for side in ("height", "width")]
            if any(type(side) is not int or side < 1 for side in sides):
                raise UserError(
                    f"{self.file}: image {number} has no height and width, which masks are compared in: add them"
                )
        for entry in self.objects:
            image = images[entry["image_id"]]
            try:
                entry["segmentation"] = _code(entry["segmentation"], image["height"], image["width"])
            except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
                raise UserError(
                    f"{self.file}: the object {shown(entry['bbox'])} in image {entry['image_id']} has no segmentation "
                    f"that masks could be compared with ({printable(str(error))}): correct or remove it"
                ) from None

    def describe(self, index: int) -> str:
        image = self.images[index]
        return f"image {image['id']}" + (f" ({printable(str(image['file_name']))})" if image["file_name"] else "")


def _object(entry: dict[str, Any], number: int) -> dict[str, Any]:
    """An annotated object with a number of its own from 1: pycocotools takes a match with number 0 for none."""
    if len(entry["bbox"]) != 4:
        raise ValueError(f"a bbox of {len(entry['bbox'])} numbers")
    return {
        "id": number,
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "bbox": [float(value) for value in entry["bbox"]],
        "area": float(entry["area"]),
        "iscrowd": int(entry.get("iscrowd", 0)),
    }


def _code(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons or a run-length code, of whatever kind, as a compressed one."""
    tools = import_coco_tools()[0].maskUtils
    if isinstance(segmentation, list):
        if not segmentation or any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
            raise ValueError("expected polygons of at least three points")
        if not np.isfinite(np.concatenate(segmentation).astype(np.float64)).all():
            raise ValueError("points that are not finite")
        return tools.merge(tools.frPyObjects(segmentation, height, width))
    if segmentation is None:
        raise ValueError("it is missing")
    counts, size = segmentation["counts"], [height, width]
    if segmentation["size"] != size:
        raise ValueError(f"of another size than the image's, {height} x {width}")
    runs = np.array(counts, np.int64) if isinstance(counts, list) else lengths(segmentation)
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        raise ValueError("a run-length code of another number of pixels than the image's")
    return tools.frPyObjects(segmentation, height, width) if isinstance(counts, list) else segmentation


def _evaluate(annotations: _Annotations, images: Sequence[int], found: list[dict[str, Any]], kind: str) -> Any:
    """pycocotools' evaluation, done, of detections in the images of some indices, by the overlap of boxes ('bbox') or
    masks ('segm')."""
    coco, cocoeval = import_coco_tools()
    with redirect_stdout(io.StringIO()):
        sides = [coco.COCO(), coco.COCO()]
        for side, objects in zip(sides, (annotations.objects, found), strict=True):
            side.dataset = {
                "images": annotations.images,
                "categories": annotations.categories,
                "annotations": objects,
            }
            side.createIndex()
        evaluation = cocoeval.COCOeval(*sides, kind)
        evaluation.params.imgIds = [annotations.images[index]["id"] for index in images]
        evaluation.params.catIds = [category["id"] for category in annotations.categories]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _detections(
    annotations: _Annotations, rows: np.ndarray, masks: Sequence[bytes] | None = None
) -> list[dict[str, Any]]:
    """Rows as pycocotools takes them, or their masks. Those of an image stay in their order, so that the number of
    ranks is nothing that the order of equal scores depends on."""
    found = [
        {
            "id": number,
            "image_id": annotations.images[int(image)]["id"],
            "category_id": annotations.categories[int(label)]["id"],
            "bbox": [x, y, width, height],
            "area": width * height,
            "score": score,
            "iscrowd": 0,
        }
        for number, (image, label, score, x, y, width, height) in enumerate(rows.tolist(), start=1)
    ]
    if masks is None:
        return found
    sizes = {image["id"]: [image["height"], image["width"]] for image in annotations.images}
    codes = [{"size": sizes[one["image_id"]], "counts": mask} for one, mask in zip(found, masks, strict=True)]
    area, most = import_coco_tools()[0].maskUtils.area, 255  # pycocotools puts their number into a byte
    areas = [size for begin in range(0, len(codes), most) for size in area(codes[begin : begin + most])]
    for one, code, size in zip(found, codes, areas, strict=True):
        del one["bbox"]
        one |= {"segmentation": code, "area": float(size)}  # which counts as small, medium or large
    return found


def _of_classes(evaluation: Any, annotations: _Annotations, images: set[int]) -> list[ClassScore]:
    precision = evaluation.eval["precision"][..., 0, -1]  # IoU, recall, category; of all sizes, 100 detections
    judged = {annotations.images[index]["id"] for index in images}
    counted = Counter(
        entry["category_id"] for entry in annotations.objects if not entry["iscrowd"] and entry["image_id"] in judged
    )
    places = {number: place for place, number in enumerate(evaluation.params.catIds)}  # in rising order
    return [
        ClassScore(
            category["name"],
            _percent(_mean(precision[:, :, places[category["id"]]])),
            _percent(_mean(precision[0, :, places[category["id"]]])),
            counted[category["id"]],
        )
        for category in annotations.categories
    ]


def _mean(precision: np.ndarray) -> float:
    there = precision[precision > _NONE]
    return float(there.mean()) if there.size else _NONE


def _percent(share: float) -> float:
    return share if share == _NONE else 100.0 * share
