"""The training loop: start or resume, steps, log, evaluation, checkpoints."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.checkpoint import Checkpoint, load_state, load_weights, read_checkpoint
from src.config import Config, changed_keys, dump_config
from src.engine.build import (
    create_card,
    create_compiler_cache,
    create_eval_loader,
    create_schedule,
    create_train_loader,
    create_train_step,
    create_training_network,
    describe_ignored,
    evaluation_input,
    open_split,
)
from src.engine.checkpoint_keeper import CheckpointKeeper, find_resumable
from src.engine.device import current_device
from src.engine.distribution import Exchange, start_distribution
from src.engine.environment import describe_environment
from src.engine.evaluation import Scores, evaluate
from src.engine.progress import Progress, tell_line
from src.engine.run_folder import RunFolder
from src.engine.run_log import RunLog
from src.engine.sharded_state import drop_other_moments, gather_moments
from src.engine.skipped_images import SkippedImages
from src.engine.stop_request import Stopped, StopRequest
from src.engine.train_step import TrainStep
from src.engine.trained_network import set_up_device_for
from src.errors import TemporaryError, UserError
from src.fine_tuning import freeze, load_initial_weights

PROFILED_STEPS = 5

BATCHES_TO_STOP = 10
"""Of evaluation, after which several ranks ask each other whether to stop."""

FREE_KEYS = (
    "device", "output", "limit_batches", "init_from", "data.root", "data.workers", "data.on_bad_image",
    "optimizer.shard_state", "train.log_every", "train.eval_every", "train.save_every", "train.keep_checkpoints",
    "train.tensorboard", "train.recompute", "compiler_cache",
)  # fmt: skip
"""What may differ when a run is resumed, because the weights depend on it by rounding at most."""


class Training:
    """One run. `run()` does it all; the parts are methods so that each can be read alone.

    Args:
        config: everything that decides the run.
        folder: where it is recorded.
        resume: 'never'; 'auto' to continue from the folder's last checkpoint where there is one; or a path.
        overwrite: delete a run that the folder already holds.
        allow_changes: resume also with a configuration that differs.
        profile: record a profile of a few steps.

    Raises:
        UserError: wrong configuration, data, checkpoint or folder.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        resume: str = "never",
        overwrite: bool = False,
        allow_changes: bool = False,
        profile: bool = False,
    ):
        self.config, self.folder, self.profile = config, folder, profile
        self.stamp = folder.stamp()
        checkpoint, lines = self._checkpoint_to_resume(resume)
        if config.init_from is not None and not Path(config.init_from).exists():
            raise UserError(f"init_from: checkpoint {config.init_from} does not exist")
        if checkpoint is not None:
            self._check_changes(checkpoint, allow_changes)
        train_set = open_split(config, "train")
        self.card = create_card(config, train_set.classes)
        lines += set_up_device_for(self.card, config)
        self.ranks = start_distribution(current_device())
        self.exchange = Exchange(self.ranks)
        if self.ranks.count > 1:
            lines.append(f"{self.ranks.count} devices")
        val_set = open_split(config, "val")
        lines += [line for data in (train_set, val_set) if (line := describe_ignored(data))]
        self.train_loader = create_train_loader(config, self.card, train_set, self.ranks)
        self.eval_loader = create_eval_loader(config, self.card, val_set, self.ranks)
        self.steps_per_epoch = min(len(self.train_loader), config.limit_batches or len(self.train_loader))
        self.epochs = config.schedule.epochs + config.schedule.cooldown_epochs
        self.total_steps = self.epochs * self.steps_per_epoch
        self.images_per_step = config.train.batch_size * config.train.accumulate * self.ranks.count

        self.net = create_training_network(config, self.card)
        if checkpoint is None and config.init_from is not None:
            lines.append(f"starting from {config.init_from}")
            lines += load_initial_weights(self.net, read_checkpoint(config.init_from))
        lines += freeze(self.net, config.freeze)
        self.step_cell = self._create_step()
        self.cache = create_compiler_cache(
            config, folder, "training_step", self.ranks, steps_per_epoch=self.steps_per_epoch
        )
        self.step = self.saved_step = self.evaluated_step = 0
        self.best_top1 = -1.0 if checkpoint is None else checkpoint.progress.get("best_top1", -1.0)
        self.resumed_from = None if checkpoint is None else checkpoint.path
        self.overwrite = overwrite or resume == "auto"  # which found no checkpoint if it comes to that
        if checkpoint is not None:
            self._load(checkpoint)
            lines.append(f"resuming from {checkpoint.path} after step {self.step}")
            if self.step >= self.total_steps and not self._evaluation_is_due():
                lines.append(
                    f"it has finished {self.step // self.steps_per_epoch} of {self.epochs} epochs, nothing is left to "
                    "do; raise schedule.epochs and give --allow_changes to train longer"
                )
        last_step = self.step if self.resumed_from == folder.last else None
        self.keeper = CheckpointKeeper(folder, self.card, config.train.keep_checkpoints, last_step)
        self.lines = lines

    def run(self) -> Scores | None:
        """Trains to the end and returns the scores of the last evaluation; None where nothing was left to do.

        Raises:
            UserError: the folder is in use or holds a run; the loss is not finite, an image is broken, or the folder
                cannot be written.
            Stopped: SIGTERM or Ctrl-C came, and the run was saved.
        """
        with self.folder.locked() if self.ranks.is_first else nullcontext():
            if self.ranks.is_first and self.folder.stamp() != self.stamp:
                raise TemporaryError(
                    f"another process was still training into {self.folder.path} when this one started; start again"
                )
            if self.ranks.is_first:
                description = dump_config(self.config), describe_environment(current_device())
                if self.resumed_from is None:
                    self.folder.start(*description, self.overwrite)
                else:
                    self.folder.go_on(self.step, *description)
            found = self.exchange.gather([self.step, self.evaluated_step, self.best_top1])
            if np.ptp(found[:, 0]):
                raise UserError(
                    "the processes of this run found different checkpoints; is the output folder on a storage that all "
                    "of them see?"
                )
            self.evaluated_step, self.best_top1 = int(found[0, 1]), float(found[0, 2])
            self.exchange.agree([*self.net.get_parameters(), *self._state(with_moments=not self.is_sharded)])
            self.log = RunLog(
                self.folder,
                self.total_steps,
                self.steps_per_epoch,
                self.images_per_step,
                self.config.train.tensorboard,
                self.ranks.is_first,
            )
            self.skipped = SkippedImages(
                self.train_loader,
                self.eval_loader,
                exchange=self.exchange,
                tell=self.log.tell if self.ranks.is_first else tell_line,
            )
            for line in self.lines:
                self.log.tell(line)
            self.log.tell(
                f"{self.card.model}, {len(self.card.classes)} classes, "
                f"{sum(p.size for p in self.net.trainable_params()):,} trainable parameters; {self.epochs} epochs of "
                f"{self.steps_per_epoch} steps of {self.images_per_step} images, learning rate {self.schedule.lr:.3g}"
            )
            return self._run()

    def _run(self) -> Scores | None:
        images, scores = self.images_per_step, None
        with (
            StopRequest() as stop,
            Progress("train", self.total_steps * images, self.step * images, self.ranks.is_first) as progress,
        ):
            if self.step and self._evaluation_is_due():
                scores = self._evaluate(stop)
            while self.step < self.total_steps:
                for _ in self._steps_of_epoch(progress, stop):
                    if self.config.train.save_every is not None and self.step % self.config.train.save_every == 0:
                        self._save_last()
                self._save_last()
                self.skipped.name()
                if self._evaluation_is_due():
                    scores = self._evaluate(stop)
        if count := self.skipped.count():
            self.log.tell(f"{count} images could not be read and were skipped; each rank's log names those it met")
        self.log.tell(f"best top-1 {self.best_top1:.2f} %, checkpoint {self.folder.best}")
        return scores

    def _create_step(self) -> TrainStep:
        config = self.config
        self.schedule = create_schedule(config, self.steps_per_epoch, self.images_per_step)
        self.is_sharded = config.optimizer.shard_state and self.ranks.count > 1
        step = create_train_step(config, self.net, self.schedule, self.ranks)
        self.optimizer, self.ema, self.loss_scale = step.optimizer, step.ema, step.loss_scale
        return step

    def _steps_of_epoch(self, progress: Progress, stop: StopRequest) -> Iterator[None]:
        """Trains to the end of the epoch; yields after each step.

        Raises:
            Stopped: one of the processes was asked to end, and the run has been saved.
        """
        epoch, first = divmod(self.step, self.steps_per_epoch)
        accumulate, log_every = self.config.train.accumulate, self.config.train.log_every
        self.step_cell.set_train()
        profiler, done = None, 0
        with closing(self.train_loader.epoch(epoch, first)) as batches:
            for _ in range(first, self.steps_per_epoch):
                if self.profile and done == 1:  # the first step compiles
                    profiler = ms.Profiler(output_path=str(self.folder.profile))
                losses, waited = [], 0.0
                for _ in range(accumulate):
                    since = time.perf_counter()
                    images, targets = next(batches)
                    waited += time.perf_counter() - since
                    batch = ms.Tensor.from_numpy(images), ms.Tensor.from_numpy(targets)  # not copied: used up below
                    if self._compile("training_step", self.step_cell, *batch):
                        waited = 0.0  # the clock starts anew
                    losses.append(float(self.step_cell(*batch).asnumpy()))
                self.step, done = self.step + 1, done + 1
                told = self.exchange.gather([sum(losses) / accumulate, stop.signal or 0])
                loss = float(told[:, 0].mean())
                self._check_finite(loss)
                self.log.add_step(loss, waited)
                progress.advance(self.images_per_step, f"epoch {epoch + 1}/{self.epochs}, loss {loss:.3f}")
                is_last = self.step % self.steps_per_epoch == 0
                if profiler is not None and (done == 1 + PROFILED_STEPS or is_last):
                    profiler.analyse()
                    profiler, self.profile = None, False
                    self.log.tell(f"profile of {done - 1} steps in {self.folder.profile}")
                if self.step % log_every == 0 or is_last:
                    skipped = None if self.loss_scale is None else int(self.loss_scale.skipped.asnumpy())
                    self.log.steps(self.step, self.schedule.at(self.step - 1), skipped, progress.on_terminal)
                asked = stop.signal if self.ranks.count == 1 else int(told[:, 1].max())
                if asked:
                    self._stop(signal.Signals(asked))
                yield

    def _compile(self, name: str, cell: nn.Cell, *inputs: ms.Tensor) -> bool:
        """Whether that was still to be done."""
        line = self.cache.compile(name, cell, *inputs)
        if line is not None:
            self.log.tell(line)
            self.log.restart_clock()
        return line is not None

    def _check_finite(self, loss: float) -> None:
        where = f"at step {self.step} (epoch {(self.step - 1) // self.steps_per_epoch + 1})"
        advice = "lower optimizer.lr, lengthen schedule.warmup_epochs or set optimizer.clip_norm."
        if self.folder.last.exists():
            advice += f" The last checkpoint before it is {self.folder.last}"
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss} {where}; {advice}")
        if self.loss_scale is not None and self.loss_scale.is_exhausted():
            raise UserError(f"the gradients are not finite {where}, even with the lowest loss scale; {advice}")

    def _evaluation_is_due(self) -> bool:
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        if rest or (epoch % self.config.train.eval_every and epoch != self.epochs):
            return False
        return self.step != self.evaluated_step

    def _evaluate(self, stop: StopRequest) -> Scores:
        """Evaluates the weights and their moving average; keeps the better ones if they are the best so far."""
        self._agree_on_statistics()
        self._compile("evaluation", self.net.set_train(False), evaluation_input(self.config, self.card))
        since, scores = time.perf_counter(), {}
        for name in ("raw",) if self.ema is None else ("raw", "ema"):
            with self.ema.applied() if name == "ema" else nullcontext():
                scores[name] = self._evaluate_once(f"evaluate {name}" if self.ema else "evaluate", stop)
                if scores[name].top1 > self.best_top1:
                    self.best_top1 = scores[name].top1
                    if self.ranks.is_first:
                        self.keeper.save_best(self.net.get_parameters(), {**self._progress(), "weights": name})
        seconds = time.perf_counter() - since
        self.log.evaluation(self.step, scores["raw"], scores.get("ema"), seconds)
        self.log.restart_clock()
        self.evaluated_step = self.step
        return scores["raw"]

    def _evaluate_once(self, title: str, stop: StopRequest) -> Scores:
        def batches():
            for number, batch in enumerate(self.eval_loader, start=1):
                asked = stop.signal or 0
                if self.ranks.count > 1:  # they stop together
                    asked = 0 if number % BATCHES_TO_STOP else int(self.exchange.gather([asked]).max())
                if asked:
                    self._stop(signal.Signals(asked))
                yield batch

        limit = self.config.limit_batches
        total = min(len(self.eval_loader), limit or len(self.eval_loader)) * self.config.train.batch_size
        with Progress(title, total, shown=self.ranks.is_first) as progress:
            return evaluate(self.net, batches(), progress, limit, self.exchange.gather)

    def _agree_on_statistics(self) -> None:
        """Batch norms that are not synchronised saw different images on each rank; those of rank 0 count."""
        state = [*self.net.get_parameters(), *(self.ema.averages if self.ema else ())]
        if statistics := [p for p in state if p.name.endswith(("moving_mean", "moving_variance"))]:
            self.exchange.agree(statistics)

    def _stop(self, number: signal.Signals) -> None:
        self._save_last()
        self.skipped.name()
        self.log.tell(
            f"stopped by {number.name} after step {self.step}; {self.folder.last} holds it: go on with --resume"
        )
        raise Stopped(number)

    def _progress(self) -> dict:
        return {"step": self.step, "epoch": self.step / self.steps_per_epoch, "best_top1": self.best_top1}

    def _save_last(self) -> None:
        if self.saved_step == self.step:
            return
        progress = {**self._progress(), "steps_per_epoch": self.steps_per_epoch, "config": asdict(self.config)}
        state = self._state(with_moments=not self.is_sharded)
        if self.is_sharded:
            state += gather_moments(self.optimizer, self.exchange)
        if self.ranks.is_first:
            self.keeper.save_last(self.net.get_parameters(), state, progress)
        self.saved_step = self.step

    def _state(self, with_moments: bool = True) -> list[ms.Parameter]:
        """What training needs besides the weights. Sums of gradients are empty after a step."""
        left_out = {p.name for p in self.net.get_parameters()}
        if not with_moments:
            left_out |= {p.name for p in (*self.optimizer.moment1, *self.optimizer.moment2)}
        return [p for p in self.step_cell.get_parameters() if p.name not in left_out and "accumulated" not in p.name]

    def _checkpoint_to_resume(self, resume: str) -> tuple[Checkpoint | None, list[str]]:
        if resume == "never":
            return None, []
        if resume == "auto":
            return find_resumable(self.folder) or (None, [])
        if not Path(resume).exists():
            raise UserError(f"--resume: checkpoint {resume} does not exist")
        return read_checkpoint(resume), []

    def _check_changes(self, checkpoint: Checkpoint, allow_changes: bool) -> None:
        before = checkpoint.progress.get("config")  # best.ckpt has none, and is refused for what else it lacks
        changes = [] if before is None else changed_keys(before, self.config)
        changes = [change for change in changes if change.partition(":")[0] not in FREE_KEYS]
        if changes and not allow_changes:
            raise UserError(
                f"the configuration differs from that of {checkpoint.path} ({'; '.join(changes)}): change it back, "
                "or give --allow_changes to go on with the new one"
            )

    def _load(self, checkpoint: Checkpoint) -> None:
        load_weights(self.net, checkpoint)
        if self.is_sharded:
            drop_other_moments(checkpoint, self.optimizer)
        load_state(self._state(), checkpoint)
        self.step = self.saved_step = checkpoint.progress["step"]
        for entry in self.folder.read_metrics():
            if entry["kind"] == "eval" and entry["step"] <= self.step:
                self.evaluated_step = entry["step"]
                self.best_top1 = max(self.best_top1, entry["top1"], entry.get("ema_top1", -1.0))
        if checkpoint.progress["steps_per_epoch"] != self.steps_per_epoch:
            raise UserError(
                f"{checkpoint.path} is of a run with {checkpoint.progress['steps_per_epoch']} steps an epoch, this one "
                f"has {self.steps_per_epoch}: the data, the number of devices or limit_batches changed"
            )
