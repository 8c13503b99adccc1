"""Masks on their way to the network and back into images, against reference cases."""

from collections.abc import Iterator

import numpy as np
from mindspore import Tensor

from src.data.masks import decode_masks
from src.detection.mask_targets import MaskTargets
from src.detection.paste_masks import paste_masks
from src.detection.run_lengths import area, decode

from .case import Case, Check, Row

BOUND = 3
"""Pixels of a case that may differ."""


def check_mask_targets(case: Case) -> Iterator[Row]:
    """The differing pixels of masks of whole images, and of regions from bitmaps and from polygons."""
    arrays, size = case.arrays, case.meta["settings"]["mask_size"]
    height, width = shape = tuple(case.meta["image_shape"])
    boxes = np.clip(arrays["proposals"], 0, np.array([width, height, width, height], np.float32))
    objects = arrays["gt_inds"]
    yield _differing("masks", decode_masks(case.meta["polygons"], shape), arrays["masks"])
    found = MaskTargets(size)(Tensor(arrays["masks"][objects]), Tensor(boxes))
    yield _differing("targets_bitmap", found.asnumpy(), arrays["targets_bitmap"])
    found = [polygon_targets(case.meta["polygons"][i], box, size) for i, box in zip(objects, boxes, strict=True)]
    yield _differing("targets_polygon", np.stack(found), arrays["targets_polygon"])


def polygon_targets(polygons: list[list[float]], box: np.ndarray, size: int) -> np.ndarray:
    """Polygons within a box x0 y0 x1 y1, drawn on a grid: (size, size) uint8. A side counts as a pixel at least."""
    corner = np.asarray(box[:2], np.float64)
    factors = size / np.maximum(box[2:] - corner, 1)
    moved = [((np.reshape(polygon, (-1, 2)) - corner) * factors).ravel().tolist() for polygon in polygons]
    return decode_masks([moved], (size, size))[0]


def _differing(name: str, found: np.ndarray, expected: np.ndarray) -> Row:
    return Row(name, float((found != expected).sum()) if found.shape == expected.shape else np.inf, BOUND)


def check_mask_paste(case: Case) -> Iterator[Row]:
    """Each mask at both scales, by 1 - IoU, and its area relative to that of its box.

    What differs by no more pixels than are near the threshold differs by nothing.
    """
    logits, labels = case.arrays["mask_logits"].astype(np.float64), case.arrays["labels"]
    own = 1 / (1 + np.exp(-logits[np.arange(len(labels)), labels]))
    for scale in ("original_scale", "network_scale"):
        height, width = case.meta[scale]["shape"]
        boxes = case.arrays[f"{scale}/boxes"]
        bits = np.unpackbits(case.arrays[f"{scale}/masks_packed"], axis=1)[:, : height * width]
        expected = bits.reshape(-1, height, width).astype(bool)
        found = paste_masks(own.astype(np.float32), boxes, (height, width))
        near = case.meta[scale]["near_threshold"]
        for index, (code, mask) in enumerate(zip(found, expected, strict=True)):
            pixels = decode(code)
            differing, union = (pixels ^ mask).sum(), (pixels | mask).sum()
            share = 0.0 if differing <= near else float(differing / union)
            yield Row(f"{scale}/{index}/1 - IoU", share, 0.01)
            x0, y0, x1, y1 = boxes[index]
            wrong = abs(area(code) - case.meta[scale]["areas"][index])
            share = 0.0 if wrong <= near else float(wrong / max(1.0, (x1 - x0) * (y1 - y0)))
            yield Row(f"{scale}/{index}/area", share, 0.01)


CHECKS: dict[str, Check] = {"mask_targets": check_mask_targets, "mask_paste": check_mask_paste}
