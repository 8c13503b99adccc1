"""Maps are drawn where they belong."""

from dataclasses import replace

import numpy as np

from src.visualization.attention_figures import draw_attention, draw_rollout, draw_words, word_tile
from src.visualization.mosaic import heat, image_tile, map_tile, overlay
from src.visualization.taps import AttentionTaps, LayerTaps, Taps

PIXELS = np.full((32, 64, 3), 128, np.uint8)


def one_layer(key: int, prefix: int = 1) -> LayerTaps:
    """2 x 4 sentences that all look at the sentence `key`, in two heads."""
    weights = np.zeros((1, 2, 8 + prefix, 8 + prefix), np.float32)
    weights[..., prefix + key] = 1
    words = np.tile(np.eye(4, dtype=np.float32), (1, 8, 3, 1, 1))
    attention = AttentionTaps(weights, (2, 4), (2, 4), 16, 16, prefix)
    return LayerTaps("block 1", "blocks", (2, 4), 16, prefix, np.zeros((1, 8 + prefix, 5)), attention, words)


def picture(figure) -> np.ndarray:
    """The mosaic that a figure shows."""
    return np.asarray(figure.axes[0].images[0].get_array())


def names(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_map_tile_covers_the_image():
    values = np.arange(8).reshape(2, 4)
    tile = map_tile(values, 16, (32, 64), side=64)
    assert tile.shape == (32, 64)
    np.testing.assert_array_equal(tile[8::16, 8::16], values)
    # a grid that rounds up reaches beyond the image: 3 squares of 32 pixels over 80
    tile = map_tile(np.array([[1, 2, 3]]), 32, (32, 80), side=80)
    assert [int((tile[0] == value).sum()) for value in (1, 2, 3)] == [32, 32, 16]


def test_image_tile():
    assert image_tile(PIXELS).shape == (48, 96, 3)
    assert image_tile(PIXELS[..., :1]).shape == (48, 96, 3)
    np.testing.assert_allclose(image_tile(PIXELS), 128 / 255)


def test_overlay_is_brightest_where_the_weight_is():
    values = np.zeros((2, 4))
    values[1, 2] = 0.1
    drawn = overlay(image_tile(PIXELS), values, 16, (32, 64)).sum(axis=2)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert (row // 24, column // 24) == (1, 2)
    assert np.isfinite(overlay(image_tile(PIXELS), np.zeros((2, 4)), 16, (32, 64))).all()
    assert heat(np.array([0.0, 0.2])).sum(axis=1).argmax() == 1


def test_attention_has_a_row_a_layer_and_a_column_a_head():
    taps = Taps(np.zeros((1, 2)), [one_layer(key=6), one_layer(key=1)])
    figure = draw_attention(taps, "blocks", 0, PIXELS, "title", None)
    axes = figure.axes[0]
    assert names(axes.yaxis) == ["block 1"] * 2
    assert names(axes.xaxis) == ["image", "mean", "head 1", "head 2"]
    drawn = picture(figure)
    assert drawn.shape == (2 * 48 + 4, 4 * 96 + 3 * 4, 3)
    for row, key in enumerate((6, 1)):
        for column in (1, 2, 3):
            tile = drawn[row * 52 : row * 52 + 48, column * 100 : column * 100 + 96].sum(axis=2)
            y, x = np.unravel_index(tile.argmax(), tile.shape)
            assert (y // 24) * 4 + x // 24 == key
    with_point = picture(draw_attention(taps, "blocks", 0, PIXELS, "title", (63, 31)))
    changed = np.abs(with_point - drawn).sum(axis=2)[:48, 100:196] > 0.01
    assert changed[24:, 72:].any() and not changed[:24].any() and not changed[:, :72].any()  # the frame


def test_rollout_has_a_row_a_group():
    layers = [replace(one_layer(0), group=group) for group in ("stage 1", "stage 1", "stage 2")]
    shares = [np.eye(9)[None]] * 3
    figure = draw_rollout(layers, shares, 0, PIXELS, "title", (40, 20))  # the sentence in row 2, column 3
    axes = figure.axes[0]
    assert (names(axes.yaxis), names(axes.xaxis)) == (["stage 1", "stage 2"], ["block 1", "block 2"])
    drawn = picture(figure)
    assert drawn.shape == (2 * 48 + 4, 2 * 96 + 4, 3)
    y, x = np.unravel_index(drawn[52:, :96].sum(axis=2).argmax(), (48, 96))
    assert (y // 24, x // 24) == (1, 2)
    assert (drawn[52:, 100:] == 1).all()  # stage 2 has one block


def test_words_of_the_chosen_sentence():
    layer = one_layer(0)
    layer.inner_attention[0, 6] = np.roll(np.eye(4), 1, axis=1)
    taps = Taps(np.zeros((1, 2)), [layer])
    figures = [draw_words(taps, 0, PIXELS, "title", point) for point in ((33, 17), (0, 0))]
    assert names(figures[0].axes[0].xaxis) == ["sentence", "mean", "head 1", "head 2", "head 3"]
    first, second = (picture(figure)[:, 100:] for figure in figures)
    assert np.abs(first - second).max() > 0.5


def test_word_tile():
    tile = word_tile(np.roll(np.eye(4), 1, axis=1))  # 2 x 2 words: each looks at the next one
    bright = tile.sum(axis=2) > 2.5
    side = (len(tile) - 2) // 2
    upper_left, upper_right = bright[:side, :side], bright[:side, -side:]
    half = side // 2
    assert upper_left[:half, half:].all() and not upper_left[half:].any()  # word 1 looks at word 2
    assert upper_right[half:, :half].all() and not upper_right[:half].any()  # word 2 at word 3
