"""Loss and accuracy over a run as one picture."""

from pathlib import Path
from typing import Any

_TRAINING, _EVALUATION, _AVERAGE = "#2a6fbb", "#d1495b", "#2e8b57"


def draw_curves(entries: list[dict[str, Any]], path: Path) -> None:
    """Draws the lines of metrics.jsonl to a PNG file: losses on the left, accuracy on the right, over epochs.

    Where a moving average of the weights was evaluated too, its curves stand beside theirs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    training = [e for e in entries if e["kind"] == "train"]
    evaluation = [e for e in entries if e["kind"] == "eval"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot([e["epoch"] for e in training], [e["loss"] for e in training], color=_TRAINING, label="training")
    marker = "o" if len(evaluation) < 40 else None
    weights = [("", "", _EVALUATION)]
    if any("ema_top1" in e for e in evaluation):
        weights.append(("ema_", ", moving average", _AVERAGE))
    for prefix, suffix, color in weights:
        entries = [e for e in evaluation if f"{prefix}top1" in e]
        epochs = [e["epoch"] for e in entries]
        style = {"color": color, "marker": marker, "markersize": 3}
        left.plot(epochs, [e[f"{prefix}loss"] for e in entries], label=f"evaluation{suffix}", **style)
        right.plot(epochs, [e[f"{prefix}top1"] for e in entries], label=f"top-1{suffix}", **style)
        right.plot(epochs, [e[f"{prefix}top5"] for e in entries], label=f"top-5{suffix}", **style, linestyle=":")
    left.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
    right.set(xlabel="epoch", ylabel="images in %", title="Evaluation accuracy")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
