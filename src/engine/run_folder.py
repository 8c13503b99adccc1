"""The folder of a run: configuration, environment, log, metrics, curves, checkpoints."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from src.errors import UserError, writing_error
from src.file_lock import file_lock
from src.json_file import write_json
from src.whole_file import write_whole


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

    def holds_a_run(self) -> bool:
        return any(path.exists() for path in (self.metrics, self.last, self.best))

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever `last.ckpt` does."""
        with suppress(OSError):
            status = self.last.stat()
            return status.st_ino, status.st_mtime_ns
        return None

    def earlier_checkpoints(self) -> list[Path]:
        """Those before the last one, newest first."""
        return sorted(self.checkpoints.glob("step_*.ckpt"), reverse=True)

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from training into the folder, see `file_lock`."""
        return file_lock(self.path / ".lock", f"another process is training into {self.path}")

    def start(self, config: str, environment: dict[str, Any], overwrite: bool) -> None:
        """Makes the folder for a fresh run and saves what decides it.

        Raises:
            UserError: the folder holds a run and `overwrite` is not set, or it cannot be written.
        """
        if self.holds_a_run() and not overwrite:
            raise UserError(
                f"{self.path} already holds a run: give --resume to continue it, --overwrite to delete it and start "
                "anew, or another --output"
            )
        with self.writing():
            for path in (self.log_file, self.metrics, self.curves):
                path.unlink(missing_ok=True)
            for path in (self.checkpoints, self.export, self.profile, self.tensorboard):
                shutil.rmtree(path, ignore_errors=True)
            self._describe(config, environment)

    def go_on(self, step: int, config: str, environment: dict[str, Any]) -> None:
        """Prepares the folder for a run that continues after `step`: what is later, and unfinished files, go.

        Raises:
            UserError: it cannot be written.
        """
        with self.writing():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            unfinished = [*self.checkpoints.glob(".*.ckpt"), *self.checkpoints.glob(".*.tmp")]
            later = [path for path in self.earlier_checkpoints() if path > self.checkpoint_of(step)]
            for path in [*unfinished, *later, *self.path.glob(".metrics.*")]:
                path.unlink()
            kept = [entry for entry in self.read_metrics() if entry["step"] <= step]
            write_whole(self.metrics, "".join(json.dumps(entry) + "\n" for entry in kept))
            self._describe(config, environment)

    def _describe(self, config: str, environment: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.config, config)
        write_json(self.environment, environment)

    def checkpoint_of(self, step: int) -> Path:
        """Where a checkpoint that is no longer the last one is kept."""
        return self.checkpoints / f"step_{step:09d}.ckpt"

    def log(self, line: str) -> None:
        """Appends a line with the time to train.log.

        Raises:
            UserError: it cannot be written.
        """
        with self.writing(), self.log_file.open("a") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")

    def record(self, entry: dict[str, Any]) -> None:
        """Appends a JSON line to metrics.jsonl, and waits until it is on the disk.

        Raises:
            UserError: it cannot be written.
        """
        with self.writing(), self.metrics.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """For what is written into the folder.

        Raises:
            UserError: it cannot be written.
        """
        try:
            yield
        except OSError as error:
            message = f"cannot write the run's folder {self.path}: {error}; is it writable and the disk not full?"
            raise writing_error(message, error) from error

    def read_metrics(self) -> list[dict[str, Any]]:
        """Everything recorded so far; a last line that was cut off, by a full disk or a power failure, is left out."""
        entries = []
        for line in self.metrics.read_text().splitlines() if self.metrics.exists() else []:
            with suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return entries
