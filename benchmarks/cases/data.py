"""Transforms of images with boxes and masks, and scores, against reference cases."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.data.box_transforms import flip_boxes, pad_to, resize_boxes, resize_image, resize_masks, resized_size
from src.data.masks import decode_masks
from src.tasks.detection_scores import DetectionScorer

from .case import Case, Check, Row, compare


def check_transforms(case: Case) -> Iterator[Row]:
    """An image may differ by one of 255 levels; masks and what is drawn of polygons may not differ."""
    arrays, target = case.arrays, tuple(case.meta["settings"]["scale"])
    for entry in case.meta["sizes"]:
        size, scale = resized_size(tuple(entry["shape"]), target)
        name = "x".join(map(str, entry["shape"]))
        yield compare(f"sizes/{name}", size, entry["resized"], 0)
        yield compare(f"sizes/{name}/scale", scale, entry["scale_factor_wh"], 1e-5)
    pipeline = case.meta["pipeline"]
    image, masks = arrays["image"], arrays["masks"]
    size, scale = resized_size(image.shape[:2], tuple(pipeline["resize"]["scale"]))
    image, masks = resize_image(image, size), resize_masks(masks, size)
    boxes = resize_boxes(arrays["boxes"], scale, size)
    yield compare("resize/boxes", boxes, arrays["resize/boxes"], 1e-5)
    yield compare("resize/masks", masks, arrays["resize/masks"], 0)
    yield compare("resize/image", image, arrays["resize/image"], 1 / arrays["resize/image"].max())
    boxes, masks = flip_boxes(boxes, size[1]), masks[:, :, ::-1]
    yield compare("flip/boxes", boxes, arrays["flip/boxes"], 1e-5)
    yield compare("flip/masks", masks, arrays["flip/masks"], 0)
    canvas = tuple(pipeline["pad"]["image_shape"])
    padded = pad_to(image[:, ::-1].transpose(2, 0, 1).astype(np.float32), canvas).transpose(1, 2, 0)
    yield compare("pad/boxes", boxes, arrays["pad/boxes"], 1e-5)
    yield compare("pad/masks", pad_to(masks.astype(np.float32), canvas), arrays["pad/masks"], 0)
    yield compare("pad/image", padded, arrays["pad/image"], 1 / arrays["pad/image"].max())
    for name in ("resize", "flip", "pad"):
        drawn = decode_masks(pipeline[name]["polygons"], tuple(pipeline[name]["image_shape"]))
        yield compare(f"{name}/polygon_raster", drawn, arrays[f"{name}/polygon_raster"], 0)


def check_coco_eval(case: Case) -> Iterator[Row]:
    """The numbers of boxes and masks."""
    meta = case.meta
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "annotations.json"
        file.write_text(json.dumps({key: meta[key] for key in ("images", "categories", "annotations")}))
        images = [image["id"] for image in meta["images"]]
        scorer = DetectionScorer(file, [category["id"] for category in meta["categories"]], images, has_masks=True)
        for index, image in enumerate(images):
            found = [detection for detection in meta["detections"] if detection["image_id"] == image]
            boxes = np.array([detection["box"] for detection in found], np.float32).reshape(-1, 4)
            scores = np.array([detection["score"] for detection in found], np.float32)
            labels = np.array([detection["label"] for detection in found], np.int32)
            scorer.add_image(index, boxes, scores, labels, [detection["mask"] for detection in found])
        values = np.array(list(scorer.scores().values())) / 100
        yield compare("stats/bbox", values[:12], meta["stats"]["bbox"], 1e-5)
        yield compare("stats/segm", values[12:], meta["stats"]["segm"][:6], 1e-5)
        classes = scorer.per_class()
        yield compare("class_ap/bbox", [one.ap / 100 for one in classes], meta["class_ap"]["bbox"], 1e-5)
        yield compare("class_ap/segm", [one.mask_ap / 100 for one in classes], meta["class_ap"]["segm"], 1e-5)


CHECKS: dict[str, Check] = {
    "transforms": check_transforms,
    "coco_eval": check_coco_eval,
}
