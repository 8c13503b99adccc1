"""Kills training again and again: python benchmarks/fault_injection.py --kills 30

A small run is first trained without interruption. Then it is trained anew, and its process ends by `kill -9` at random
moments: while it starts, trains, evaluates or saves. After every kill each checkpoint under its final name must be
readable; then `train.py --resume` continues until the next kill, or to the end. At the end weights, optimizer, moving
averages, the best checkpoint, and every loss and score recorded must equal those of the uninterrupted run to the bit. A
run takes as many kills as come before its end; then the next begins, until all kills are done.

With --ranks N the run has N processes, started by scripts/run_distribute_train.sh. A kill then hits one of them, and
the script must end by itself with an error, or it hits all processes at once, as when a machine is lost.

The default configuration is a tiny network with the whole recipe: RandAugment, mixup and CutMix, random erasing,
repeated augmentation, stochastic depth, moving average, clipping, accumulation, float16 with a loss scale that
overflows. MindSpore compiles anew at each start, which takes most of the time. Linux only (/proc is read).

`kill -9` loses nothing that the kernel already has: what a power failure would lose is not tested here.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import numpy as np  # isort: skip

from src.config import load_config, run_name
from src.devices.versions import describe_environment
from src.engine.run_folder import RunFolder
from src.errors import UserError
from src.files.json_file import write_json
from src.files.output_file import check_output_file
from src.optim.ema import PREFIX as AVERAGE
from src.weights.checkpoint import Checkpoint, read_checkpoint

REPOSITORY = Path(__file__).resolve().parent.parent

CONFIG = """\
model:
  name: tnt_ti_patch16_224
  image_size: 16
  drop_path_rate: 0.1
  structure: {depth: 2, inner_dim: 4, inner_num_heads: 2, outer_dim: 16, outer_num_heads: 2}
data:
  source: digits
  rand_augment: rand-m9-mstd0.5-inc1
  erase_prob: 0.25
  mixup: 0.8
  cutmix: 1.0
  repeats: 3
  crop_pct: 1.0
  workers: 1
optimizer: {lr: 1e-3, clip_norm: 1.0}
schedule: {epochs: 3, warmup_epochs: 1, warmup_lr: 1e-4, cooldown_epochs: 1}
train:
  batch_size: 16
  accumulate: 2
  precision: float16
  loss_scale: 1e6
  loss_scale_growth: 30
  ema_decay: 0.99
  ema_warmup: true
  save_every: 7
