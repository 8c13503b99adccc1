"""Loss and accuracy over a run as one picture."""

from pathlib import Path
from typing import Any

_TRAINING, _EVALUATION = "#2a6fbb", "#d1495b"


def draw_curves(entries: list[dict[str, Any]], path: Path) -> None:
    """Draws the lines of metrics.jsonl to a PNG file: losses on the left, accuracy on the right, over epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    training = [e for e in entries if e["kind"] == "train"]
    evaluation = [e for e in entries if e["kind"] == "eval"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot([e["epoch"] for e in training], [e["loss"] for e in training], color=_TRAINING, label="training")
    marker = "o" if len(evaluation) < 40 else None
    style = {"color": _EVALUATION, "marker": marker, "markersize": 3}
    epochs = [e["epoch"] for e in evaluation]
    left.plot(epochs, [e["loss"] for e in evaluation], label="evaluation", **style)
    left.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
    right.plot(epochs, [e["top1"] for e in evaluation], label="top-1", **style)
    right.plot(epochs, [e["top5"] for e in evaluation], label="top-5", **style, linestyle=":")
    right.set(xlabel="epoch", ylabel="images in %", title="Evaluation accuracy")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
