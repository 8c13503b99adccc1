"""What the picture shows, and that its labels can be read."""

from src.complexity.accuracy_plot import accuracy_figure, draw_accuracy
from src.complexity.count import count, create_unfilled_model
from src.complexity.published_peers import read_peers
from src.complexity.report import NetworkCost
from src.models import get_variant, list_models


def costs(names):
    nets = {name: create_unfilled_model(name) for name in names}
    return [NetworkCost(name, net.image_size, net.num_classes, count(net)) for name, net in nets.items()]


def test_every_network_is_shown_once_and_no_label_covers_another():
    figure = accuracy_figure(costs(list_models()))
    (axes,) = figure.axes
    (inset,) = axes.child_axes
    peers = {(peer.name, peer.image_size) for peer in read_peers()}
    texts = [*axes.texts, *inset.texts]
    assert len(texts) == len({text.get_text() for text in texts}) == len(list_models()) + len(peers)
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in texts]
    boxes += [axes.get_legend().get_window_extent(renderer), inset.get_tightbbox(renderer)]
    for i, (text, box) in enumerate(zip(texts, boxes[:-2], strict=True)):
        frame = text.axes.get_window_extent(renderer)
        assert frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1), text.get_text()
        others = boxes[i + 1 :] if text.axes is axes else boxes[i + 1 : -2]
        assert not any(box.overlaps(other) for other in others), text.get_text()


def test_points_are_the_counted_cost_and_the_published_accuracy():
    (axes,) = accuracy_figure(costs(["tnt_s_patch16_224", "tnt_ti_patch16_224", "tnt_s_4_patch16_224"])).axes
    lines = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}
    assert lines["TNT"] == [(1.403721984, 73.9), (5.216875008, 81.5)]
    assert (63.6, 81.1) in lines["peers: transformers"] and (1.8, 81.6) in lines["peers: convolutional networks"]
    assert (4.634030592, 80.8) in [point for points in lines.values() for point in points]
    assert {text.get_text() for text in axes.texts} >= {"TNT-Ti", "EfficientNet-B3 at 300"}
    assert {text.get_text() for text in axes.child_axes[0].texts} == {"TNT-S", "TNT-S-4", "DeiT-S, distilled"}
    assert "published" in axes.get_ylabel() and "billions" in axes.get_xlabel()


def test_only_published_accuracy_is_drawn():
    net = create_unfilled_model("tnt_s_patch16_224", (384, 384))
    (axes,) = accuracy_figure([NetworkCost("tnt_s_patch16_224", net.image_size, 1000, count(net))]).axes
    assert "TNT-S" not in {text.get_text() for text in axes.texts}


def test_without_a_crowd_there_is_no_enlargement():
    (axes,) = accuracy_figure(costs(["tnt_s_patch16_224"])).axes
    assert not axes.child_axes and "TNT-S" in {text.get_text() for text in axes.texts}


def test_png():
    assert draw_accuracy(costs(["tnt_s_patch16_224"])).startswith(b"\x89PNG")


def test_peers_have_sources_and_are_none_of_the_families():
    peers = read_peers()
    assert len(peers) == 26
    assert all("paper" in peer.source and "Table" in peer.source for peer in peers)
    assert all(60 < peer.top1 < 90 and peer.kind in ("convolution", "transformer") for peer in peers)
    assert not {peer.name for peer in peers} & set(list_models())
    assert get_variant("tnt_s_patch16_224").published["top1"] > max(p.top1 for p in peers if p.name == "DeiT-S")
