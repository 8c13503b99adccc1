"""The training loop of any task: start or go on, steps, log, checkpoints, evaluation."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import numpy as np
from mindspore import Tensor, nn

from ..config import Config, dump_config
from ..devices.device import current_device, set_up_device
from ..devices.ranks import Exchange, start_distribution
from ..devices.self_check import check_arithmetic
from ..devices.versions import describe_environment
from ..errors import TemporaryError, UserError, counted
from ..tasks import create_task
from ..tasks.scores import NotFiniteError, Scores
from ..tasks.task import Task
from ..terminal.progress import Progress, tell_line
from ..terminal.stop_request import Stopped, StopRequest
from ..weights.checkpoint import Checkpoint, read_checkpoint
from ..weights.fine_tuning import freeze
from .agreement import check_same_start
from .checkpoint_keeper import CheckpointKeeper
from .evaluation import evaluate
from .from_config import create_compiler_cache, create_schedule, create_train_step
from .prefetch import Prepared, batches_ahead, on_device
from .resume import choose_start
from .run_folder import RunFolder
from .run_log import RunLog
from .skipped_images import SkippedImages
from .step_profile import StepProfile
from .training_state import TrainingState

BATCHES_TO_STOP = 10
"""Of evaluation, after which several ranks ask each other whether to stop."""

LOSS_ADVICE = "lower optimizer.lr, lengthen schedule.warmup_epochs or set optimizer.clip_norm."


class Training:
    """One run. `run()` does it all; the parts are methods so that each can be read alone.

    Args:
        config: everything that decides the run.
        folder: where it is recorded.
        resume: 'never'; 'auto' to continue from the folder's last checkpoint where there is one; or a path.
        overwrite: delete a run that the folder already holds.
        allow_changes: resume also with a configuration that differs.
        profile: record a profile of a few steps.
        task: what is learned; that of the configuration when None.

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
        task: Task | None = None,
    ):
        self.config, self.folder, self.task = config, folder, task or create_task(config)
        self.stamp = folder.stamp()
        checkpoint, lines = choose_start(config, folder, resume, allow_changes, overwrite)
        about_data = self.task.open_for_training(checkpoint)
        lines += set_up_device(config.device, config.seed, self.task.uses_convolution)
        self.ranks = start_distribution(current_device())
        self.exchange = Exchange(self.ranks)
        if self.ranks.count > 1:
            lines.append(counted(self.ranks.count, "device"))
        lines += about_data
        check_same_start(self.exchange, config, self.task.facts())
        lines += check_arithmetic(config.train.precision)

        self.train_batches = self.task.create_train_batches(self.ranks)
        self.eval_batches = self.task.create_eval_batches(self.ranks)
        self.batches_ahead = batches_ahead(config.data.prefetch_to_device)
        self.steps_per_epoch = min(len(self.train_batches), config.limit_batches or len(self.train_batches))
        self.epochs = config.schedule.epochs + config.schedule.cooldown_epochs
        self.total_steps = self.epochs * self.steps_per_epoch
        self.images_per_step = config.train.batch_size * config.train.accumulate * self.ranks.count

        self.net = self.task.create_network(for_training=True)
        if checkpoint is None and config.init_from is not None:
            lines.append(f"starting from {config.init_from}")
            lines += self.task.load_initial_weights(self.net, read_checkpoint(config.init_from))
        lines += freeze(self.net, config.freeze)
        self.schedule = create_schedule(config, self.steps_per_epoch, self.images_per_step)
        losses = self.task.create_losses(self.net)
        self.step_cell = create_train_step(config, losses, self.net, self.schedule, self.ranks)
        self.state = TrainingState(
            self.net,
            self.step_cell,
            self.exchange,
            is_sharded=config.optimizer.shard_state and self.ranks.count > 1,
            is_synchronized=config.model.batch_norm == "synchronized",
        )
        self.predictions = self.task.create_predictions(self.net)
        self.cache = create_compiler_cache(
            config, folder, "training_step", self.ranks, steps_per_epoch=self.steps_per_epoch
        )
        self.keeper = CheckpointKeeper(
            folder, self.task.card, config.train.keep_checkpoints, writes=self.ranks.is_first
        )
        self.profile = StepProfile(folder.profile if profile else None)
        self.step = self.first_step = self.evaluated_step = 0
        self.best_score = self.best_tie = -math.inf
        self.best_step = 0
        self.losses: list[list[float]] = []
        self.resumed_from = None if checkpoint is None else checkpoint.path
        self.overwrite = overwrite or resume == "auto"  # which found no checkpoint if it comes to that
        if checkpoint is not None:
            self._load(checkpoint)
            lines.append(f"resuming from {checkpoint.path} after step {self.step}")
            if self.step >= self.total_steps and not self._evaluation_is_due():
                lines.append(
                    f"it has finished {self.step // self.steps_per_epoch} of {counted(self.epochs, 'epoch')}, "
                    "nothing is left to do; raise schedule.epochs and give --allow_changes to train longer"
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
            if self.ranks.is_first:
                self._open_folder()
            found = self.exchange.gather(
                [self.step, self.evaluated_step, self.best_step, self.best_score, self.best_tie]
            )
            if np.ptp(found[:, 0]):
                raise UserError(
                    "the processes of this run found different checkpoints; is the output folder on a storage that all "
                    "of them see?"
                )
            self.evaluated_step, self.best_step = map(int, found[0, 1:3])
            self.best_score, self.best_tie = map(float, found[0, 3:])
            self.state.agree()
            self._open_log()
            if self.resumed_from is not None:
                self._save()  # where it lies elsewhere, this folder has nothing to go on from yet
            return self._run()

    def _run(self) -> Scores | None:
        images, scores = self.images_per_step, None
        with (
            closing(self.log),
            StopRequest() as stop,
            Progress("train", self.total_steps * images, self.step * images, self.ranks.is_first) as progress,
        ):
            if self.step and self._evaluation_is_due():
                scores = self._evaluate(stop)
            while self.step < self.total_steps and not self._is_exhausted():
                for _ in self._steps_of_epoch(progress, stop):
                    if self.config.train.save_every is not None and self.step % self.config.train.save_every == 0:
                        self._save()
                self._save()
                self.skipped.name()
                if self._evaluation_is_due():
                    scores = self._evaluate(stop)
        self.keeper.confirm()
        if self._is_exhausted():
            self.log.tell(
                f"no better {self.task.score_kinds[0].title} for {counted(self._epochs_since_best(), 'epoch')}, "
                f"train.patience is {self.config.train.patience}: training ends here"
            )
        if count := self.skipped.count():
            self.log.tell(
                f"{counted(count, 'image')} could not be read and left out; each rank's log names those it met"
            )
        if self.best_score > -math.inf:
            self.log.tell(f"best {self.task.score_kinds[0].show(self.best_score)}, checkpoint {self.folder.best}")
        return scores

    def _load(self, checkpoint: Checkpoint) -> None:
        """Makes the run what it was when `checkpoint` was saved."""
        self.state.load(checkpoint)
        self.step = self.first_step = checkpoint.progress["step"]
        losses = checkpoint.progress.get("losses", [])
        self.losses = [step if isinstance(step, list) else [step] for step in losses]  # numbers, where there is one
        evaluated = [e["step"] for e in self.folder.read_metrics() if e["kind"] == "eval" and e["step"] <= self.step]
        best = self.keeper.find_best(self.step)
        if best is not None:
            self.best_step, self.best_score = best.progress["step"], best.progress["best_score"]
            self.best_tie = best.progress.get("best_tie", math.inf)  # unknown: an equal score does not replace it
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

    def _open_folder(self) -> None:
        if self.folder.stamp() != self.stamp:
            raise TemporaryError(
                f"another process was still training into {self.folder.path} when this one started; start again"
            )
        description = dump_config(self.config), describe_environment(current_device())
        if self.resumed_from is None:
            self.folder.start(*description, self.overwrite)
        else:
            self.lines += self.keeper.return_to(self.step)
            self.folder.go_on(self.step, self.evaluated_step, *description)

    def _open_log(self) -> None:
        self.log = RunLog(
            self.folder,
            self.total_steps,
            self.steps_per_epoch,
            self.images_per_step,
            self.task.loss_names,
            self.task.score_kinds,
            self.config.train.tensorboard,
            self.ranks.is_first,
        )
        self.log.losses = list(self.losses)
        self.skipped = SkippedImages(
            self.train_batches,
            self.eval_batches,
            exchange=self.exchange,
            tell=self.log.tell if self.ranks.is_first else tell_line,
        )
        for line in self.lines:
            self.log.tell(line)
        self.log.tell(
            f"{self.task.describe()}, {sum(p.size for p in self.net.trainable_params()):,} trainable parameters; "
            f"{counted(self.epochs, 'epoch')} of {counted(self.steps_per_epoch, 'step')} of "
            f"{counted(self.images_per_step, 'image')}, learning rate "
            f"{self.schedule.lr:.3g}"
        )

    def _steps_of_epoch(self, progress: Progress, stop: StopRequest) -> Iterator[None]:
        """Trains to the end of the epoch; yields after each step.

        Raises:
            Stopped: one of the processes was asked to end, and the run has been saved.
        """
        epoch, first = divmod(self.step, self.steps_per_epoch)
        self.step_cell.set_train()
        micro_batches = (self.steps_per_epoch - first) * self.config.train.accumulate
        with (
            closing(self.train_batches.epoch(epoch, first)) as batches,
            on_device(batches, micro_batches, self.batches_ahead) as prepared,
        ):
            for number in range(first, self.steps_per_epoch):
                self.profile.before_step(is_first=number == first)
                losses, waited = self._step(prepared)
                self.step += 1
                told = self.exchange.gather([*losses, stop.signal or 0])
                losses = told[:, :-1].mean(axis=0).tolist()
                self._check_finite(sum(losses))
                self.log.add_step(losses, waited)
                progress.advance(self.images_per_step, f"epoch {epoch + 1}/{self.epochs}, loss {sum(losses):.3f}")
                is_last = self.step % self.steps_per_epoch == 0
                if line := self.profile.after_step(is_last):
                    self.log.tell(line)
                if self.step % self.config.train.log_every == 0 or is_last:
                    loss_scale = self.step_cell.loss_scale
                    skipped = None if loss_scale is None else int(loss_scale.skipped.asnumpy())
                    self.log.steps(self.step, self.schedule.at(self.step - 1), skipped, progress.on_terminal)
                asked = stop.signal if self.ranks.count == 1 else int(told[:, -1].max())
                if asked:
                    self._stop(signal.Signals(asked))
                yield

    def _step(self, prepared: Iterator[Prepared]) -> tuple[np.ndarray, float]:
        """Trains on the micro-batches of a step; returns its mean losses, and the seconds it waited for data."""
        losses, waited = [], 0.0
        for _ in range(self.config.train.accumulate):
            since = time.perf_counter()
            batch, _ = next(prepared)
            waited += time.perf_counter() - since
            if self._compile("training_step", self.step_cell, *batch):
                waited = 0.0  # the clock starts anew
            losses.append(self.step_cell(*batch).asnumpy().astype(np.float64))
        return sum(losses) / len(losses), waited

    def _compile(self, name: str, cell: nn.Cell, *inputs: Tensor) -> bool:
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
        if self.step_cell.loss_scale is not None and self.step_cell.loss_scale.is_exhausted():
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
        advice = LOSS_ADVICE
        if self.resumed_from is not None and found_at == self.first_step:
            advice += f" The weights of {self.resumed_from} give it already: resume from an earlier checkpoint"
        elif self.keeper.last_step is not None:
            advice += f" The last checkpoint before it is {self.folder.last}, of step {self.keeper.last_step}"
        raise UserError(f"{problem}; {advice}")

    def _stop(self, number: signal.Signals) -> NoReturn:
        self._save()
        self.skipped.name()
        self.log.tell(
            f"stopped by {number.name} after step {self.step}; {self.folder.last} holds it: go on with --resume"
        )
        raise Stopped(number)

    def _save(self) -> None:
        """Saves the step, unless it is there already.

        Raises:
            UserError: its weights or the optimizer's state are not finite, or it cannot be written.
        """
        if self.keeper.last_step == self.step:
            return
        self.state.check_same(self.step)
        if which := self.state.find_not_finite():
            self._diverged(f"after step {self.step} the weights or the optimizer's state are not finite ({which})")
        more = {"steps_per_epoch": self.steps_per_epoch, "losses": self.log.losses, "config": asdict(self.config)}
        self.keeper.save_last(self.state.weights(), self.state.to_save(), {**self._progress(), **more})

    def _progress(self) -> dict:
        best = {"best_score": self.best_score, "best_tie": self.best_tie}
        best = {name: value for name, value in best.items() if math.isfinite(value)}
        where = {"step": self.step, "epoch": self.step / self.steps_per_epoch}
        return {**where, **best, "training_data": self.task.training_data()}

    def _evaluation_is_due(self) -> bool:
        epoch, rest = divmod(self.step, self.steps_per_epoch)
        if rest or (epoch % self.config.train.eval_every and epoch != self.epochs):
            return False
        return self.step != self.evaluated_step

    def _epochs_since_best(self) -> int:
        return (self.evaluated_step - self.best_step) // self.steps_per_epoch

    def _is_exhausted(self) -> bool:
        """Whether the best score is as old as `train.patience` says, at the end of an epoch."""
        patience = self.config.train.patience
        return patience is not None and not self.step % self.steps_per_epoch and self._epochs_since_best() >= patience

    def _evaluate(self, stop: StopRequest) -> Scores:
        """Evaluates the weights and their moving average; keeps the better ones if they are the best so far.

        The step has been saved before, because a stop could not save it here: the network may have the averages as its
        weights.
        """
        ema = self.step_cell.ema
        self.state.agree_on_statistics()
        inputs = map(Tensor.from_numpy, self.task.example_inputs(self.config.train.batch_size))
        self._compile("evaluation", self.predictions.set_train(False), *inputs)
        since, scores = time.perf_counter(), {}
        for name in ("raw",) if ema is None else ("raw", "ema"):
            with ema.applied() if name == "ema" else nullcontext():
                try:
                    scores[name] = self._evaluate_once(f"evaluate {name}" if ema else "evaluate", stop)
                except NotFiniteError as error:
                    self._diverged(f"{error} (after step {self.step})", self.step)
                found = scores[name].deciding, scores[name].tie_breaker
                if found > (self.best_score, self.best_tie):
                    self.best_score, self.best_tie = found
                    self.best_step = self.step
                    self.keeper.save_best(self.state.weights(), {**self._progress(), "weights": name})
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

        limit, scorer = self.config.limit_batches, self.task.create_scorer()
        total = min(len(self.eval_batches), limit or len(self.eval_batches)) * self.config.train.batch_size
        with Progress(title, total, shown=self.ranks.is_first) as progress:
            return evaluate(
                self.predictions,
                self.eval_batches,
                scorer,
                self.exchange,
                progress,
                limit,
                self.batches_ahead,
                stop_if_asked,
            )


def check_start(config: Config, folder: RunFolder, resume: str, overwrite: bool, allow_changes: bool) -> None:
    """Opens what a run needs, and starts none; see `Training`.

    Raises:
        UserError: wrong configuration, data, checkpoint or folder, or a package is missing.
    """
    checkpoint, _ = choose_start(config, folder, resume, allow_changes, overwrite)
    create_task(config).open_for_training(checkpoint)


def _is_same_file(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)
