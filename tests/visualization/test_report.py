"""The page: its weights can be read back, it needs nothing from outside, and it stays below its limit."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

from src.visualization.report import LEVELS, ReportImage, build_report, pack, quantise, script_json, sum_squares
from src.visualization.rollout import rollout
from src.visualization.taps import AttentionTaps, LayerTaps, Taps


def random_layer(rng, images: int, group: str, grid, key_grid, heads: int, prefix: int, inner_heads: int) -> LayerTaps:
    """Attention of the given shape, with weights about as uneven as those of trained networks."""
    height, width = grid

    def rows(*shape):
        weights = np.exp(rng.standard_normal(shape, dtype=np.float32))
        return weights / weights.sum(axis=-1, keepdims=True)

    queries, keys = prefix + height * width, prefix + key_grid[0] * key_grid[1]
    weights = rows(images, heads, queries, keys)
    attention = AttentionTaps(weights, grid, key_grid, 16, 16 * height // key_grid[0], prefix)
    inner = rows(images, height * width, inner_heads, 16, 16) if inner_heads else None
    return LayerTaps("block", group, grid, 16, prefix, np.zeros((images, queries, 2), np.float32), attention, inner)


def small_taps(images: int = 2) -> Taps:
    rng = np.random.default_rng(0)
    layers = [
        random_layer(rng, images, "token layers", (8, 8), (8, 8), 1, 0, 0),
        random_layer(rng, images, "blocks", (4, 4), (4, 4), 3, 1, 2),
        random_layer(rng, images, "blocks", (4, 4), (4, 4), 3, 1, 0),
    ]
    return Taps(np.zeros((images, 3), np.float32), layers)


def report_images(count: int, label: str = "seven") -> list[ReportImage]:
    return [ReportImage(f"image {i}", np.full((64, 64, 3), 40 * i, np.uint8), [(label, 0.9)]) for i in range(count)]


def read_content(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)[1])


def restore(values: np.ndarray) -> np.ndarray:
    """What the page computes."""
    squares = values.astype(np.float64) ** 2
    return squares / squares.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("levels,tolerance", [(256, 0.01), (16, 0.1)])
def test_weights_can_be_read_back(levels, tolerance):
    weights = np.random.default_rng(0).dirichlet(np.full(50, 0.3), 40)
    values = quantise(weights, levels)
    assert values.dtype == np.uint8 and (values.max(axis=1) == levels - 1).all()
    assert np.abs(restore(values) - weights).max() < tolerance * weights.max()


def test_the_page_holds_every_row():
    taps = small_taps()
    report = build_report("Title", "Description", taps, report_images(2))
    assert (report.num_images, report.levels) == (2, LEVELS[0])
    content = read_content(report.page)
    assert (content["levels"], content["noun"], content["size"]) == (256, "sentence", [64, 64])
    rolled = rollout(taps.blocks())
    for index, image in enumerate(content["images"]):
        values = np.frombuffer(zlib.decompress(base64.b64decode(image["weights"])), np.uint8)
        expected, shares = [], iter(rolled)
        for layer in taps.layers:
            expected.append(layer.attention.weights[index])
            if layer.group == "blocks":
                expected.append(next(shares)[index])
            if layer.inner_attention is not None:
                expected.append(layer.inner_attention[index])
        assert values.size == sum(array.size for array in expected)
        position = 0
        for array in expected:
            part = values[position : position + array.size].reshape(array.shape)
            np.testing.assert_allclose(restore(part), array, atol=0.01 * array.max())
            position += array.size
    assert [(x["prefix"], x["heads"], x["innerHeads"], x["rolled"]) for x in content["layers"]] == [
        (0, 1, 0, False),
        (1, 3, 2, True),
        (1, 3, 0, True),
    ]


def test_nothing_comes_from_outside():
    page = build_report("Title", "Description", small_taps(1), report_images(1)).page
    assert "http:" not in page and "https:" not in page and "@import" not in page and "fetch(" not in page
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    assert "default-src 'none'" in page


def test_names_cannot_end_the_script():
    title = "<b>{{content}}</b>"
    page = build_report(title, "a & b", small_taps(1), report_images(1, "</script><script>alert(1)")).page
    assert page.count("</script>") == 2 and "<title>&lt;b&gt;{{content}}&lt;/b&gt;</title>" in page
    assert read_content(page)["images"][0]["top"] == [["</script><script>alert(1)", 0.9]]
    assert script_json("<!--") == '"\\u003c!--"'


def test_levels_then_images_give_way_to_the_limit():
    taps, images = small_taps(4), report_images(4)
    whole = build_report("t", "d", taps, images)
    coarse = build_report("t", "d", taps, images, most_bytes=len(whole.page) - 2000)
    assert coarse.num_images == 4 and coarse.levels < 256 and len(coarse.page) <= len(whole.page) - 2000
    few = build_report("t", "d", taps, images, most_bytes=len(whole.page) * 2 // 5)
    assert few.num_images < 4 and few.levels == LEVELS[-1] and len(few.page) <= len(whole.page) * 2 // 5
    assert build_report("t", "d", taps, images, most_bytes=1).num_images == 1


def test_sum_squares():
    layer = random_layer(np.random.default_rng(0), 1, "blocks", (2, 4), (2, 4), 1, 1, 0)
    shares = np.arange(9, dtype=np.float32).reshape(1, 1, 9)
    assert sum_squares(shares, layer, 2).tolist() == [[[0, 1 + 2 + 5 + 6, 3 + 4 + 7 + 8]]]


def test_pack():
    text = pack([np.array([[1.0, 0.0]]), np.array([[0.25, 0.25, 0.5]])], 3)
    assert list(zlib.decompress(base64.b64decode(text))) == [2, 0, 1, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["TNT-S", "PyramidTNT-S", "T2T-ViT-14"])
def test_four_images_of_published_networks_fit(network):
    """All blocks and heads at the published sizes, with attention that compresses badly."""
    rng = np.random.default_rng(0)
    if network == "TNT-S":
        layers = [random_layer(rng, 4, "blocks", (14, 14), (14, 14), 6, 1, 4) for _ in range(12)]
    elif network == "T2T-ViT-14":
        layers = [random_layer(rng, 4, "token layers", (14, 14), (14, 14), 1, 0, 0) for _ in range(2)]
        layers += [random_layer(rng, 4, "blocks", (14, 14), (14, 14), 6, 1, 0) for _ in range(14)]
    else:
        layers = []
        for side, keys, heads, inner_heads, num_inner, blocks in (
            (32, 8, 4, 2, 1, 2),
            (16, 8, 8, 4, 2, 8),
            (8, 8, 16, 8, 1, 4),
            (4, 4, 16, 8, 1, 2),
        ):
            layers += [
                random_layer(rng, 4, str(side), (side, side), (keys, keys), heads, 0, inner_heads * (i < num_inner))
                for i in range(blocks)
            ]
    images = [ReportImage(str(i), rng.integers(0, 256, (224, 224, 3)).astype(np.uint8), []) for i in range(4)]
    report = build_report("t", "d", Taps(np.zeros((4, 3)), layers), images)
    assert report.num_images == 4 and len(report.page) < 10_000_000
