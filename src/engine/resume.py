"""What a run goes on from: whether there is a checkpoint, which one, and what may have changed since."""

from collections.abc import Iterator
from pathlib import Path

from ..config import Config, changed_keys
from ..errors import UserError
from ..weights.checkpoint import Checkpoint, DamagedCheckpointError, read_checkpoint
from .event_files import check_event_files
from .run_folder import RunFolder

FREE_KEYS = (
    "device", "output", "limit_batches", "init_from", "init_head",
    "data.root", "data.train_list", "data.val_list", "data.classes", "data.workers", "data.prefetch_to_device",
    "data.on_bad_image", "optimizer.shard_state", "train.log_every", "train.eval_every", "train.patience",
    "train.save_every", "train.keep_checkpoints", "train.tensorboard", "train.recompute", "compiler_cache",
)  # fmt: skip
"""What may differ when a run is resumed, because the weights depend on it by rounding at most."""


def choose_start(
    config: Config, folder: RunFolder, resume: str, allow_changes: bool, overwrite: bool = False
) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint to go on from, None for a fresh run, and what a user should know about the choice.

    Args:
        config: of the run.
        folder: of the run.
        resume: 'never'; 'auto' for the folder's last checkpoint where there is one; or a path.
        allow_changes: go on also with a configuration that differs.
        overwrite: a fresh run may delete the one that the folder holds.

    Raises:
        UserError: the checkpoint is not there or cannot be read, another configuration wrote it, `init_from` is not
            there, the folder holds a run that may not be deleted, or event files are wanted and cannot be written.
    """
    if resume == "never":
        folder.check_free(overwrite)
    if config.train.tensorboard:
        check_event_files()
    checkpoint, lines = _checkpoint_to_resume(folder, resume)
    if config.init_from is not None and not Path(config.init_from).exists():
        raise UserError(f"init_from: checkpoint {config.init_from} does not exist")
    if checkpoint is not None:
        lines += _changes_since(checkpoint, config, allow_changes)
    return checkpoint, lines


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


def _checkpoint_to_resume(folder: RunFolder, resume: str) -> tuple[Checkpoint | None, list[str]]:
    if resume == "never":
        return None, []
    if resume == "auto":
        anew = f"--resume: there is no checkpoint in {folder.checkpoints} to go on from, training starts anew"
        return find_resumable(folder) or (None, [anew])
    if not Path(resume).exists():
        raise UserError(f"--resume: checkpoint {resume} does not exist")
    return read_checkpoint(resume), []


def _changes_since(checkpoint: Checkpoint, config: Config, allow_changes: bool) -> list[str]:
    """What is allowed to differ, as a line for the log; raises UserError where it is not allowed."""
    before = checkpoint.progress.get("config")  # best.ckpt has none, and is refused for what else it lacks
    changes = [] if before is None else changed_keys(before, config)
    changes = [change for change in changes if change.partition(":")[0] not in FREE_KEYS]
    if changes and not allow_changes:
        raise UserError(
            f"the configuration differs from that of {checkpoint.path} ({'; '.join(changes)}): change it back, "
            "or give --allow_changes to go on with the new one"
        )
    return [f"changed: {'; '.join(changes)}"] if changes else []
