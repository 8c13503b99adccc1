"""Regions that the heads are trained on: whose they are, and which are drawn."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.detection.matcher import BACKGROUND, Matcher
from src.detection.region_sampling import RegionSampling
from src.detection.roi_head import CASCADE, ONE_STAGE

MASK_RCNN = ONE_STAGE[0].matcher
MATCHERS = [MASK_RCNN, *(stage.matcher for stage in CASCADE), Matcher(0.7, 0.7, 0.1)]


def draw_boxes(rng, number, side=60):
    corners = rng.integers(0, side, (number, 2))
    return np.concatenate([corners, corners + rng.integers(8, 40, (number, 2))], axis=1).astype(np.float32)


def draw_scene(rng, num_objects, num_candidates):
    """Objects, and candidates of which every second one is near one of them."""
    objects, candidates = draw_boxes(rng, num_objects), draw_boxes(rng, num_candidates)
    if num_objects:
        near = objects[rng.integers(0, num_objects, num_candidates)]
        moved = near + rng.integers(-6, 7, near.shape)
        candidates[::2] = np.concatenate([moved[:, :2], np.maximum(moved[:, 2:], moved[:, :2] + 1)], axis=1)[::2]
    return objects, candidates.astype(np.float32)


def batch_of(scenes, num_objects, num_candidates):
    """Filled up: boxes without area that are no objects, and candidates that are not there."""
    objects = np.zeros((len(scenes), num_objects, 4), np.float32)
    candidates = np.zeros((len(scenes), num_candidates, 4), np.float32)
    is_object, valid = (np.zeros(values.shape[:2], bool) for values in (objects, candidates))
    for image, (own, near) in enumerate(scenes):
        objects[image, : len(own)], is_object[image, : len(own)] = own, True
        candidates[image, : len(near)], valid[image, : len(near)] = near, True
    return candidates, valid, objects, is_object


def sample(sampling, batch, key):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    found = sampling(*map(Tensor, batch), Tensor(np.array(key, np.int32)))
    assert [x.dtype for x in found] == [ms.float32, ms.int32, ms.bool_, ms.bool_]
    return [x.asnumpy() for x in found]


@pytest.fixture(scope="module")
def batch():
    """Images with objects, one without, one with neither objects nor candidates, one with objects only."""
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, *sizes) for sizes in ((5, 60), (1, 40), (0, 60), (0, 0), (3, 0))]
    return batch_of(scenes, 6, 60)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_candidates_are_assigned_as_on_the_host(batch, matcher):
    ms.set_context(mode=ms.PYNATIVE_MODE)
    candidates, valid, objects, is_object = batch
    found = RegionSampling(matcher).assign(*map(Tensor, batch)).asnumpy()
    for image in range(len(candidates)):
        there = valid[image]
        expected, _ = matcher.match(candidates[image][there], objects[image][is_object[image]])
        assert found[image][there].tolist() == expected.tolist()
        assert (found[image][~there] == BACKGROUND).all()
    assert {BACKGROUND, 0, 1} < set(found[0].tolist())


def test_low_quality_matches():
    """The best candidates of an object are its own in any case, the last object's of those that claim them."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    objects = np.array([[[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]]], np.float32)
    candidates = np.array([[[0, 0, 10, 6], [0, 4, 10, 10], [0, 0, 10, 3], [50, 50, 60, 51]]], np.float32)
    there = [np.ones((1, 4), bool), objects, np.ones((1, 3), bool)]
    for matcher, expected in (
        (Matcher(0.7, 0.7, 0.3), [1, 1, -1, -1]),
        (Matcher(0.7, 0.7, 0.05), [1, 1, -1, 2]),
        (Matcher(0.7, 0.7, match_low_quality=False), [-1] * 4),
    ):
        assert RegionSampling(matcher).assign(*map(Tensor, (candidates, *there))).asnumpy().tolist() == [expected]


