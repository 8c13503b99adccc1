"""Annotations in COCO layout, and descriptions of detectors."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.fuzz_targets.mutation import mutate_bytes, mutate_json, mutate_text
from benchmarks.fuzz_targets.target import SilentChange
from src.data.coco import Coco
from src.detection.catalogue import check_detector_arguments
from src.weights.checkpoint import read_checkpoint
from src.weights.checkpoint_file import write_checkpoint_file
from src.weights.detector_card import DetectorCard

LARGEST_MASK = 100_000  # pixels; files may name sizes that no image has
SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
CODE = {"size": [64, 48], "counts": "1o0Q1000oi2"}  # 3 columns of 31 pixels
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
        {"id": 9, "file_name": "b/狗.png", "height": 64, "width": 48},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 17, "name": "狗"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [2, 2, 10, 10], "area": 100.0, "segmentation": SQUARE},
        {"id": 2, "image_id": 9, "category_id": 17, "bbox": [0.5, 1.25, 20, 30.75], "area": 600, "segmentation": CODE},
        {"id": 3, "image_id": 9, "category_id": 1, "bbox": [0, 0, 48, 64], "area": 3072, "iscrowd": 1},
    ],
}
CARD = DetectorCard(
    "retinanet_ptnt_ti",
    {"stacked_convs": 1, "fpn_channels": 8, "backbone": {"depths": [1, 1, 1, 1]}},
    ["cat", "狗"],
    [1, 17],
    (64, 128),
    64,
    96,
    (0.5, 0.5, 0.5),
    (0.5, 0.25, 1.0),
)


class Annotations:
    """Mutants: the bytes of a file of annotations."""

    def __init__(self, folder: Path):
        self.root = folder
        (folder / "annotations").mkdir()
        (folder / "train2017").mkdir()
        self.path = folder / "annotations" / "instances_train2017.json"

    def draw(self, random: Random) -> bytes:
        kind = random.random()
        if kind < 0.6:
            return json.dumps(mutate_json(CONTENT, random)).encode("utf-8", "surrogatepass")
        text = json.dumps(CONTENT, ensure_ascii=False)
        if kind < 0.8:
            return mutate_text(text, random).encode("utf-8", "surrogatepass")
        return mutate_bytes(text.encode(), random)

    def read(self, mutant: bytes) -> None:
        self.path.write_bytes(mutant)
        data = Coco(self.root, "train")
        for index in range(len(data)):
            objects = data.objects(index)
            if not np.isfinite(objects.boxes).all() or not np.isfinite(objects.area).all():
                raise SilentChange("a box or an area is not finite")
            if len(objects.labels) and not 0 <= objects.labels.min() <= objects.labels.max() < len(data.classes):
                raise SilentChange("a label that no category has")
            if math.prod(data.size(index)) <= LARGEST_MASK and None not in objects.segmentations:
                masks = data.masks(index)
                if len(masks) != (~objects.is_crowd).sum() or masks.max(initial=0) > 1:
                    raise SilentChange("masks that are none of the objects")
            if not data.path(index).resolve().is_relative_to(self.root.resolve()):
                raise SilentChange("an image outside the folder")
        data.fingerprint()


class DetectorCards:
    """Mutants: the text of the description inside a detector's checkpoint."""

    def __init__(self, folder: Path):
        self.path = folder / "card.ckpt"
        self.original = {"format": 1, "card": json.loads(json.dumps(asdict(CARD))), "progress": {}}

    def draw(self, random: Random) -> str:
        if random.random() < 0.7:
            return json.dumps({**self.original, "card": mutate_json(self.original["card"], random)})
        return mutate_text(json.dumps(self.original), random)

    def read(self, mutant: str) -> None:
        with self.path.open("wb") as file:
            write_checkpoint_file(file, [("w", np.zeros(1, np.float32)), ("metadata", mutant)])
        card = read_checkpoint(self.path).card
        if isinstance(card, DetectorCard):
            check_detector_arguments(card.model, card.detector_arguments())
