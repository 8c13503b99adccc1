"""Targets of two-stage detectors on a canvas of 32 x 64 pixels with one anchor at each position of three maps."""

import math

import numpy as np
import pytest
from PIL import Image

from src.data.coco import Objects
from src.data.detection_loader import DetectionTrainLoader
from src.detection.anchor_targets import AnchorTargets
from src.detection.anchors import AnchorGrid
from src.detection.matcher import Matcher
from src.detection.region_targets import RegionTargets

CANVAS = (32, 64)
GRID = AnchorGrid((8, 16, 32), (2.0,), (1.0,))
MATCHER = Matcher(0.5, 0.4, 0.5)
NUM_ANCHORS = 4 * 8 + 2 * 4 + 2 * 2
AT_16_8 = 1 * 8 + 2
"""The anchor with its centre at x 16, y 8: from (8, 0) to (24, 16)."""
BEYOND = [42, 43]
"""The second row of the coarsest map, which lies below the canvas."""
BOXES = [[8, 0, 24, 20], [40, 16, 56, 32]]
POSITIVE = [AT_16_8, AT_16_8 + 8, 3 * 8 + 6]


def targets(**changes):
    return RegionTargets(**{"grid": GRID, "matcher": MATCHER, "max_objects": 3, **changes})


def encode(boxes=BOXES, img_shape=CANVAS, rng=None, **changes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    masks = np.full((len(boxes), *img_shape), 1, np.uint8)
    return targets(**changes)(boxes, np.arange(len(boxes)) + 5, img_shape, CANVAS, masks, rng)


def drawn(found):
    return found["rows"][found["weights"] > 0].tolist()


def objects(found):
    return found["rows"][found["is_object"] > 0].tolist()


@pytest.mark.parametrize("canvas", [CANVAS, (64, 32)])
@pytest.mark.parametrize("num_samples", [8, 256])
def test_fields(num_samples, canvas):
    encoder = targets(num_samples=num_samples)
    count = min(num_samples, NUM_ANCHORS)
    fields = encoder.fields(canvas)
    assert list(fields.items()) == [
        ("rows", ((count,), np.int32)),
        ("is_object", ((count,), np.float32)),
        ("weights", ((count,), np.float32)),
        ("deltas", ((count, 4), np.float32)),
        ("boxes", ((3, 4), np.float32)),
        ("labels", ((3,), np.int32)),
        ("masks", ((3, *canvas), np.uint8)),
        ("img_shape", ((2,), np.float32)),
        ("key", ((), np.int32)),
    ]
    found = encoder(np.zeros((0, 4)), np.zeros(0), (20, 30), canvas, np.zeros((0, 20, 30)), np.random.default_rng(0))
    assert list(found) == list(fields)
    for name, (shape, kind) in fields.items():
        assert found[name].shape == shape and found[name].dtype == kind
    assert encoder.needs_masks and not AnchorTargets(GRID, MATCHER, 3).needs_masks


def test_objects_are_filled_up():
    masks = np.random.default_rng(0).integers(0, 2, (2, 20, 30), dtype=np.uint8)
    boxes = np.array([[8, 0, 24, 20], [1, 2, 3, 4]], np.float32)
    found = targets()(boxes, np.array([7, 2]), (20, 30), CANVAS, masks[:, :, ::-1])
    assert np.array_equal(found["boxes"], [*boxes, [0] * 4]) and found["labels"].tolist() == [7, 2, -1]
    assert np.array_equal(found["masks"][:2, :20, :30], masks[:, :, ::-1])
    assert found["masks"].sum() == masks.sum() and found["masks"].max() == 1
    assert found["img_shape"].tolist() == [20, 30] and found["key"] == 0


def test_all_anchors_where_there_are_fewer_than_asked_for():
    """Those of objects first, both in rising order, then rows without weight."""
    rng = np.random.default_rng(0)
    found = encode(rng=rng)
    negative = [row for row in range(NUM_ANCHORS) if row not in (*POSITIVE, *BEYOND)]
    assert drawn(found) == [*POSITIVE, *negative]
    assert found["is_object"].tolist() == [1] * 3 + [0] * (NUM_ANCHORS - 3)
    assert found["rows"][-2:].tolist() == [0, 0] and found["weights"].tolist() == [1] * (NUM_ANCHORS - 2) + [0, 0]
    expected = np.zeros((NUM_ANCHORS, 4), np.float32)
    expected[0] = [0, 2 / 16, 0, math.log(20 / 16)]
    expected[1] = [0, -6 / 16, 0, math.log(20 / 16)]
    np.testing.assert_allclose(found["deltas"], expected, atol=1e-6)
    after_the_key = np.random.default_rng(0)
    assert found["key"] == after_the_key.integers(-(2**31), 2**31, dtype=np.int32)
    assert rng.random() == after_the_key.random()


def test_the_same_as_for_one_stage():
    """Which anchors are objects and background, and the deltas."""
    labels = np.zeros(2, np.int32)
    found = encode(BOXES, (32, 33))
    other = AnchorTargets(GRID, MATCHER, 1)(np.array(BOXES, np.float32), labels, (32, 33), CANVAS)
    count = len(drawn(found))
    assert sorted(drawn(found)) == np.flatnonzero(other["labels"] >= 0).tolist()
    assert objects(found) == np.flatnonzero(other["labels"] == 0).tolist()
    assert np.array_equal(found["deltas"][:count], other["deltas"][found["rows"][:count]])


@pytest.mark.parametrize(
    "num_samples,share,num_objects", [(8, 0.5, 3), (4, 0.5, 2), (3, 0.5, 1), (4, 0.0, 0), (2, 1.0, 2)]
)
def test_numbers_that_are_drawn(num_samples, share, num_objects):
    found = encode(rng=np.random.default_rng(0), num_samples=num_samples, positive_share=share)
    rows = drawn(found)
    assert len(rows) == len(set(rows)) == num_samples and len(objects(found)) == num_objects
    assert set(objects(found)) <= set(POSITIVE) and rows[:num_objects] == objects(found)
    assert not set(rows[num_objects:]) & {*POSITIVE, *BEYOND}
    assert rows[:num_objects] == sorted(rows[:num_objects]) and rows[num_objects:] == sorted(rows[num_objects:])


def test_background_fills_up():
    """No more than there is: without objects, all but the two rows beyond."""
    found = encode([], rng=np.random.default_rng(0), num_samples=43)
    assert len(drawn(found)) == NUM_ANCHORS - 2 and not found["is_object"].any() and not found["deltas"].any()
    assert found["weights"].tolist() == [1] * 42 + [0] and found["labels"].tolist() == [-1] * 3


def test_draws_are_a_function_of_the_stream():
    one, same, other = (encode(rng=np.random.default_rng(seed), num_samples=8) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert one["key"] != other["key"] and drawn(one) != drawn(other)


def test_every_candidate_is_drawn_as_often():
    counts = np.zeros(NUM_ANCHORS, int)
    for seed in range(400):
        counts[drawn(encode(rng=np.random.default_rng(seed), num_samples=4))] += 1
    assert counts[BEYOND].tolist() == [0, 0]
    assert (abs(counts[POSITIVE] - 400 * 2 / 3) < 60).all()
    background = np.delete(counts, [*POSITIVE, *BEYOND])
    assert background.min() > 5 and background.max() < 45  # 800 draws of 39


def test_without_a_stream_the_first_are_taken():
    assert drawn(encode(num_samples=4)) == [*POSITIVE[:2], 0, 1]


def test_between_the_thresholds_takes_no_part():
    found = encode([[8, 0, 24, 16 / 0.45]])
    assert AT_16_8 not in drawn(found)


def test_anchors_beyond_the_padded_image_take_no_part():
    rows = drawn(encode([[8, 0, 24, 16]], (32, 32)))
    columns = [row % 8 for row in rows if row < 32]
    assert sorted(set(columns)) == [0, 1, 2, 3] and len(rows) == 4 * 4 + 2 * 2 + 1


def test_anchors_that_leave_the_image():
    """A side on the border of the image leaves it at the right and at the bottom, not at the left and at the top."""
    boxes = [[8, 0, 24, 16]]
    fine = [row * 8 + column for row in (1, 2) for column in (1, 2, 3, 4)]  # from 0 to 24 and to 40
    assert sorted(drawn(encode(boxes, (31, 41), allowed_border=0))) == fine
    assert sorted(drawn(encode(boxes, (31, 40), allowed_border=0))) == [row for row in fine if row % 8 < 4]
    coarse = 32 + 1 * 4 + 1  # from 0 to 32
    assert coarse not in drawn(encode(boxes, (32, 33), allowed_border=0))
    assert coarse in drawn(encode(boxes, (32, 33), allowed_border=1))
    assert len(drawn(encode(boxes, (31, 41)))) == NUM_ANCHORS - len(BEYOND)


def test_no_anchor_at_all():
    found = encode([[0, 0, 3, 3]], (4, 5), rng=np.random.default_rng(0), allowed_border=0)
    assert not found["weights"].any() and not found["rows"].any() and not found["is_object"].any()


def test_too_many_objects_and_other_masks():
    with pytest.raises(ValueError, match="an image has 4 objects, more than max_objects, 3"):
        encode([[0, 0, 9, 9]] * 4)
    boxes, labels = np.array(BOXES, np.float32), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match=r"masks must be \(2, 32, 64\), got \(2, 32, 63\)"):
        targets()(boxes, labels, CANVAS, CANVAS, np.zeros((2, 32, 63), np.uint8))
    with pytest.raises(ValueError, match=r"masks must be \(2, 32, 64\), got None"):
        targets()(boxes, labels, CANVAS, CANVAS, None)


class Pictures:
    """Twelve grey ones, a third of them portrait, with an object in the middle."""

    classes = ["thing"]

    def __len__(self):
        return 12

    def size(self, index):
        return (64, 32) if index % 3 == 0 else (32, 64)

    def image(self, index):
        return Image.new("RGB", self.size(index)[::-1], (index, index, index))

    def objects(self, index):
        box = np.array([[8, 8, 24, 24 + index]], np.float32)
        return Objects(box, np.array([0], np.int32), np.array([False]), np.ones(1, np.float32), [None])

    def masks(self, index):
        masks = np.zeros((1, *self.size(index)), np.uint8)
        masks[0, 8 : 24 + index, 8:24] = 1
        return masks

    def describe(self, index):
        return str(index)


def batches(workers, epoch=0):
    loader = DetectionTrainLoader(
        Pictures(),
        canvas=CANVAS,
        short_sides=(16, 32),
        flip_prob=0.5,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        batch_size=2,
        seed=0,
        encode=targets(num_samples=4),
        workers=workers,
    )
    found = [[array.copy() for array in batch] for batch in loader.epoch(epoch)]
    loader.close()
    return found


def test_batches_of_a_loader():
    """On both canvases; the same from a worker, other draws in another epoch."""
    alone, other = batches(0), batches(0, 1)
    assert {batch[0].shape[2:] for batch in alone} == {(32, 64), (64, 32)} and len(alone) == 6
    for images, *arrays in alone:
        expected = targets(num_samples=4).fields(images.shape[2:])
        assert [(array.shape[1:], array.dtype.type) for array in arrays] == list(expected.values())
    keys, others = ({key for batch in part for key in batch[-1].tolist()} for part in (alone, other))
    assert len(keys) == len(others) == 12 and not keys & others
    for batch, same in zip(alone, batches(1), strict=True):
        assert all(np.array_equal(one, another) for one, another in zip(batch, same, strict=True))
