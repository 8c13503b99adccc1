"""TensorBoard event files, for those who watch runs with it; the package that writes them is an extra."""

from pathlib import Path
from typing import Any

from ..errors import UserError


def check_event_files() -> None:
    """Refuses, before anything is written, event files that cannot be.

    Raises:
        UserError: tensorboardX is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise UserError(
            "train.tensorboard needs tensorboardX: pip install -r requirements-tensorboard.txt, or leave it off "
            "(metrics.jsonl and curves.png are written in any case)"
        ) from None


class EventFiles:
    """Writes the entries of metrics.jsonl as scalars: `train/loss`, `eval/loss` and so on, over steps.

    Args:
        folder: of the event files.

    Raises:
        UserError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path):
        check_event_files()
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def add(self, entry: dict[str, Any]) -> None:
        """Adds an entry's numbers at its step."""
        for key, value in entry.items():
            if key not in ("kind", "step", "images"):
                self._writer.add_scalar(f"{entry['kind']}/{key}", value, entry["step"])
        self._writer.flush()
