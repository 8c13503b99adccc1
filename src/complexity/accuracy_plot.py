"""Published accuracy against multiply-adds as one picture: the three families and the papers' peers.

The multiply-adds of the families are counted; those of the peers, and all accuracies, are as published.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

from .label_placement import Label, place_labels
from .published_peers import Peer, read_peers
from .report import FAMILIES, NetworkCost

_SERIES = {
    r"tnt_(ti|s|b)_patch": "TNT",
    r"ptnt_": "PyramidTNT",
    r"t2t_vit_\d+$": "T2T-ViT",
    r"t2t_vit_t_\d+$": "T2T-ViT_t",
}
"""Variants that a line joins. The further ones are marked as their family is, hollow and not joined."""
_STYLES = {  # colours that differ for the colour-blind; marker and line say the same without colour
    "TNT": {"color": "#0072b2", "marker": "o", "linestyle": "-"},
    "PyramidTNT": {"color": "#000000", "marker": "s", "linestyle": "--"},
    "T2T-ViT": {"color": "#c04f00", "marker": "^", "linestyle": "-."},
    "T2T-ViT_t": {"color": "#c04f00", "marker": "D", "linestyle": ":"},
}
_PEER_STYLES = {"convolution": ("x", "peers: convolutional networks"), "transformer": ("P", "peers: transformers")}
_GREY = "#6a6a6a"
_TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50)
_CROWD = ((4.35, 6.5), (80.5, 81.85))
"""Multiply-adds and accuracies that so many networks share that an enlargement shows them."""
_INSET = (0.5, 0.04, 0.495, 0.39)
_INSET_TICKS = (4.5, 5, 5.5, 6)


def draw_accuracy(costs: Sequence[NetworkCost]) -> bytes:
    """The picture, as a PNG file; see `accuracy_figure`."""
    file = io.BytesIO()
    accuracy_figure(costs).savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def accuracy_figure(costs: Sequence[NetworkCost]) -> Any:
    """A matplotlib figure.

    Args:
        costs: the networks to draw; those without published accuracy at their size are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(9, 7.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.set(xlim=(0.15, 90), ylim=(68.5, 85))
    axes.set_yticks(range(70, 85, 2))
    axes.set_xlabel("multiply-adds of one image in billions (peers: as published), logarithmic")
    axes.set_ylabel("top-1 accuracy on ImageNet-1k in %, as published")
    axes.spines[["top", "right"]].set_visible(False)
    points = {cost.name: (cost.complexity.total / 1e9, cost.published["top1"]) for cost in costs if cost.published}
    labels = _draw(axes, points)
    legend = axes.legend(frameon=False, loc="upper left", fontsize=9)
    if not any(_series(name) is None and _is_crowded(*point) for name, point in points.items()):
        figure.draw_without_rendering()  # settles the layout that labels are placed in
        place_labels(axes, labels, taken=[legend])
        return figure

    inset = axes.inset_axes(_INSET)
    inset.set_xscale("log")
    inset.set_xticks(_INSET_TICKS, [f"{tick:g}" for tick in _INSET_TICKS])
    inset.set(xlim=_CROWD[0], ylim=_CROWD[1])
    _draw(inset, points)
    for each in (axes, inset):
        each.minorticks_off()
        each.grid(alpha=0.25)
    inset.tick_params(labelsize=7)
    inset.set_title("the framed part, enlarged", fontsize=8, color=_GREY, loc="left", pad=3)
    (left, right), (low, high) = _CROWD
    axes.add_patch(Rectangle((left, low), right - left, high - low, fill=False, edgecolor=_GREY))
    figure.draw_without_rendering()
    place_labels(axes, [label for label in labels if not _is_crowded(label.x, label.y)], taken=[legend, inset])
    place_labels(inset, [label for label in labels if _is_crowded(label.x, label.y)])
    return figure


def _draw(axes: Any, points: dict[str, tuple[float, float]]) -> list[Label]:
    """Draws the networks and the peers; returns their labels, the important ones first."""
    labels, further = [], []
    for series, style in _STYLES.items():
        members = sorted((point, name) for name, point in points.items() if _series(name) == series)
        if members:
            along = zip(*(point for point, _ in members), strict=True)
            axes.plot(*along, **style, markersize=6, linewidth=1.2, label=series)
        labels += [_label(_short_name(name), point, style["color"], 8.5) for point, name in members]
    for name, point in points.items():
        if _series(name) is None:
            style = _STYLES[FAMILIES[name.split("_")[0]]]
            axes.plot(*point, style["marker"], color=style["color"], markerfacecolor="white", markersize=5, zorder=1.5)
            further.append(_label(_short_name(name), point, style["color"], 7))
    if further:
        axes.plot([], [], "o", color=_GREY, markerfacecolor="white", markersize=5, label="further variants (hollow)")
    peers = _one_of_each(read_peers())
    for kind, (marker, description) in _PEER_STYLES.items():
        found = [(peer.multiply_adds_billions, peer.top1) for peer in peers if peer.kind == kind]
        axes.plot(*zip(*found, strict=True), marker, color=_GREY, markersize=5, label=description, zorder=1)
    others = [_label(_peer_name(peer), (peer.multiply_adds_billions, peer.top1), _GREY, 7) for peer in peers]
    return labels + further + others


def _is_crowded(x: float, y: float) -> bool:
    (left, right), (low, high) = _CROWD
    return left <= x <= right and low <= y <= high


def _label(text: str, point: tuple[float, float], color: str, size: float) -> Label:
    return Label(text, *point, style={"color": color, "fontsize": size})


def _series(name: str) -> str | None:
    return next((series for pattern, series in _SERIES.items() if re.match(pattern, name)), None)


def _short_name(name: str) -> str:
    """tnt_s_1_patch16_224: TNT-S-1; ptnt_ti_patch16_192: PyramidTNT-Ti; t2t_vit_t_14: T2T-ViT_t-14."""
    if name.startswith("t2t_vit_"):
        rest = name.removeprefix("t2t_vit_").replace("_", "-")
        return f"T2T-ViT_{rest}" if rest.startswith("t-") else f"T2T-ViT-{rest}"
    family, *size = name.split("_patch")[0].split("_")
    return "-".join([FAMILIES[family], *(part.capitalize() for part in size)])


def _one_of_each(peers: Sequence[Peer]) -> list[Peer]:
    """The first line of each network and size."""
    first: dict[tuple[str, int], Peer] = {}
    for peer in peers:
        first.setdefault((peer.name, peer.image_size), peer)
    return list(first.values())


def _peer_name(peer: Peer) -> str:
    return peer.name if peer.image_size == 224 else f"{peer.name} at {peer.image_size}"
