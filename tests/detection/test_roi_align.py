"""Features of regions against samples taken one by one."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.detection.roi_align import RoIAlign

STRIDES, SIZE, WINDOW = (4, 8), 3, 12


def sample(image, y, x):
    """A bilinear value of a map (C, H, W), zero more than one cell beyond it."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = image[:, top, left] * (left + 1 - x) + image[:, top, right] * (x - left)
    lower = image[:, below, left] * (left + 1 - x) + image[:, below, right] * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)


def pool(image, box, size):
    """Means of as many samples along a side of a bin as it has cells."""
    x0, y0, x1, y1 = np.asarray(box, np.float64) - 0.5
    height, width = (y1 - y0) / size, (x1 - x0) / size
    rows, columns = int(np.ceil(height)), int(np.ceil(width))
    found = np.zeros((len(image), size, size))
    for i, j in np.ndindex(size, size):
        values = [
            sample(image, y0 + (i + (a + 0.5) / rows) * height, x0 + (j + (b + 0.5) / columns) * width)
            for a, b in np.ndindex(rows, columns)
        ]
        found[:, i, j] = np.mean(values, axis=0) if values else 0
    return found


def draw_maps(rng, batch=2, sides=((24, 40), (12, 20))):
    return tuple(rng.standard_normal((batch, 2, *side)).astype(np.float32) for side in sides)


def tensors(*arrays):
    return tuple(map(Tensor, arrays))


# of an image of 96 x 160 pixels: inside; at its borders; over them; outside; without area; beyond all
BOXES = np.array(
    [
        [10, 20, 30, 33],
        [0, 0, 40, 40],
        [133.5, 61.25, 160, 96],
        [-20, -6, 12, 20],
        [150, 80, 180, 110],
        [-90, -90, -60, -60],
        [300, 20, 330, 40],
        [50, 50, 50, 60],
        [50, 50, 50, 50],
        [8, 10, 12, 11],
        [0, 20, 85, 95],
    ],
    np.float32,
)


def test_regions_of_several_images_and_maps():
    """With derivatives: what every cell of each map is worth."""
    rng = np.random.default_rng(0)
    maps, align = draw_maps(rng), RoIAlign(SIZE, STRIDES, window=24)
    images = np.arange(len(BOXES), dtype=np.int32) % 2
    weights = rng.standard_normal((len(BOXES), 2, SIZE, SIZE)).astype(np.float32)

    def function(*values):
        pooled = align(values, Tensor(images), Tensor(BOXES))
        return (pooled * Tensor(weights)).sum(), pooled

    (_, found), gradients = ms.value_and_grad(function, (0, 1), has_aux=True)(*tensors(*maps))
    levels = align.levels(Tensor(BOXES)).asnumpy()
    assert set(levels.tolist()) == {0}
    expected = [
        pool(maps[level][image], box / STRIDES[level], SIZE)
        for image, level, box in zip(images, levels, BOXES, strict=True)
    ]
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=0, atol=2e-5)
    assert not gradients[1].asnumpy().any()
    one = np.zeros((1, 24, 40), np.float32)
    one[0, 6, 5] = 1
    own = np.zeros(2)
    for row in np.flatnonzero(images == 0):
        own += (pool(one, BOXES[row] / 4, SIZE) * weights[row]).sum(axis=(1, 2))
    assert own.all()
    np.testing.assert_allclose(gradients[0].asnumpy()[0, :, 6, 5], own, rtol=0, atol=2e-5)


def test_levels():
    """By the root of the area: below 112 the finest map, then one more with each doubling."""
    sides = [0, 1, 111.9, 112, 223.9, 224, 447.9, 448, 2000]
    boxes = np.array([[5, 5, 5 + side, 5 + side] for side in sides] + [[0, 0, 28, 448], [9, 9, 0, 0]], np.float32)
    assert RoIAlign(7).levels(Tensor(boxes)).asnumpy().tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 1, 0]


def test_each_region_is_cut_out_of_its_map():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    maps = draw_maps(np.random.default_rng(1), 1, ((60, 60), (30, 30)))
    boxes = np.array([[20, 30, 70, 90], [20, 30, 180, 200]], np.float32)
    found = RoIAlign(SIZE, STRIDES, window=26)(tensors(*maps), Tensor(np.zeros(2, np.int32)), Tensor(boxes)).asnumpy()
    for level, box in enumerate(boxes):
        np.testing.assert_allclose(found[level], pool(maps[level][0], box / STRIDES[level], SIZE), rtol=0, atol=2e-5)


def test_a_region_that_is_larger_than_the_window_is_sampled_there():
    """Its longer side at as many cells as the window has, spread evenly; the other is as it was."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    (image,) = draw_maps(np.random.default_rng(2), 1, ((24, 40),))
    align = RoIAlign(SIZE, (1,), window=WINDOW)
    boxes = np.array([[3, 4, 13, 14], [3, 4, 13.5, 14], [2, 4, 38, 14], [-40, 4, 80, 14]], np.float32)
    assert (boxes[:, 2] - boxes[:, 0] > WINDOW - 2).tolist() == [False, True, True, True]
    found = align(tensors(image), Tensor(np.zeros(4, np.int32)), Tensor(boxes)).asnumpy()
    np.testing.assert_allclose(found[0], pool(image[0], boxes[0], SIZE), rtol=0, atol=2e-5)
    for row in (1, 2, 3):
        x0, _, x1, _ = boxes[row]
        columns = np.floor(np.clip(x0 + (np.arange(WINDOW) + 0.5) / WINDOW * (x1 - x0), 0, 39)).astype(int)
        spread = image[0][:, :, columns].reshape(2, 24, SIZE, -1).mean(axis=3)
        rows = np.stack([pool(spread[:, :, [i]], [0.5, 4, 0.5 + SIZE * 1e-6, 14], SIZE)[:, :, 0] for i in range(SIZE)])
        np.testing.assert_allclose(found[row], rows.transpose(1, 2, 0), rtol=0, atol=2e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_boxes_of_any_value_read_no_cell_beyond_the_table(value):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    maps = draw_maps(np.random.default_rng(3), 1)
    boxes = np.array([[10, 20, 30, 33], [value] * 4, [0, 0, value, value], [-1e30, value, 1e30, 7]], np.float32)
    found = RoIAlign(SIZE, STRIDES, window=24)(tensors(*maps), Tensor(np.zeros(4, np.int32)), Tensor(boxes)).asnumpy()
    np.testing.assert_allclose(found[0], pool(maps[0][0], boxes[0] / 4, SIZE), rtol=0, atol=2e-5)
