"""Which checkpoints of a run are there: the last few, the best, and the one to go on from."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mindspore import Parameter

from src.checkpoint import Checkpoint, DamagedCheckpointError, read_checkpoint, save_checkpoint
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.model_card import ModelCard


class CheckpointKeeper:
    """Saves `last.ckpt` and `best.ckpt` of a run; earlier last ones stay as `step_<N>.ckpt`.

    A file never has its final name before it is complete and on the disk, and the last checkpoint gets its second name
    before it is replaced, so that at any moment one that can be resumed from is there.

    Args:
        folder: of the run.
        card: describes the network.
        keep: how many of the latest checkpoints are kept, `last.ckpt` among them.
        last_step: step of the `last.ckpt` that is there; None where there is none, or it could not be read.
    """

    def __init__(self, folder: RunFolder, card: ModelCard, keep: int, last_step: int | None = None):
        self.folder, self.card, self.keep, self.last_step = folder, card, keep, last_step

    def save_last(self, weights: Iterable[Parameter], state: Iterable[Parameter], progress: dict[str, Any]) -> None:
        """Writes `last.ckpt`; the one that is there becomes `step_<N>.ckpt`, unless it is known to be damaged.

        Raises:
            UserError: it cannot be written; what was there is intact.
        """
        if self.keep > 1 and self.last_step not in (None, progress["step"]):
            _give_second_name(self.folder.last, self.folder.checkpoint_of(self.last_step))
        save_checkpoint(self.folder.last, weights, self.card, state, progress)
        self.last_step = progress["step"]
        for path in list(self.folder.earlier_checkpoints())[max(self.keep - 1, 0) :]:
            with suppress(OSError):
                path.unlink()

    def save_best(self, weights: Iterable[Parameter], progress: dict[str, Any]) -> None:
        """Writes `best.ckpt`, which holds weights only.

        Raises:
            UserError: it cannot be written; what was there is intact.
        """
        save_checkpoint(self.folder.best, weights, self.card, (), progress)


def find_resumable(folder: RunFolder) -> tuple[Checkpoint, list[str]] | None:
    """The newest checkpoint of the run that can be read, and a line about each damaged one; None where there is none.

    Raises:
        UserError: there are checkpoints, and every one is damaged; or one cannot be read now.
    """
    complaints = []
    for path in _newest_first(folder):
        try:
            checkpoint = read_checkpoint(path)
            if checkpoint.has_checksum:
                return checkpoint, complaints
            complaints.append(f"{path} has lost its end; taking the one before it")
        except DamagedCheckpointError as error:
            complaints.append(f"{error}; taking the one before it")
    if complaints:
        raise UserError(
            f"every checkpoint in {folder.checkpoints} is damaged; start anew with --overwrite, "
            "or give --resume a copy from elsewhere"
        )
    return None


def _newest_first(folder: RunFolder) -> Iterator[Path]:
    if folder.last.exists():
        yield folder.last
    yield from folder.earlier_checkpoints()


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