def check_image(found, batch, image, sampling):
    """What is drawn of an image: as much as there is of each kind, at most its share, and no row twice."""
    regions, objects_of, drawn, is_own = (x[image] for x in found)
    candidates, valid, objects, is_object = (x[image] for x in batch)
    assigned, _ = sampling.matcher.match(candidates[valid], objects[is_object])
    own = [(*box, number, True) for number, box in enumerate(objects[is_object].tolist())]
    near = [(*box, number, False) for box, number in zip(candidates[valid].tolist(), assigned.tolist(), strict=True)]
    there = own + near
    num_objects = sum(row[4] >= 0 for row in there)
    num_positive = min(num_objects, sampling.num_positive)
    num_negative = min(len(there) - num_objects, sampling.num_samples - num_positive)
    assert drawn.tolist() == [row < num_positive + num_negative for row in range(sampling.num_samples)]
    assert (objects_of[:num_positive] >= 0).all() and (objects_of[num_positive:] == BACKGROUND).all()
    assert not is_own[num_positive:].any()
    rows = list(zip(*regions[drawn].T.tolist(), objects_of[drawn].tolist(), is_own[drawn].tolist(), strict=True))
    for row in rows:
        there.remove(row)  # each one once
    return rows


@pytest.mark.parametrize("num_samples,share", [(16, 0.25), (40, 0.5), (200, 0.25), (8, 1.0)])
def test_what_is_drawn(batch, num_samples, share):
    sampling = RegionSampling(MASK_RCNN, num_samples, share)
    found = sample(sampling, batch, [3, -4, 5, 6, 2**31 - 1])
    assert np.isfinite(found[0]).all()
    rows = [check_image(found, batch, image, sampling) for image in range(5)]
    assert rows[3] == [] and all(row[5] for row in rows[4])


def test_what_is_drawn_follows_from_key_and_stage(batch):
    def regions(key, stage=0, parts=batch):
        return sample(RegionSampling(MASK_RCNN, 16, stage=stage), parts, key)[0]

    keys = [7, 8, 9, 10, 11]
    first = regions(keys)
    np.testing.assert_array_equal(regions(keys), first)
    np.testing.assert_array_equal(regions(keys[:2], parts=[x[:2] for x in batch]), first[:2])  # of its own image alone
    for image in range(3):
        for others in (regions([-key for key in keys]), regions(keys, stage=1)):
            assert (others[image] != first[image]).any()


def test_every_candidate_is_drawn_as_often():
    """Of 40 background candidates 10 are drawn: over 400 keys each of them 100 times, give or take 5 deviations."""
    boxes = np.stack([np.arange(40), np.zeros(40), np.arange(40) + 1, np.ones(40)], axis=1).astype(np.float32)
    parts = batch_of([(np.zeros((0, 4)), boxes)] * 400, 1, 40)
    regions = sample(RegionSampling(MASK_RCNN, 10), parts, np.arange(400))[0]
    counts = np.bincount(regions[:, :, 0].astype(int).ravel(), minlength=40)
    assert counts.sum() == 4000 and np.abs(counts - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


def test_the_graph_draws_the_same(batch):
    sampling, key = RegionSampling(MASK_RCNN, 16, stage=2), [1, 2, 3, 4, 5]
    eager = sample(sampling, batch, key)
    ms.set_context(mode=ms.GRAPH_MODE)
    graph = [x.asnumpy() for x in sampling(*map(Tensor, batch), Tensor(np.array(key, np.int32)))]
    drawn = eager[2]
    for one, other in zip(graph, eager, strict=True):
        np.testing.assert_array_equal(one[drawn], other[drawn])
    np.testing.assert_array_equal(graph[2], drawn)


def test_keys_are_whole_numbers_that_float32_holds(mode):
    sampling, number = RegionSampling(MASK_RCNN), 20_000

    class Keys(nn.Cell):
        def construct(self, key):
            return sampling.keys(key, number)

    keys = Keys()(Tensor(np.array([7, 8], np.int32))).asnumpy()
    assert (keys == keys.astype(np.int32)).all() and keys.min() >= 0 and 2**23 < keys.max() < 2**24
    assert len(np.unique(keys[0])) > 0.99 * number and (keys[0] != keys[1]).mean() > 0.99


def test_none_of_equal_keys_is_drawn_twice(batch, monkeypatch):
    monkeypatch.setattr(RegionSampling, "keys", lambda self, key, n: ops.zeros((key.shape[0], n), ms.float32))
    sampling = RegionSampling(MASK_RCNN, 16)
    check_image(sample(sampling, batch, [1, 2, 3, 4, 5]), batch, 0, sampling)
