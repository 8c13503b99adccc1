"""Boxes in image files by a detector that can be checked by eye: order, batches, bounds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.detection.run_lengths import decode
from src.errors import UserError
from src.prediction.coco_results import FoundInFile
from src.prediction.detections import LONGEST_WAIT, detect_in_images
from src.prediction.detector import Detector
from src.prediction.predictions import Skipped
from src.weights.detector_card import DetectorCard

CARD = DetectorCard(
    model="retinanet_ptnt_ti",
    arguments={},
    classes=["cat", "dog"],
    category_ids=[3, 7],
    canvas=(64, 128),
    short_side=64,
    long_side=128,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


class WholeImage:
    """Finds the whole image, in the pixels of its file, with its red as the score, and half that score in a half of it;
    remembers the shapes it was given."""

    def __init__(self, count=2):
        self.shapes, self.count = [], count

    def __call__(self, images, shapes, scales):
        assert images.dtype == shapes.dtype == scales.dtype == np.float32
        self.shapes.append(images.shape)
        width, height = shapes[:, 1] / scales[:, 0], shapes[:, 0] / scales[:, 1]
        nothing = np.zeros_like(width)
        boxes = np.stack([np.stack([nothing, nothing, share * width, height], 1) for share in (1, 0.5, 0)], 1)
        scores = images[:, :1, 0, 0] * np.float32([[1, 0.5, 0]])
        return boxes, scores, np.tile(np.int32([[1, 0, -1]]), (len(images), 1)), np.full(len(images), self.count)


class WithMasks(WholeImage):
    """Has masks too: the left half of each box, but for the last."""

    def __call__(self, *inputs):
        outputs = super().__call__(*inputs)
        masks = np.zeros((len(inputs[0]), 3, 28, 28), np.float32)
        masks[:, :2, :, :14] = 1
        return *outputs, masks


def write_image(name: str, size: tuple[int, int], red: int = 255) -> Path:
    Image.new("RGB", size, (red, 0, 0)).save(name)
    return Path(name)


def detect(network, files, batch_size=1, score_threshold=0.3, max_boxes=100):
    return detect_in_images(
        Detector(network, CARD),
        files,
        batch_size=batch_size,
        score_threshold=score_threshold,
        max_boxes=max_boxes,
        workers=2,
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 20])
def test_every_file_once_and_in_order(batch_size):
    sizes = [(40, 20), (20, 40), (20, 20), (30, 60), (10, 10), (90, 30), (30, 90)]
    files = [write_image(f"{number}.png", size) for number, size in enumerate(sizes)]
    files.insert(3, Path("missing.png"))
    network = WholeImage()
    results = list(detect(network, files, batch_size))
    assert [result.file for result in results] == files
    assert isinstance(results[3], Skipped) and "missing.png" in results[3].reason
    for result, (width, height) in zip(results[:3] + results[4:], sizes, strict=True):
        assert (result.width, result.height) == (width, height)
        boxes = [[0, 0, width, height], [0, 0, width / 2, height]]
        np.testing.assert_allclose(result.found.boxes, boxes, rtol=1e-6)
        assert result.found.labels.tolist() == [1, 0] and result.found.scores.tolist() == [1, 0.5]
    landscape, portrait = ((batch_size, 3, *canvas) for canvas in ((64, 128), (128, 64)))
    assert network.shapes.count(landscape) == -(-4 // batch_size)
    assert network.shapes.count(portrait) == -(-3 // batch_size)
    assert len(network.shapes) == -(-4 // batch_size) + -(-3 // batch_size)


def test_an_image_of_the_rare_kind_does_not_hold_the_others_back():
    files = [write_image("portrait.png", (20, 40)), *[write_image("landscape.png", (40, 20))] * 30]
    network = WholeImage()
    results = detect(network, files, batch_size=2)
    assert next(results).file == files[0]
    assert network.shapes[LONGEST_WAIT - 1] == (2, 3, 128, 64) and len(network.shapes) <= LONGEST_WAIT + 1
    assert [result.file for result in results] == files[1:]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_masks_are_pasted_into_the_image_as_it_is_in_its_file(batch_size):
    sizes = [(40, 20), (20, 40), (80, 40), (36, 72)]
    files = [write_image(f"{number}.png", size) for number, size in enumerate(sizes)]
    results = list(detect(WithMasks(), files, batch_size))
    for result, (width, height) in zip(results, sizes, strict=True):
        assert len(result.found.masks) == len(result.found.boxes) == 2
        for code, share in zip(result.found.masks, (2, 4), strict=True):
            mask = np.zeros((height, width), bool)
            mask[:, : width // share] = True
            np.testing.assert_array_equal(decode(code), mask)

    def second_is_good(*inputs):
        boxes, scores, labels, counts, masks = WithMasks()(*inputs)
        masks[:, 0] = 1
        return boxes, scores[:, ::-1] * np.float32([[1, 2, 0]]), labels, counts, masks

    [result] = detect(second_is_good, files[:1])
    assert result.found.labels.tolist() == [0] and decode(*result.found.masks).sum() == 10 * 20
    [result] = detect(WithMasks(), files[:1], score_threshold=0.5)
    assert len(result.found.masks) == 1
    [result] = detect(WithMasks(), files[:1], score_threshold=1)
    assert result.found.masks == []
    [result] = detect(WholeImage(), files[:1])
    assert result.found.masks is None


def test_bounds():
    file = write_image("a.png", (40, 20), red=204)  # scores 0.8 and 0.4
    for threshold, max_boxes, number in ((0.3, 100, 2), (0.3, 1, 1), (0.5, 100, 1), (0.8, 100, 0), (0.0, 100, 2)):
        [result] = detect(WholeImage(), [file], 1, threshold, max_boxes)
        assert len(result.found.boxes) == len(result.found.scores) == len(result.found.labels) == number
        assert isinstance(result, FoundInFile)
    [result] = detect(WholeImage(count=1), [file])
    assert result.found.labels.tolist() == [1]


def test_outputs_that_are_not_finite():
    with pytest.raises(UserError, match="^the network's outputs are not finite: "):
        list(detect(WholeImage(count=-1), [write_image("a.png", (40, 20))]))


def test_batch_size(monkeypatch):
    free, fixed = Detector(None, CARD), Detector(None, CARD, fixed_batch_size=4)
    assert [free.batch_size(None, 9), free.batch_size(8, 9), free.batch_size(8, 3)] == [1, 8, 3]
    assert [fixed.batch_size(None, 9), fixed.batch_size(4, 1)] == [4, 4]
    with pytest.raises(UserError, match="the model file takes 4 images at a time, got 2"):
        fixed.batch_size(2, 9)
    monkeypatch.setattr("src.memory.machine_memory", lambda: 10**9)
    with pytest.raises(UserError, match="^50,000 images of 3 channels and 64 x 128 pixels would take at least 9.8 GB"):
        free.batch_size(50_000, 10**6)
