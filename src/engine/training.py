"""The training loop: start or resume, steps, log, evaluation, checkpoints."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import mindspore as ms
import numpy as np
from mindspore import nn

from ..config import Config, changed_keys, dump_config
from ..data.labels import count_of, named, unknown_labels
from ..data.relabeled import relabeled
from ..devices.device import current_device
from ..devices.environment import describe_environment
from ..devices.ranks import Exchange, start_distribution
from ..errors import TemporaryError, UserError
from ..models.same_network import network_differences
from ..terminal.progress import Progress, tell_line
from ..terminal.stop_request import Stopped, StopRequest
from ..weights.checkpoint import Checkpoint, load_state, load_weights, read_checkpoint
from ..weights.fine_tuning import freeze, load_initial_weights
from .agreement import check_same_start, check_same_weights
from .batch_memory import check_training_fits
from .build import (
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
from .checkpoint_keeper import CheckpointKeeper, find_resumable
from .evaluation import NotFiniteError, Scores, evaluate
from .run_folder import RunFolder
from .run_log import RunLog
from .sharded_state import drop_other_moments, gather_moments
from .skipped_images import SkippedImages
from .train_step import TrainStep
from .trained_network import set_up_device_for

PROFILED_STEPS = 5

BATCHES_TO_STOP = 10
"""Of evaluation, after which several ranks ask each other whether to stop."""

FREE_KEYS = (
    "device", "output", "limit_batches", "init_from", "init_head", "data.root", "data.workers", "data.on_bad_image",
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
            lines += self._check_changes(checkpoint, allow_changes)
        train_set, val_set = open_split(config, "train"), open_split(config, "val")
        ignored = [line for data in (train_set, val_set) if (line := describe_ignored(data))]
        self.card = create_card(config, train_set.classes)
        if checkpoint is not None:
            self._check_network(checkpoint)
            self.card = replace(self.card, classes=checkpoint.card.classes)
            train_set, more = relabeled(train_set, self.card.classes, checkpoint.path)
            lines += more
        lines += set_up_device_for(self.card, config)
        self.ranks = start_distribution(current_device())
        self.exchange = Exchange(self.ranks)
        if self.ranks.count > 1:
            lines.append(f"{self.ranks.count} devices")
        lines += ignored
        val_set, more = relabeled(
            val_set, self.card.classes, "the training set" if checkpoint is None else checkpoint.path
        )
        lines += more if checkpoint is None else []  # the same as of the training set
        check_same_start(self.exchange, config, {"training": train_set, "validation": val_set})
        self.train_loader = create_train_loader(config, self.card, train_set, self.ranks)
        self.eval_loader = create_eval_loader(config, self.card, val_set, self.ranks)
        self.steps_per_epoch = min(len(self.train_loader), config.limit_batches or len(self.train_loader))
        self.epochs = config.schedule.epochs + config.schedule.cooldown_epochs
        self.total_steps = self.epochs * self.steps_per_epoch
        self.images_per_step = config.train.batch_size * config.train.accumulate * self.ranks.count

        check_training_fits(self.card, config)
        self.net = create_training_network(config, self.card)
        if checkpoint is None and config.init_from is not None:
            lines.append(f"starting from {config.init_from}")
            lines += load_initial_weights(self.net, read_checkpoint(config.init_from), self.card, config.init_head)
        lines += freeze(self.net, config.freeze)
        self.step_cell = self._create_step()
        self.cache = create_compiler_cache(
            config, folder, "training_step", self.ranks, steps_per_epoch=self.steps_per_epoch
        )
        self.step = self.first_step = self.evaluated_step = 0
        self.best_top1 = -1.0
        self.losses: list[float] = []
        self.keeper = CheckpointKeeper(folder, self.card, config.train.keep_checkpoints, writes=self.ranks.is_first)
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
                    self.lines += self.keeper.return_to(self.step)
                    self.folder.go_on(self.step, self.evaluated_step, *description)
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
            self.log.losses = list(self.losses)
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
            if self.resumed_from is not None:
                self._save_last()  # where it lies elsewhere, this folder has nothing to go on from yet
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
        self.keeper.confirm()
        if count := self.skipped.count():
            self.log.tell(f"{count} images could not be read and were skipped; each rank's log names those it met")
        if self.best_top1 >= 0:
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
        if not math.isfinite(loss):
            self._diverged(f"the loss is {loss} {where}", self.step - 1)
        self.keeper.confirm()
        if self.loss_scale is not None and self.loss_scale.is_exhausted():
            self._diverged(f"the gradients are not finite {where}, even with the lowest loss scale")

    def _diverged(self, problem: str, found_at: int | None = None) -> NoReturn:
        """Ends the run.

        Args:
            problem: what is not finite.
            found_at: step after which the weights were what they are now.

        Raises:
            UserError: always; names the last checkpoint that is good.
        """
        self.keeper.withdraw()
        advice = "lower optimizer.lr, lengthen schedule.warmup_epochs or set optimizer.clip_norm."
        if self.resumed_from is not None and found_at == self.first_step:
            advice += f" The weights of {self.resumed_from} give it already: resume from an earlier checkpoint"
        elif self.keeper.last_step is not None:
            advice += f" The last checkpoint before it is {self.folder.last}, of step {self.keeper.last_step}"
        raise UserError(f"{problem}; {advice}")

    def _evaluation_is_due(self) -> bool:
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        if rest or (epoch % self.config.train.eval_every and epoch != self.epochs):
            return False
        return self.step != self.evaluated_step

    def _evaluate(self, stop: StopRequest) -> Scores:
        """Evaluates the weights and their moving average; keeps the better ones if they are the best so far.

        The step has been saved before, because a stop could not save it here: the network may have the averages as its
        weights.
        """
        self._agree_on_statistics()
        self._compile("evaluation", self.net.set_train(False), evaluation_input(self.config, self.card))
        since, scores = time.perf_counter(), {}
        for name in ("raw",) if self.ema is None else ("raw", "ema"):
            with self.ema.applied() if name == "ema" else nullcontext():
                try:
                    scores[name] = self._evaluate_once(f"evaluate {name}" if self.ema else "evaluate", stop)
                except NotFiniteError as error:
                    self._diverged(f"{error} (after step {self.step})", self.step)
                if scores[name].top1 > self.best_top1:
                    self.best_top1 = scores[name].top1
                    self.keeper.save_best(self.net.get_parameters(), {**self._progress(), "weights": name})
        seconds = time.perf_counter() - since
        self.log.evaluation(self.step, scores["raw"], scores.get("ema"), seconds)
        self.log.restart_clock()
        self.evaluated_step = self.step
        return scores["raw"]

    def _evaluate_once(self, title: str, stop: StopRequest) -> Scores:
        def stop_if_asked(number: int) -> None:
            asked = stop.signal or 0
            if self.ranks.count > 1:  # they stop together
                asked = 0 if number % BATCHES_TO_STOP else int(self.exchange.gather([asked]).max())
            if asked:
                self._stop(signal.Signals(asked))

        limit = self.config.limit_batches
        total = min(len(self.eval_loader), limit or len(self.eval_loader)) * self.config.train.batch_size
        with Progress(title, total, shown=self.ranks.is_first) as progress:
            return evaluate(self.net, self.eval_loader, progress, limit, self.exchange.gather, stop_if_asked)

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
        """Saves the step, unless it is there already.

        Raises:
            UserError: its weights or the optimizer's state are not finite, or it cannot be written.
        """
        if self.keeper.last_step == self.step:
            return
        self._check_state()
        progress = {
            **self._progress(),
            "steps_per_epoch": self.steps_per_epoch,
            "losses": self.log.losses,
            "config": asdict(self.config),
        }
        state = self._state(with_moments=not self.is_sharded)
        if self.is_sharded:
            state += gather_moments(self.optimizer, self.exchange)
        self.keeper.save_last(self.net.get_parameters(), state, progress)

    def _check_state(self) -> None:
        """Raises UserError, on every rank, unless all that would be saved is finite, and the weights are the same."""
        parameters = [*self.net.get_parameters(), *self._state()]
        names = [p.name for p in parameters if not np.isfinite(p.asnumpy()).all()]
        of_the_rank = () if self.config.model.batch_norm == "synchronized" else ("moving_mean", "moving_variance")
        check_same_weights(
            self.exchange, [p for p in self.net.get_parameters() if not p.name.endswith(of_the_rank)], self.step
        )
        if self.exchange.gather([len(names)]).any():
            which = (
                f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else (names or ["another rank's state"])[0]
            )
            self._diverged(f"after step {self.step} the weights or the optimizer's state are not finite ({which})")

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
            anew = f"--resume: there is no checkpoint in {self.folder.checkpoints} to go on from, training starts anew"
            return find_resumable(self.folder) or (None, [anew])
        if not Path(resume).exists():
            raise UserError(f"--resume: checkpoint {resume} does not exist")
        return read_checkpoint(resume), []

    def _check_changes(self, checkpoint: Checkpoint, allow_changes: bool) -> list[str]:
        """What is allowed to differ, as a line for the log; raises UserError where it is not allowed."""
        before = checkpoint.progress.get("config")  # best.ckpt has none, and is refused for what else it lacks
        changes = [] if before is None else changed_keys(before, self.config)
        changes = [change for change in changes if change.partition(":")[0] not in FREE_KEYS]
        if changes and not allow_changes:
            raise UserError(
                f"the configuration differs from that of {checkpoint.path} ({'; '.join(changes)}): change it back, "
                "or give --allow_changes to go on with the new one"
            )
        return [f"changed: {'; '.join(changes)}"] if changes else []

    def _check_network(self, checkpoint: Checkpoint) -> None:
        """Raises UserError unless the checkpoint is of this run's network and for labels of the same names."""
        there, here, path = checkpoint.card, self.card, checkpoint.path
        if there is None:
            raise UserError(
                f"{path} was not saved by a run of this project and cannot be resumed from; start from its weights "
                "with --init_from"
            )
        if differences := network_differences(there.model, there.arguments, here.model, here.arguments):
            raise UserError(
                f"{path} holds another network than the configuration describes ({'; '.join(differences)}): change "
                "it back, or train the other network in a run of its own"
            )
        new, gone = unknown_labels(there.classes, here.classes), unknown_labels(here.classes, there.classes)
        if new or gone:
            what = [
                f"{count_of(labels)} {how} ({named(labels)})"
                for labels, how in ((new, "new"), (gone, "gone"))
                if labels
            ]
            raise UserError(
                f"the data has other labels than {path} was trained for: {' and '.join(what)}; resume with the data of "
                "the run, or train a new run on this data that starts from it with --init_from"
            )

    def _load(self, checkpoint: Checkpoint) -> None:
        load_weights(self.net, checkpoint)
        if self.is_sharded:
            drop_other_moments(checkpoint, self.optimizer)
        load_state(self._state(), checkpoint)
        self.step = self.first_step = checkpoint.progress["step"]
        self.losses = checkpoint.progress.get("losses", [])
        evaluated = [e["step"] for e in self.folder.read_metrics() if e["kind"] == "eval" and e["step"] <= self.step]
        best = self.keeper.find_best(self.step)
        if best is not None:
            self.best_top1 = best.progress["best_top1"]
        else:  # whatever it was is lost: these weights may be the best that are left
            evaluated = [step for step in evaluated if step < self.step]
        self.evaluated_step = max(evaluated, default=0)
        if _is_same_file(checkpoint.path, self.folder.last):
            self.keeper.last_step = self.step
        if checkpoint.progress["steps_per_epoch"] != self.steps_per_epoch:
            raise UserError(
                f"{checkpoint.path} is of a run with {checkpoint.progress['steps_per_epoch']} steps an epoch, this one "
                f"has {self.steps_per_epoch}: the data, the number of devices or limit_batches changed"
            )


def _is_same_file(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)
