"""Position tables as similarity maps."""

import numpy as np
import pytest

from src.models import create_model
from src.visualization.position_figures import draw_positions, position_tables, similarity_maps

NETWORKS = {
    "tnt_s_patch16_224": ({"depth": 1, "inner_dim": 4, "outer_dim": 12, "image_size": (32, 48)}, (2, 3)),
    "ptnt_s_patch16_256": ({"depths": (1, 1, 1, 1), "image_size": (64, 128)}, (8, 16)),
    "t2t_vit_7": ({"depth": 1, "image_size": (32, 48)}, (2, 3)),
}


def test_similarity_is_the_cosine():
    table = np.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [-1.0, 0.0]]])  # 2 x 2 positions
    maps = similarity_maps(table)
    np.testing.assert_allclose(maps[0, 0], [[1, 1], [0, -1]])
    np.testing.assert_allclose(maps[1, 0], [[0, 0], [1, 0]])
    assert np.isfinite(similarity_maps(np.zeros((2, 2, 3)))).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_tables_of_every_family(name):
    arguments, grid = NETWORKS[name]
    net = create_model(name, num_classes=2, **arguments)
    tables = position_tables(net)
    assert tables["sentences"].shape[:2] == grid
    assert ("words" in tables) == (not name.startswith("t2t"))
    last = (net.outer_pos if "words" in tables else net.pos_embed).asnumpy()[0, -1]
    np.testing.assert_array_equal(tables["sentences"][-1, -1], last)  # the class token is cut off at the other end
    if "words" in tables:
        np.testing.assert_array_equal(tables["words"][1, 0], net.inner_pos.asnumpy()[0, 4])
    figure = draw_positions(tables, "title")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith(f"sentences: {grid[0]} x {grid[1]} positions")
    assert ("every 2. row" in titles[0]) == (max(grid) > 14)