"""
"""160 steps in 4 epochs."""

AIMS = {"start": 0.15, "training": 0.5, "save": 0.35}
"""Where kills are aimed at, and how often. What they hit is found out afterwards."""

SKIPPED_SAVES = 4
"""At most so many saves pass before the one that a kill is aimed at."""

SAVE_DELAY = 0.01
"""Seconds after the temporary file was seen, at most."""

ENDING_SECONDS = 10.0
"""How long processes may outlive the one that was started: data workers, ranks."""

RANK_SECONDS = 180.0
"""How long the launch script may take to notice that a rank is dead, and to end."""

POLL = 0.0002
"""Seconds between two looks."""

MARK = "FAULT_INJECTION_RUN"
"""Variable that all processes of a start have in their environment."""


class Failure(Exception):
    """The run lost something, or did not behave as it should."""


@dataclass(frozen=True)
class Kill:
    """One `kill -9`.

    Attributes:
        run: number of the run, from 1.
        aim: one of `AIMS`.
        victims: 'process', 'rank 0', ..., or 'all ranks'.
        seconds: since the process was started.
        phase: what was hit: 'start' (nothing trained since), 'training', 'evaluation' or 'save'.
        step: last one recorded, 0 before the first.
        saved_step: of last.ckpt, None where there is none yet.
        unfinished: names of temporary files that the kill left.
        checkpoints: how many under final names were read.
    """

    run: int
    aim: str
    victims: str
    seconds: float
    phase: str
    step: int
    saved_step: int | None
    unfinished: list[str]
    checkpoints: int

    def __str__(self) -> str:
        saved = "nothing saved" if self.saved_step is None else f"saved: step {self.saved_step}"
        left = f", left {', '.join(self.unfinished)}" if self.unfinished else ""
        return (
            f"run {self.run}: killed {self.victims} after {self.seconds:.2f} s, during {self.phase}, after step "
            f"{self.step} ({saved}); {self.checkpoints} checkpoints readable{left}"
        )


@dataclass(frozen=True)
class Pace:
    """Speed of the uninterrupted run.

    Attributes:
        start_seconds: until the first step was recorded.
        train_seconds: from there to the end.
    """

    start_seconds: float
    train_seconds: float


class Start:
    """One start of training, from a checkpoint where there is one.

    Args:
        config: configuration file.
        output: folder of the run's folder.
        ranks: number of processes that train.
        log: file that takes what they print.
    """

    def __init__(self, config: Path, output: Path, ranks: int, log: Path):
        self.folder, self.log, self._ranks = RunFolder(output, run_name(config)), log, ranks
        self._mark = uuid.uuid4().hex
        self._recorded = _file_size(self.folder.metrics)
        self._unfinished = unfinished_files(self.folder)
        script = REPOSITORY / "scripts" / "run_distribute_train.sh"
        command = [sys.executable, str(REPOSITORY / "train.py")]
        environment = {**os.environ, MARK: self._mark}
        if ranks > 1:
            command = ["bash", str(script), "--devices", str(ranks)]
            environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the script takes its Python
        options = ["--config", config, "--output", output, "--resume", "--train.log_every", "1"]
        with log.open("a") as file:
            self._process = subprocess.Popen(
                [*command, *map(str, options)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._since = time.perf_counter()

    def __enter__(self) -> "Start":
        return self

    def __exit__(self, *exception) -> None:
        self.kill(None)
        self._process.wait()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._since

    def ended(self) -> bool:
        return self._process.poll() is not None

    def trains(self) -> bool:
        """Whether a step was recorded since the start."""
        return _file_size(self.folder.metrics) > self._recorded

    def saves(self) -> bool:
        """Whether a checkpoint is being written."""
        return bool(self.unfinished())

    def unfinished(self) -> list[str]:
        """Names of the checkpoints that this start is writing, or was when a kill came."""
        return sorted(unfinished_files(self.folder) - self._unfinished)

    def kill(self, rank: int | None) -> None:
        """One rank, or everything that was started."""
        if self._ranks == 1:
            self._process.kill()
            return
        for pid in list(marked_processes(self._mark, rank)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        """The exit code.

        Raises:
            Failure: it takes longer, or processes outlive what was started.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {timeout:.0f} s{self._last_lines()}") from None
        deadline = time.monotonic() + ENDING_SECONDS
        while left := list(marked_processes(self._mark, None)):
            if time.monotonic() > deadline:
                raise Failure(f"processes outlive their start: {left}{self._last_lines()}")
            time.sleep(0.05)
        return code

    def check_finished(self, timeout: float) -> None:
        """Waits for a run that nobody kills.

        Raises:
            Failure: it does not end with 0.
        """
        if code := self.wait(timeout):
            raise Failure(f"training ended with {code}{self._last_lines()}")

    def _last_lines(self) -> str:
        return "; the end of what it printed:\n" + "\n".join(self.log.read_text().splitlines()[-15:])


def marked_processes(mark: str, rank: int | None) -> Iterator[int]:
    """Ids of the processes whose environment has MARK=`mark`; with `rank`, only the training process of that one."""
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            command = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:  # ended, or another user's
            continue
        if f"{MARK}={mark}".encode() not in environment:
            continue
        is_worker = b"MS_ROLE=MS_WORKER" in environment and any(part.endswith(b"train.py") for part in command)
        if rank is None or (is_worker and f"MS_NODE_ID={rank}".encode() in environment):
            yield int(path.name)


def unfinished_files(folder: RunFolder) -> set[str]:
    """Names of checkpoints that are being written, or were when a kill came."""
    with suppress(FileNotFoundError):
        return {name for name in os.listdir(folder.checkpoints) if name.startswith(".")}
    return set()


def read_all(folder: RunFolder) -> dict[str, Checkpoint]:
    """Every checkpoint under its final name, by that name.

    Raises:
        Failure: one cannot be read.
    """
    try:
        return {path.name: read_checkpoint(path) for path in sorted(folder.checkpoints.glob("[!.]*.ckpt"))}
    except UserError as error:
        raise Failure(f"a kill left an unreadable checkpoint: {error}") from error


def phase_of(start: Start, trained: bool, steps_per_epoch: int) -> str:
    """What a process was at when it was killed, from what it left; `trained`: it had recorded a step."""
    if start.unfinished():
        return "save"
    if not trained:
        return "start"
    last = start.folder.read_metrics()[-1]
    return "evaluation" if last["step"] % steps_per_epoch == 0 and last["kind"] != "eval" else "training"


