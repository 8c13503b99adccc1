"""What a run tells: lines on the terminal and in train.log, entries in metrics.jsonl, curves, event files."""

import time
from collections.abc import Sequence

from ..tasks.scores import ScoreKind, Scores
from ..terminal.progress import tell_line
from .curves import draw_curves
from .event_files import EventFiles
from .run_folder import RunFolder

_SHARE_OF_DRAWING = 0.05
"""At most, of a run's time: where epochs are short, not every evaluation draws the curves."""


class RunLog:
    """Tells about steps and evaluations.

    Attributes:
        losses: of the steps since the last line about steps, whose average the next one tells; each step's by
            `loss_names`.

    Args:
        folder: of the run.
        total_steps, steps_per_epoch: of the run.
        images_per_step: of all devices.
        loss_names: of the losses whose sum is minimised.
        score_kinds: of the scores of evaluations.
        tensorboard: write event files too.
        is_shown: whether to print and write at all; of several processes one does.

    Raises:
        UserError: event files are wanted, and the package for them is missing.
    """

    def __init__(
        self,
        folder: RunFolder,
        total_steps: int,
        steps_per_epoch: int,
        images_per_step: int,
        loss_names: Sequence[str],
        score_kinds: Sequence[ScoreKind],
        tensorboard: bool,
        is_shown: bool = True,
    ):
        self.folder = folder
        self.total_steps, self.steps_per_epoch, self.images_per_step = total_steps, steps_per_epoch, images_per_step
        self.loss_names, self.score_kinds, self.is_shown = loss_names, score_kinds, is_shown
        self._event_files = EventFiles(folder.tensorboard) if tensorboard and is_shown else None
        self.losses: list[list[float]] = []
        self._is_drawn, self._draw_after = True, 0.0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Speed is measured from here to the next `steps`."""
        self._timed_steps, self._since, self._waited = 0, time.perf_counter(), 0.0

    def tell(self, line: str) -> None:
        """Prints a line and logs it."""
        if not self.is_shown:
            return
        tell_line(line)
        self.folder.log(line)

    def add_step(self, losses: list[float], waited: float) -> None:
        """Takes note of a step and of the seconds that it waited for data."""
        self.losses.append(losses)
        self._timed_steps += 1
        self._waited += waited

    def steps(self, step: int, lr: float, skipped: int | None, on_terminal: bool) -> None:
        """Records the steps since the last call; `step` of them are done in all.

        Args:
            step: steps done.
            lr: learning rate of the last one.
            skipped: steps left out so far because gradients overflowed; None where none can be.
            on_terminal: a progress bar shows it already.
        """
        means, self.losses = [sum(values) / len(self.losses) for values in zip(*self.losses, strict=True)], []
        loss, named = sum(means), dict(zip(self.loss_names, means, strict=True)) if len(means) > 1 else {}
        if not self.is_shown:
            return
        seconds = time.perf_counter() - self._since
        speed = self._timed_steps * self.images_per_step / seconds
        epoch = step / self.steps_per_epoch
        entry = {
            "kind": "train",
            "step": step,
            "epoch": round(epoch, 4),
            "loss": loss,
            **{f"loss_{name}": value for name, value in named.items()},
            "learning_rate": lr,
            "images_per_second": round(speed, 2),
            "data_wait": round(self._waited / seconds, 4),
        }
        if skipped is not None:
            entry["skipped_steps"] = skipped
        self._record(entry)
        parts = f" ({', '.join(f'{name} {value:.4f}' for name, value in named.items())})" if named else ""
        left = (self.total_steps - step) * self.images_per_step / speed
        line = (
            f"step {step}/{self.total_steps}, epoch {epoch:.2f}, loss {loss:.4f}{parts}, lr {lr:.3g}, "
            f"{speed:.1f} images/s, {100 * self._waited / seconds:.0f} % waiting for data, {_duration(left)} left"
        )
        if skipped:
            line += f", {skipped} steps skipped for overflow"
        self.folder.log(line)
        if not on_terminal:
            tell_line(line)
        self.restart_clock()

    def evaluation(self, step: int, scores: Scores, ema_scores: Scores | None, seconds: float) -> None:
        """Records an evaluation of the weights and of their moving average, and draws the curves anew if it is time."""
        if not self.is_shown:
            return
        images = scores.images * (1 if ema_scores is None else 2)
        entry = {"kind": "eval", "step": step, "epoch": step // self.steps_per_epoch, **scores.to_dict()}
        if ema_scores is not None:
            entry |= {f"ema_{key}": value for key, value in ema_scores.to_dict().items() if key != "images"}
        self._record({**entry, "images_per_second": round(images / seconds, 2)})
        line = f"epoch {step // self.steps_per_epoch}/{self.total_steps // self.steps_per_epoch}: {scores}"
        self.tell(line if ema_scores is None else f"{line}; moving average: {ema_scores.brief()}")
        self._is_drawn = False
        if time.perf_counter() >= self._draw_after:
            self._draw()

    def close(self) -> None:
        """Draws the curves if an evaluation came since they were drawn."""
        if not self._is_drawn:
            self._draw()

    def _draw(self) -> None:
        self._is_drawn, since = True, time.perf_counter()
        with self.folder.writing():
            draw_curves(self.folder.read_metrics(), self.score_kinds, self.folder.curves)
        now = time.perf_counter()
        self._draw_after = now + (now - since) / _SHARE_OF_DRAWING

    def _record(self, entry: dict) -> None:
        self.folder.record(entry)
        if self._event_files is not None:
            with self.folder.writing():
                self._event_files.add(entry)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
