"""Attention rolled out over blocks: how much of each first token is in a token after several blocks.

Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020: the mean over heads, averaged with the
identity for the residual connection, multiplied from block to block. It knows attention only: MLPs, values, and the
words that TNT adds to sentences are left out.

Two steps of PyramidTNT are not attention and are taken as plain averages here: a reduced key stands for the
sr_ratio x sr_ratio sentences that are averaged for it, and a sentence after a merge for the 3 x 3 sentences under its
convolution's window, each with the same share.
"""

from collections.abc import Sequence

import numpy as np

from .taps import AttentionTaps, LayerTaps


def rollout(blocks: Sequence[LayerTaps]) -> list[np.ndarray]:
    """The shares (B, L, L of the first block) of the tokens before the first block in each block's; rows sum to 1.

    Args:
        blocks: in the order in which they run; a transition without attention leaves the shares as they are.
    """
    batch, length = blocks[0].tokens.shape[:2]
    shares = np.broadcast_to(np.eye(length, dtype=np.float32), (batch, length, length))
    grid, rolled = blocks[0].grid, []
    for block in blocks:
        if block.grid != grid:
            shares = merge_shares(grid, block.grid) @ shares
            grid = block.grid
        if block.attention is not None:
            weights = sentence_attention(block.attention)
            shares = 0.5 * (weights @ shares + shares)
        rolled.append(shares)
    return rolled


def sentence_attention(attention: AttentionTaps) -> np.ndarray:
    """Mean over heads, (B, L, L): the weight of a reduced key in equal parts on the sentences it was averaged from."""
    weights = attention.weights.mean(axis=1)  # B L S
    ratio = attention.query_grid[0] // attention.key_grid[0]
    if ratio == 1:
        return weights
    maps = weights.reshape(*weights.shape[:2], *attention.key_grid)
    maps = maps.repeat(ratio, axis=2).repeat(ratio, axis=3) / ratio**2
    return maps.reshape(*weights.shape[:2], -1)


def merge_shares(before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """(sentences after, sentences before): equal shares under a 3 x 3 window of stride 2 and padding 1."""
    rows, columns = (_window_shares(*sides) for sides in zip(before, after, strict=True))
    return np.einsum("ab,cd->acbd", rows, columns).reshape(after[0] * after[1], before[0] * before[1])


def _window_shares(before: int, after: int) -> np.ndarray:
    distance = np.abs(2 * np.arange(after)[:, None] - np.arange(before)[None])
    inside = (distance <= 1).astype(np.float32)
    return inside / inside.sum(axis=1, keepdims=True)
