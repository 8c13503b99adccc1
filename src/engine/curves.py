"""Losses and scores over a run as one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..tasks.scores import ScoreKind

_TRAINING, _EVALUATION, _AVERAGE = "#2a6fbb", "#d1495b", "#2e8b57"
_STYLES = ("-", ":", "--", "-.")


def draw_curves(entries: Sequence[dict[str, Any]], score_kinds: Sequence[ScoreKind], path: Path) -> None:
    """Draws the lines of metrics.jsonl to a PNG file: losses on the left, other scores on the right, over epochs.

    Where a moving average of the weights was evaluated too, its curves stand beside theirs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    training = [e for e in entries if e["kind"] == "train"]
    evaluation = [e for e in entries if e["kind"] == "eval"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [e["epoch"] for e in training]
    left.plot(epochs, [e["loss"] for e in training], color=_TRAINING, label="training")
    parts = dict.fromkeys(name for e in training for name in e if name.startswith("loss_"))
    for number, name in enumerate(parts):
        values = [e.get(name, float("nan")) for e in training]
        style = _STYLES[1 + number % (len(_STYLES) - 1)]
        left.plot(epochs, values, color=_TRAINING, alpha=0.5, linestyle=style, label=name.removeprefix("loss_"))
    losses = [kind for kind in score_kinds if kind.is_loss]
    others = [kind for kind in score_kinds if not kind.is_loss and kind.is_drawn]
    marker = "o" if len(evaluation) < 40 else None
    for prefix, suffix, color in (("", "", _EVALUATION), ("ema_", ", moving average", _AVERAGE)):
        for axes, kinds in ((left, losses), (right, others)):
            for number, kind in enumerate(kinds):
                known = [e for e in evaluation if prefix + kind.name in e]
                if known:
                    title = "evaluation" if axes is left and len(kinds) == 1 else kind.title
                    axes.plot(
                        [e["epoch"] for e in known],
                        [e[prefix + kind.name] for e in known],
                        color=color,
                        marker=marker,
                        markersize=3,
                        linestyle=_STYLES[number % len(_STYLES)],
                        label=title + suffix,
                    )
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    right.set(xlabel="epoch", ylabel="%" if all(kind.unit == "%" for kind in others) else "score", title="Evaluation")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
