"""The training loop: start or resume, steps, log, evaluation, checkpoints."""

import math
import time
from pathlib import Path

import mindspore as ms

from src.checkpoint import load_state, load_weights, read_checkpoint, save_checkpoint
from src.config import Config, dump_config
from src.engine.build import (
    create_card,
    create_eval_loader,
    create_optimizer,
    create_train_loader,
    create_training_network,
    open_split,
)
from src.engine.curves import draw_curves
from src.engine.device import current_device
from src.engine.environment import describe_environment
from src.engine.evaluation import Scores, evaluate
from src.engine.progress import Progress, print_line
from src.engine.run_folder import RunFolder
from src.engine.train_step import TrainStep
from src.engine.trained_network import set_up_device_for
from src.errors import UserError
from src.fine_tuning import freeze, load_initial_weights
from src.loss import create_loss
from src.lr_schedule import WarmupCosine

PROFILED_STEPS = 5


class Training:
    """One run. `run()` does it all; the parts are methods so that each can be read alone.

    Args:
        config: everything that decides the run.
        folder: where it is recorded.
        resume: 'never'; 'auto' to continue from the folder's last checkpoint where there is one; or a path.
        overwrite: delete a run that the folder already holds.
        profile: record a profile of a few steps.

    Raises:
        UserError: wrong configuration, data, checkpoint or folder.
    """

    def __init__(
        self, config: Config, folder: RunFolder, resume: str = "never", overwrite: bool = False, profile: bool = False
    ):
        self.config, self.folder, self.profile = config, folder, profile
        checkpoint_path = self._checkpoint_to_resume(resume)
        if config.init_from is not None and not Path(config.init_from).exists():
            raise UserError(f"init_from: checkpoint {config.init_from} does not exist")
        train_set = open_split(config, "train")
        self.card = create_card(config, train_set.classes)
        settings = set_up_device_for(self.card, config)
        self.train_loader = create_train_loader(config, self.card, train_set)
        self.eval_loader = create_eval_loader(config, self.card, open_split(config, "val"))
        self.steps_per_epoch = min(len(self.train_loader), config.limit_batches or len(self.train_loader))
        self.epochs = config.schedule.epochs + config.schedule.cooldown_epochs

        self.net = create_training_network(config, self.card)
        if checkpoint_path is None and config.init_from is not None:
            settings.append(f"starting from {config.init_from}")
            settings += load_initial_weights(self.net, read_checkpoint(config.init_from))
        settings += freeze(self.net, config.freeze)
        schedule = config.schedule
        self.schedule = WarmupCosine(
            config.optimizer.lr,
            self.steps_per_epoch,
            schedule.epochs,
            schedule.warmup_epochs,
            schedule.warmup_lr,
            schedule.min_lr,
        )
        self.optimizer = create_optimizer(config, self.net, self.schedule)
        self.step_cell = TrainStep(
            self.net, create_loss(config.train.label_smoothing), self.optimizer, config.optimizer.clip_norm
        )
        self.first_epoch, self.best_top1 = 0, -1.0
        if checkpoint_path is None:
            is_unfinished_start = resume == "auto"  # stopped before its first checkpoint
            folder.start(dump_config(config), describe_environment(current_device()), overwrite or is_unfinished_start)
        else:
            self._resume(checkpoint_path)
        for line in settings:
            self._tell(line)
        self._tell(
            f"{self.card.model}, {len(self.card.classes)} classes, "
            f"{sum(p.size for p in self.net.trainable_params()):,} trainable parameters; "
            f"{self.epochs} epochs of {self.steps_per_epoch} steps of {config.train.batch_size} images"
        )

    def run(self) -> Scores:
        """Trains to the end and returns the scores of the best checkpoint.

        Raises:
            UserError: the loss is not finite, an image is broken, or the folder cannot be written.
        """
        batch_size = self.config.train.batch_size
        images_per_epoch = self.steps_per_epoch * batch_size
        total = self.epochs * images_per_epoch
        best = None
        with Progress("train", total, self.first_epoch * images_per_epoch) as progress:
            for epoch in range(self.first_epoch, self.epochs):
                self._train_epoch(epoch, progress)
                if (epoch + 1) % self.config.train.eval_every == 0 or epoch + 1 == self.epochs:
                    scores = self._evaluate(epoch)
                    if scores.top1 > self.best_top1:
                        self.best_top1, best = scores.top1, scores
                        self._save(self.folder.best, epoch, with_state=False)
                    draw_curves(self.folder.read_metrics(), self.folder.curves)
                self._save(self.folder.last, epoch, with_state=True)
        self._tell(f"best top-1 {self.best_top1:.2f} %, checkpoint {self.folder.best}")
        return best

    def _train_epoch(self, epoch: int, progress: Progress) -> None:
        batch_size, log_every = self.config.train.batch_size, self.config.train.log_every
        self.step_cell.set_train()
        losses, since = [], time.perf_counter()
        profiler = None
        for index, (images, labels) in enumerate(self.train_loader.epoch(epoch), start=1):
            if self.profile and epoch == self.first_epoch and index == 2:  # the first step compiles
                profiler = ms.Profiler(output_path=str(self.folder.profile))
            loss = float(self.step_cell(ms.Tensor(images), ms.Tensor(labels)).asnumpy())
            step = epoch * self.steps_per_epoch + index
            if not math.isfinite(loss):
                raise UserError(
                    f"the loss is {loss} at step {step} (epoch {epoch + 1}); lower optimizer.lr, lengthen "
                    f"schedule.warmup_epochs or set optimizer.clip_norm. {self._last_good()}"
                )
            losses.append(loss)
            progress.advance(batch_size, f"epoch {epoch + 1}/{self.epochs}, loss {loss:.3f}")
            last = index == self.steps_per_epoch
            if profiler is not None and (index == 1 + PROFILED_STEPS or last):
                profiler.analyse()
                profiler = None
                self._tell(f"profile of {index - 1} steps in {self.folder.profile}")
            if step % log_every == 0 or last:
                now = time.perf_counter()
                self._log_steps(step, losses, len(losses) * batch_size / (now - since), progress.on_terminal)
                losses, since = [], now
            if last:
                break

    def _log_steps(self, step: int, losses: list[float], images_per_second: float, on_terminal: bool) -> None:
        epoch, lr, loss = step / self.steps_per_epoch, self.schedule.at(step - 1), sum(losses) / len(losses)
        self.folder.record(
            {
                "kind": "train",
                "step": step,
                "epoch": round(epoch, 4),
                "loss": loss,
                "learning_rate": lr,
                "images_per_second": round(images_per_second, 2),
            }
        )
        left = (self.epochs * self.steps_per_epoch - step) * self.config.train.batch_size / images_per_second
        line = (
            f"step {step}/{self.epochs * self.steps_per_epoch}, epoch {epoch:.2f}, loss {loss:.4f}, lr {lr:.3g}, "
            f"{images_per_second:.1f} images/s, {_duration(left)} left"
        )
        self.folder.log(line)
        if not on_terminal:
            print_line(line)

    def _evaluate(self, epoch: int) -> Scores:
        limit = self.config.limit_batches
        total = min(len(self.eval_loader), limit or len(self.eval_loader)) * self.config.train.batch_size
        since = time.perf_counter()
        with Progress("evaluate", total) as progress:
            scores = evaluate(self.net, self.eval_loader, progress, limit)
        self.folder.record(
            {
                "kind": "eval",
                "step": (epoch + 1) * self.steps_per_epoch,
                "epoch": epoch + 1,
                **scores.to_dict(),
                "images_per_second": round(scores.images / (time.perf_counter() - since), 2),
            }
        )
        self._tell(f"epoch {epoch + 1}/{self.epochs}: {scores}")
        return scores

    def _save(self, path: Path, epoch: int, with_state: bool) -> None:
        state = [p for p in self.optimizer.get_parameters() if p.name not in self._network_names()]
        progress = {"epoch": epoch + 1, "step": (epoch + 1) * self.steps_per_epoch, "best_top1": self.best_top1}
        save_checkpoint(path, self.net.get_parameters(), self.card, state if with_state else (), progress)

    def _checkpoint_to_resume(self, resume: str) -> Path | None:
        if resume == "never":
            return None
        if resume == "auto":
            return self.folder.last if self.folder.last.exists() else None
        if not Path(resume).exists():
            raise UserError(f"--resume: checkpoint {resume} does not exist")
        return Path(resume)

    def _resume(self, path: Path) -> None:
        checkpoint = read_checkpoint(path)
        load_weights(self.net, checkpoint)
        load_state([p for p in self.optimizer.get_parameters() if p.name not in self._network_names()], checkpoint)
        self.first_epoch = checkpoint.progress["epoch"]
        self.best_top1 = checkpoint.progress["best_top1"]
        if self.first_epoch >= self.epochs:
            raise UserError(
                f"{path} has finished {self.first_epoch} of {self.epochs} epochs; raise schedule.epochs to train longer"
            )
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self._tell(f"resuming from {path} after epoch {self.first_epoch}")

    def _network_names(self) -> set[str]:
        return {p.name for p in self.net.get_parameters()}

    def _last_good(self) -> str:
        return f"The last checkpoint before it is {self.folder.last}" if self.folder.last.exists() else ""

    def _tell(self, line: str) -> None:
        print_line(line)
        self.folder.log(line)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
