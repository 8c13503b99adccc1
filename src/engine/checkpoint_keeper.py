"""Which checkpoints of a run are there: the last few, the best, and the one to go on from."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mindspore import Parameter

from ..errors import UserError
from ..weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from ..weights.model_card import ModelCard
from .run_folder import RunFolder, step_of


class CheckpointKeeper:
    """Saves `last.ckpt` and `best.ckpt` of a run; earlier last ones stay as `step_<N>.ckpt`.

    A file never has its final name before it is complete and on the disk, and the last checkpoint gets its second name
    before it is replaced, so that at any moment one that can be resumed from is there. The one before the last stays
    until the last has proved to be good (`confirm`).

    A best checkpoint that is replaced stays as `best_step_<N>.ckpt` as long as the run can be resumed from a step
    before the new one: `best.ckpt` must never be of a step that the run no longer has.

    Attributes:
        last_step: step of the `last.ckpt` that is there; None where there is none, or it could not be read.
        best_step: the same for `best.ckpt`, after `return_to` or `save_best`.

    Args:
        folder: of the run.
        card: describes the network.
        keep: how many of the latest checkpoints are kept, `last.ckpt` among them.
        last_step: see above.
        writes: whether to write at all; of several processes one does, and the others take note.
    """

    def __init__(
        self, folder: RunFolder, card: ModelCard, keep: int, last_step: int | None = None, writes: bool = True
    ):
        self.folder, self.card, self.keep, self.last_step, self.writes = folder, card, keep, last_step, writes
        self.best_step: int | None = None
        self._is_confirmed = True

    def save_last(self, weights: Iterable[Parameter], state: Iterable[Parameter], progress: dict[str, Any]) -> None:
        """Writes `last.ckpt`; the one that is there becomes `step_<N>.ckpt`, unless it is known to be damaged.

        Raises:
            UserError: it cannot be written; what was there is intact.
        """
        if self.writes:
            self.folder.check_there()
            if self.last_step not in (None, progress["step"]):
                _give_second_name(self.folder.last, self.folder.checkpoint_of(self.last_step))
            save_checkpoint(self.folder.last, weights, self.card, state, progress)
            self._drop_earlier(max(self.keep - 1, 1))
        self.last_step, self._is_confirmed = progress["step"], False

    def confirm(self) -> None:
        """The weights of `last.ckpt` have given finite outputs."""
        if not self._is_confirmed and self.writes:
            self._drop_earlier(self.keep - 1)
        self._is_confirmed = True

    def withdraw(self) -> None:
        """The weights of `last.ckpt` gave outputs that are not finite: if it was saved here and not confirmed, the one
        before takes its place again, or there is none."""
        if self._is_confirmed:
            return
        earlier = self.folder.earlier_checkpoints()
        if self.writes:
            os.replace(earlier[0], self.folder.last) if earlier else self.folder.last.unlink(missing_ok=True)
        self.last_step, self._is_confirmed = step_of(earlier[0]) if earlier else None, True

    def save_best(self, weights: Iterable[Parameter], progress: dict[str, Any]) -> None:
        """Writes `best.ckpt`, which holds weights only.

        Raises:
            UserError: it cannot be written; what was there is intact.
        """
        if not self.writes:
            return
        self.folder.check_there()
        if self.best_step not in (None, progress["step"]):
            _give_second_name(self.folder.best, self.folder.best_of(self.best_step))
        save_checkpoint(self.folder.best, weights, self.card, (), progress)
        self.best_step = progress["step"]
        self._drop_earlier_bests()

    def find_best(self, step: int) -> Checkpoint | None:
        """The best checkpoint of a run that has done `step` steps; None where there is none."""
        for path in (self.folder.best, *self.folder.earlier_bests()):
            best = _read_best(path)
            if best is not None and best.progress["step"] <= step:
                return best
        return None

    def return_to(self, step: int) -> list[str]:
        """Makes `best.ckpt` the best one of a run that goes on after `step`; says so where it was of a later step.

        Raises:
            UserError: it cannot be written.
        """
        best, lines = self.find_best(step), []
        with self.folder.writing():
            if best is None and self.folder.best.exists():
                self.folder.best.unlink()
                lines.append(f"removed {self.folder.best}, which is of a step that this run no longer has")
            elif best is not None and best.path != self.folder.best:
                os.replace(best.path, self.folder.best)
                lines.append(
                    f"{self.folder.best} is that of step {best.progress['step']} again; the other was of a later step"
                )
            for path in self.folder.earlier_bests():
                if best is None or step_of(path) >= best.progress["step"]:
                    path.unlink()
        self.best_step = None if best is None else best.progress["step"]
        return lines

    def _drop_earlier(self, keep: int) -> None:
        for path in self.folder.earlier_checkpoints()[keep:]:
            with suppress(OSError):
                path.unlink()
        self._drop_earlier_bests()

    def _drop_earlier_bests(self) -> None:
        """Leaves those that would be the best after a return to one of the checkpoints that are there."""
        earlier = [step_of(path) for path in self.folder.earlier_checkpoints()]
        oldest = min([*earlier, *([] if self.last_step is None else [self.last_step])], default=0)
        newer_step = self.best_step
        for path in self.folder.earlier_bests():
            if newer_step is not None and newer_step <= oldest:
                with suppress(OSError):
                    path.unlink()
            newer_step = step_of(path)


def _read_best(path: Path) -> Checkpoint | None:
    """None where it is not there, or cannot be read, or does not say what it is."""
    with suppress(UserError):
        best = read_checkpoint(path)
        return best if {"step", "best_score"} <= best.progress.keys() else None
    return None


def _give_second_name(path: Path, second: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    with suppress(OSError):
        second.unlink(missing_ok=True)
        try:
            os.link(path, second)
        except OSError:
            beside = second.with_name(f".{second.stem}.{os.getpid()}.ckpt")
            shutil.copyfile(path, beside)
            os.replace(beside, second)