def differences(folder: RunFolder, reference: RunFolder) -> list[str]:
    """What a finished run has otherwise than `reference`, one line for each kind; bits are compared."""
    found = []
    for path, expected_path in ((folder.last, reference.last), (folder.best, reference.best)):
        values, expected = _values(read_checkpoint(path)), _values(read_checkpoint(expected_path))
        for kind, arrays in expected.items():
            names = sorted(n for n in arrays.keys() | values[kind].keys() if arrays.get(n) != values[kind].get(n))
            if names:
                found.append(f"{path.name}: {len(names)} of {len(arrays)} {kind} differ, such as {names[0]}")
    record, expected = _record(folder), _record(reference)
    if record != expected:
        index = next((i for i, pair in enumerate(zip(record, expected, strict=False)) if pair[0] != pair[1]), None)
        first = "one of them ends early" if index is None else f"first {record[index]} instead of {expected[index]}"
        found.append(f"metrics.jsonl: {len(record)} entries, {len(expected)} expected; {first}")
    return found


def _values(checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """Bits of everything in a checkpoint, by kind and name."""
    kinds: dict[str, dict[str, Any]] = {"weights": {}, "averages": {}, "optimizer and loss scale": {}, "progress": {}}
    for name, value in checkpoint.weights.items():
        kinds["weights"][name] = _bits(value)
    for name, value in checkpoint.state.items():
        kinds["averages" if name.startswith(AVERAGE) else "optimizer and loss scale"][name] = _bits(value)
    kinds["progress"] = {key: value for key, value in checkpoint.progress.items() if key != "config"}
    return kinds


def _bits(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    array = np.asarray(value)
    return str(array.dtype), array.shape, array.tobytes()


def _record(folder: RunFolder) -> list[dict[str, Any]]:
    """Entries of metrics.jsonl without times."""
    return [
        {key: value for key, value in entry.items() if key not in ("images_per_second", "data_wait")}
        for entry in folder.read_metrics()
    ]


class FaultInjection:
    """The uninterrupted run, and the interrupted ones.

    Args:
        config: configuration file.
        work: folder for everything that is written.
        ranks: number of processes that train.
        seed: of the moments.
        timeout: seconds that a start may take.

    Attributes:
        kills: done so far.
        runs: for each finished run how many kills it survived.
    """

    def __init__(self, config: Path, work: Path, ranks: int, seed: int, timeout: float):
        self.config, self.work, self.ranks, self.timeout = config, work, ranks, timeout
        self.rng = np.random.default_rng(seed)
        self.reference = RunFolder(work / "reference", run_name(config))
        self.kills: list[Kill] = []
        self.runs: list[int] = []

    def train_reference(self) -> None:
        """Trains to the end and takes the time.

        Raises:
            Failure: it does not come to its end.
        """
        with self._start(self.work / "reference") as start:
            while not (start.trains() or start.ended()) and start.seconds < self.timeout:
                time.sleep(0.05)
            start_seconds = start.seconds
            start.check_finished(self.timeout)
            self.pace = Pace(start_seconds, start.seconds - start_seconds)
        progress = read_checkpoint(self.reference.last).progress
        self.steps, self.steps_per_epoch = progress["step"], progress["steps_per_epoch"]

    def inject(self, num_kills: int) -> Iterator[Kill]:
        """Trains and kills until all kills are done and the last run is finished; yields each kill.

        Raises:
            Failure: a checkpoint cannot be read, a start fails, or a finished run differs from the reference.
        """
        while len(self.kills) < num_kills:
            run, before = len(self.runs) + 1, len(self.kills)
            output = self.work / f"run_{run}"
            finished = False
            while not finished:
                kill = None
                with self._start(output) as start:
                    if len(self.kills) < num_kills:
                        kill = self._kill(start, run)
                    if kill is None:
                        start.check_finished(self.timeout)
                        finished = True
                if kill is not None:
                    self.kills.append(kill)
                    yield kill
            if found := differences(start.folder, self.reference):
                raise Failure(f"run {run} differs from the uninterrupted one: {'; '.join(found)}")
            self.runs.append(len(self.kills) - before)
            shutil.rmtree(output)

    def _start(self, output: Path) -> Start:
        return Start(self.config, output, self.ranks, self.work / f"{output.name}.log")

    def _kill(self, start: Start, run: int) -> Kill | None:
        """Kills at a random moment and looks at what is left; None where training ended before."""
        aim = str(self.rng.choice(list(AIMS), p=list(AIMS.values())))
        rank = None if self.ranks == 1 else (None, *range(self.ranks))[self.rng.integers(self.ranks + 1)]
        if not self._wait_for_moment(start, aim):
            return None
        seconds, trained = start.seconds, start.trains()
        start.kill(rank)
        if not start.wait(RANK_SECONDS):
            if rank is None or start.folder.read_metrics()[-1]["step"] == self.steps:
                return None  # it was just ending
            raise Failure(f"rank {rank} was killed, but the script ended with 0")
        checkpoints = read_all(start.folder)
        metrics = start.folder.read_metrics()
        return Kill(
            run=run,
            aim=aim,
            victims="process" if self.ranks == 1 else "all ranks" if rank is None else f"rank {rank}",
            seconds=seconds,
            phase=phase_of(start, trained, self.steps_per_epoch),
            step=metrics[-1]["step"] if metrics else 0,
            saved_step=checkpoints["last.ckpt"].progress["step"] if "last.ckpt" in checkpoints else None,
            unfinished=start.unfinished(),
            checkpoints=len(checkpoints),
        )

    def _wait_for_moment(self, start: Start, aim: str) -> bool:
        """False where training ends before the moment comes."""
        if aim == "start":
            until = self.rng.uniform(0, self.pace.start_seconds)
            return _wait(lambda: start.seconds >= until, start, self.timeout)
        if not _wait(start.trains, start, self.timeout):
            return False
        if aim == "training":
            until = start.seconds + self.rng.uniform(0, self.pace.train_seconds / 2)
            return _wait(lambda: start.seconds >= until, start, self.timeout)
        for _ in range(self.rng.integers(SKIPPED_SAVES) + 1):
            between = _wait(lambda: not start.saves(), start, self.timeout)
            if not (between and _wait(start.saves, start, self.timeout)):
                return False
        time.sleep(self.rng.uniform(0, SAVE_DELAY))
        return True


def _wait(condition, start: Start, timeout: float) -> bool:
    """Whether the condition came true; not where training ends before.

    Raises:
        Failure: neither happens in time.
    """
    while not condition():
        if start.ended():
            return False
        if start.seconds > timeout:
            raise Failure(f"nothing happened for {timeout:.0f} s")
        time.sleep(POLL)
    return True


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def summary(kills: Sequence[Kill], runs: Sequence[int]) -> list[str]:
    """A table of what was hit."""
    phases = ("start", "training", "evaluation", "save")
    victims = sorted({kill.victims for kill in kills})
    counts = Counter((kill.victims, kill.phase) for kill in kills)
    lines = [f"{'killed':12}" + "".join(f"{phase:>12}" for phase in (*phases, "sum"))]
    for victim in victims:
        row = [counts[victim, phase] for phase in phases]
        lines.append(f"{victim:12}" + "".join(f"{number:12}" for number in (*row, sum(row))))
    saved = sum(kill.saved_step is not None for kill in kills)
    lines.append(
        f"{len(kills)} kills in {len(runs)} runs, {saved} when there was a checkpoint to resume from; every checkpoint "
        "readable after each, every run equal to the uninterrupted one to the bit"
    )
    return lines


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fault_injection.py", description="Kills training at random moments and compares what comes out."
    )
    parser.add_argument("--config", metavar="FILE", help="a run of a few minutes; a tiny network if absent")
    parser.add_argument("--kills", type=_positive, default=30, help="how many in all (default 30)")
    parser.add_argument("--ranks", type=_positive, default=1, help="processes that train (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--timeout", type=_positive, default=900, help="seconds that a start may take (default 900)")
    parser.add_argument(
        "--work", metavar="DIR", help="a new folder for all that is written, which stays; a temporary one if absent"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _work_folder(given: str | None) -> Path:
    if given is None:
        return Path(tempfile.mkdtemp(prefix="fault_injection_"))
    try:
        Path(given).mkdir(parents=True)
    except OSError as error:
        raise UserError(f"--work: expected the name of a new folder, got {given}: {error.strerror}") from error
    return Path(given).resolve()


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    if options.json is not None:
        check_output_file(options.json)
    if options.config is not None:
        load_config(options.config)
    work = _work_folder(options.work)
    config = work / "tiny.yaml"
    if options.config is None:
        config.write_text(CONFIG)
    else:
        config = Path(options.config).resolve()
    injection = FaultInjection(config, work, options.ranks, options.seed, options.timeout)
    failure = None
    try:
        print(f"training without interruption in {work}", flush=True)
        injection.train_reference()
        pace = injection.pace
        print(f"{injection.steps} steps: {pace.start_seconds:.1f} s to the first, {pace.train_seconds:.1f} s more")
        for number, kill in enumerate(injection.inject(options.kills), start=1):
            print(f"{number:3}/{options.kills} {kill}", flush=True)
    except Failure as error:
        failure = str(error)
    if options.json is not None:
        content = {
            "seed": options.seed,
            "ranks": options.ranks,
            "failure": failure,
            "kills": [asdict(kill) for kill in injection.kills],
            "kills_of_runs": injection.runs,
            "config": config.read_text(),
            "environment": describe_environment("CPU"),
        }
        write_json(options.json, content)
    if failure is not None:
        print(f"FAILED after {len(injection.kills)} kills: {failure}\nwhat is left: {work}", file=sys.stderr)
        return 1
    print("", *summary(injection.kills, injection.runs), sep="\n")
    if options.work is None:
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    run_command(main)
