"""The folder of a run: configuration, environment, log, metrics, curves, checkpoints."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError, writing_error
from ..files.file_lock import file_lock, stamp
from ..files.json_file import from_json, to_json_line, write_json
from ..files.whole_file import write_whole


class RunFolder:
    """`<output>/<name>` and what lies in it.

    Args:
        output: folder of all runs.
        name: of this run, the stem of its configuration file.
    """

    def __init__(self, output: str | Path, name: str):
        self.path = Path(output) / name
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.log_file = self.path / "train.log"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.profile = self.path / "profile"
        self.export = self.path / "export"
        self.tensorboard = self.path / "tensorboard"
        self.compiler_cache = self.path / "compiler_cache"
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self._lock_file = self.path / ".lock"
        self._lock: os.stat_result | None = None

    def holds_a_run(self) -> bool:
        return any(path.exists() for path in (self.metrics, self.last, self.best))

    def contents(self) -> list[str]:
        """What a user looks at, as far as it is there, by its path in the folder."""
        paths = (self.best, self.last, self.log_file, self.metrics, self.curves)
        return [str(path.relative_to(self.path)) for path in paths if path.exists()]

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever `last.ckpt` does."""
        return stamp(self.last)

    def choose_checkpoint(self, given: str | None) -> Path:
        """`given`, or the run's best one when None.

        Raises:
            UserError: the run has none; says how to get one.
        """
        if given is None and not self.best.exists():
            raise UserError(
                f"{self.best} does not exist: train it with 'bash scripts/run_demo.sh' (the demo) or "
                "'python train.py --config FILE', or give --checkpoint FILE"
            )
        return self.best if given is None else Path(given)

    def earlier_checkpoints(self) -> list[Path]:
        """Those before the last one, newest first."""
        return sorted(self.checkpoints.glob("step_*.ckpt"), reverse=True)

    def earlier_bests(self) -> list[Path]:
        """Best checkpoints that were replaced, newest first."""
        return sorted(self.checkpoints.glob("best_step_*.ckpt"), reverse=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training into the folder, see `file_lock`."""
        with file_lock(self._lock_file, f"another process is training into {self.path}"):
            self._lock = os.stat(self._lock_file)
            try:
                yield
            finally:
                self._lock = None

    def check_there(self) -> None:
        """Raises UserError where the folder that is locked was deleted or moved since, or made anew by another run."""
        if self._lock is None:
            return
        try:
            is_there = os.path.samestat(os.stat(self._lock_file), self._lock)
        except OSError:
            is_there = False
        if not is_there:
            raise UserError(
                f"the run's folder {self.path} was deleted, moved or replaced while the run trained into it: the run "
                "ends here, and nothing more is written; put it back and --resume, or start anew"
            )

    def check_free(self, overwrite: bool) -> None:
        """Refuses a folder that holds a run where nobody said that it may be deleted, with a UserError."""
        if self.holds_a_run() and not overwrite:
            raise UserError(
                f"{self.path} already holds a run: give --resume to continue it, --overwrite to delete it and start "
                "anew, or another --output"
            )

    def start(self, config: str, environment: dict[str, Any], overwrite: bool) -> None:
        """Makes the folder for a fresh run and saves what decides it.

        Raises:
            UserError: the folder holds a run and `overwrite` is not set, or it cannot be written.
        """
        self.check_free(overwrite)
        with self.writing():
            for path in (self.log_file, self.metrics, self.curves):
                path.unlink(missing_ok=True)
            for path in (self.checkpoints, self.export, self.profile, self.tensorboard):
                shutil.rmtree(path, ignore_errors=True)
            self._describe(config, environment)

    def go_on(self, step: int, evaluated_step: int, config: str, environment: dict[str, Any]) -> None:
        """Prepares the folder for a run that continues after `step`: what is later, and unfinished files, go.

        Evaluations after `evaluated_step` go too; they will be made again.

        Raises:
            UserError: it cannot be written.
        """
        with self.writing():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            unfinished = list(self.checkpoints.glob(".*"))
            later = [path for path in self.earlier_checkpoints() if path > self.checkpoint_of(step)]
            for path in [*unfinished, *later, *self.path.glob(".metrics.*")]:
                path.unlink()
            last = {"train": step, "eval": evaluated_step}
            kept = [entry for entry in self.read_metrics() if entry["step"] <= last.get(entry["kind"], step)]
            write_whole(self.metrics, "".join(map(to_json_line, kept)))
            self._describe(config, environment)

    def _describe(self, config: str, environment: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.config, config)
        write_json(self.environment, environment)

    def checkpoint_of(self, step: int) -> Path:
        """Where a checkpoint that is no longer the last one is kept."""
        return self.checkpoints / f"step_{step:09d}.ckpt"

    def best_of(self, step: int) -> Path:
        """Where a checkpoint that is no longer the best one is kept."""
        return self.checkpoints / f"best_step_{step:09d}.ckpt"

    def log(self, line: str) -> None:
        """Appends a line with the time to train.log.

        Raises:
            UserError: it cannot be written.
        """
        with self.writing(), self.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")

    def record(self, entry: dict[str, Any]) -> None:
        """Appends a JSON line to metrics.jsonl, and waits until it is on the disk.

        Raises:
            UserError: it cannot be written.
        """
        with self.writing(), self.metrics.open("a", encoding="utf-8") as file:
            file.write(to_json_line(entry))
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Guards what is written into the folder.

        Raises:
            UserError: it cannot be written, or is no longer there.
        """
        self.check_there()
        try:
            yield
        except OSError as error:
            message = f"cannot write the run's folder {self.path}: {error}; is it writable and the disk not full?"
            raise writing_error(message, error) from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """Everything recorded so far; what is not JSON (a last line cut off by a full disk, NaN) is left out."""
        entries = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.exists() else []:
            with suppress(ValueError):
                entries.append(from_json(line))
        return entries


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint that is kept."""
    return int(path.stem.rpartition("_")[2])
