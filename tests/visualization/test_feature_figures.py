"""Features as pictures: which blocks, and what their colours mean."""

import numpy as np
import pytest

from src.errors import UserError
from src.visualization.feature_figures import choose_blocks, draw_features, principal_colors
from src.visualization.taps import LayerTaps


def layer(tokens: np.ndarray, name: str = "block") -> LayerTaps:
    return LayerTaps(name, "blocks", (2, 2), 16, 0, tokens, None, None)


def test_first_middle_last():
    twelve = list(range(1, 13))
    assert choose_blocks(twelve, None) == [1, 6, 12]  # the TNT paper's
    assert choose_blocks([1], None) == [1]
    assert choose_blocks(twelve, [2, 11]) == [2, 11]
    for wrong in (0, 13):
        with pytest.raises(UserError, match=f"counted from 1 to 12, got {wrong}"):
            choose_blocks(twelve, [wrong])


@pytest.mark.parametrize("sign", [1, -1])
def test_colours_follow_the_strongest_directions(sign):
    rng = np.random.default_rng(0)
    maps = np.zeros((2, 5, 4, 4))
    maps[:, 3] = sign * 10 * rng.standard_normal((2, 4, 4))  # the channel that varies most
    maps[:, 1] = rng.standard_normal((2, 4, 4))
    colors = principal_colors(maps)
    assert colors.shape == (2, 4, 4, 3) and colors.min() == 0 and colors.max() == 1
    order = np.argsort(maps[:, 3].ravel())
    assert (np.diff(colors[..., 0].ravel()[order]) >= -1e-9).all()  # red rises with it, not against it
    assert np.corrcoef(colors[..., 1].ravel(), maps[:, 1].ravel())[0, 1] > 0.9
    assert (colors[..., 2] == 0.5).all()  # there is no third direction


def test_tokens_that_are_all_alike_have_no_colour():
    assert (principal_colors(np.ones((1, 3, 2, 2))) == 0.5).all()


def test_features_of_each_layer():
    tokens = np.random.default_rng(0).standard_normal((1, 4, 12))
    layers = [layer(tokens, "one"), layer(tokens * 2, "two")]
    colors = [principal_colors(one.maps()) for one in layers]
    figure = draw_features(layers, colors, 0, np.zeros((32, 32, 3), np.uint8), "title")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [label.get_text() for label in axes.get_xticklabels()][:3] == ["image", "components", "channel 1"]
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (2 * 96 + 4, 12 * 96 + 11 * 4, 3)
    np.testing.assert_allclose(drawn[100:, 200:], drawn[:96, 200:])  # a channel is drawn relative to its own range
    np.testing.assert_array_equal(drawn[24, 124], colors[0][0, 0, 0])
