"""Rolled out attention, on numbers to check by hand."""

import numpy as np

from src.visualization.rollout import merge_shares, rollout, sentence_attention
from src.visualization.taps import AttentionTaps, LayerTaps


def attention(weights, query_grid, key_grid, prefix=0) -> AttentionTaps:
    return AttentionTaps(np.asarray(weights, np.float32), query_grid, key_grid, 1, 1, prefix)


def layer(weights, grid=(1, 2), key_grid=None, prefix=0) -> LayerTaps:
    length = grid[0] * grid[1] + prefix
    taps = None if weights is None else attention(weights, grid, key_grid or grid, prefix)
    return LayerTaps("block", "blocks", grid, 1, prefix, np.zeros((1, length, 3)), taps, None)


def test_half_attention_half_residual_block_by_block():
    block = layer([[[[0.5, 0.5], [0.0, 1.0]]]])
    first, second = rollout([block, block])
    np.testing.assert_allclose(first[0], [[0.75, 0.25], [0, 1]])
    np.testing.assert_allclose(second[0], [[0.5625, 0.4375], [0, 1]])  # the square of the first


def test_heads_are_averaged_and_transitions_change_nothing():
    block = layer([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    shares = rollout([block, layer(None)])
    np.testing.assert_allclose(shares[0][0], [[0.75, 0.25], [0.25, 0.75]])
    np.testing.assert_array_equal(shares[0], shares[1])


def test_reduced_keys_stand_for_the_sentences_they_average():
    weights = np.tile([0.8, 0.2], (1, 1, 8, 1))  # 2 x 4 sentences, 1 x 2 keys
    expected = [0.2, 0.2, 0.05, 0.05] * 2
    np.testing.assert_allclose(sentence_attention(attention(weights, (2, 4), (1, 2)))[0, 5], expected)


def test_merge_shares():
    np.testing.assert_allclose(merge_shares((2, 2), (1, 1)), [[0.25] * 4])
    np.testing.assert_allclose(merge_shares((1, 4), (1, 2)), [[0.5, 0.5, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_allclose(merge_shares((1, 3), (1, 2)), [[0.5, 0.5, 0], [0, 0.5, 0.5]])
    assert merge_shares((4, 6), (2, 3)).shape == (6, 24)


def test_over_stages_rows_still_sum_to_one():
    rng = np.random.default_rng(0)
    first = layer(rng.dirichlet(np.ones(2), (1, 2, 8)), (2, 4), (1, 2))
    second = layer(rng.dirichlet(np.ones(2), (1, 3, 2)), (1, 2))
    shares = rollout([first, first, second])
    assert [x.shape for x in shares] == [(1, 8, 8), (1, 8, 8), (1, 2, 8)]
    for x in shares:
        np.testing.assert_allclose(x.sum(axis=2), 1, atol=1e-6)
    np.testing.assert_allclose(
        shares[2][0],
        0.5 * (np.eye(2) + second.attention.weights[0].mean(axis=0)) @ merge_shares((2, 4), (1, 2)) @ shares[1][0],
        rtol=1e-5,
    )
