"""The order of an epoch, by hand for small sets, and which positions of a global batch a part takes."""

import numpy as np
import pytest

from src.data.epoch_order import balanced_shares, epoch_length, epoch_order, positions
from src.data.random_streams import augmentation_stream, erasing_stream, mixing_stream, order_stream
from src.errors import UserError


def test_without_repetitions_every_image_once():
    indices, copies = epoch_order(1000, 3, 5, 1)
    assert indices.tolist() == order_stream(3, 5).permutation(1000).tolist()
    assert sorted(indices.tolist()) == list(range(1000)) and not copies.any()


def test_repetitions_follow_each_other():
    shuffled = order_stream(0, 0).permutation(7).tolist()
    indices, copies = epoch_order(7, 0, 0, 3)  # fewer than 256 images: as many entries as images
    assert indices.tolist() == [shuffled[0]] * 3 + [shuffled[1]] * 3 + [shuffled[2]]
    assert copies.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_lengths_of_the_ra_sampler():
    """ImageNet: 8 ranks of 160,128 images."""
    assert epoch_length(1_281_167, 3) == 8 * 160_128
    assert [epoch_length(n, 3) for n in (1, 255, 256, 511, 512)] == [1, 255, 256, 256, 512]
    assert epoch_length(1_281_167, 1) == 1_281_167
    assert len(epoch_order(600, 0, 0, 3)[0]) == 512


def test_positions_by_hand():
    """A global batch of 8: partners are 0-7, 1-6, 2-5, 3-4."""
    assert positions(0, 1, 8, True).tolist() == list(range(8))
    assert [positions(part, 2, 4, True).tolist() for part in range(2)] == [[0, 2, 5, 7], [1, 3, 4, 6]]
    assert [positions(part, 4, 2, True).tolist() for part in range(4)] == [[0, 7], [1, 6], [2, 5], [3, 4]]
    assert [positions(part, 2, 3, False).tolist() for part in range(2)] == [[0, 2, 5], [1, 3, 4]]
    assert positions(0, 1, 3, True).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("num_parts", "batch_size"), [(1, 12), (2, 6), (3, 4), (6, 2), (1, 7), (5, 8)])
@pytest.mark.parametrize("paired", [False, True])
def test_parts_share_out_the_batch(num_parts, batch_size, paired):
    total = num_parts * batch_size
    parts = [positions(part, num_parts, batch_size, paired) for part in range(num_parts)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(total))
    for part in parts:
        assert (part + part[::-1] == total - 1).all()  # partners mirror each other in the part as in the whole


def test_odd_parts_cannot_be_mixed():
    with pytest.raises(UserError, match=r"batch_size must be even to mix images .* over 2 parts .*, got 3"):
        positions(0, 2, 3, True)


def test_streams_are_independent():
    """NumPy takes [a, b] and [a, b, 0] for the same key; no decision may share its draws with another."""
    small = range(3)
    pairs = [(a, b) for a in small for b in small]
    draws = {stream(*key).random() for stream in (order_stream, mixing_stream) for key in pairs}
    draws |= {stream(*a, *b).random() for stream in (augmentation_stream, erasing_stream) for a in pairs for b in pairs}
    assert len(draws) == 2 * 9 + 2 * 81


def test_balanced_classes():
    labels = np.repeat([0, 1, 2], [600, 90, 10])
    for power, expected in ((0.0, [600, 90, 10]), (0.5, [600**0.5, 90**0.5, 10**0.5]), (1.0, [1, 1, 1])):
        shares = balanced_shares(labels, power)
        of_classes = np.bincount(labels, shares)
        np.testing.assert_allclose(of_classes, np.array(expected) / sum(expected))
        drawn = np.bincount(labels[np.concatenate([epoch_order(700, 0, e, 1, shares)[0] for e in range(20)])])
        np.testing.assert_allclose(drawn / drawn.sum(), of_classes, atol=0.02)


def test_images_that_are_drawn_again_are_other_repetitions():
    shares = balanced_shares(np.repeat([0, 1], [290, 10]), 1.0)
    for repeats in (1, 3):
        indices, copies = epoch_order(300, 1, 2, repeats, shares)
        again = epoch_order(300, 1, 2, repeats, shares)
        np.testing.assert_array_equal((indices, copies), again)
        pairs = list(zip(indices.tolist(), copies.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs) == epoch_length(300, repeats)
        assert all((index, copy - 1) in pairs[:place] for place, (index, copy) in enumerate(pairs) if copy)
