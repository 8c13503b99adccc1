"""What a configuration says about the training step: schedule, optimizer, precision, average, compiler cache."""

from dataclasses import asdict
from typing import Any

from mindspore import nn

from ..compilation.compiler_cache import CompilerCache
from ..compilation.mixed_precision import set_precision
from ..compilation.shared_graphs import share_graphs
from ..config import Config
from ..devices.device import current_device
from ..devices.ranks import AverageOverRanks, Ranks
from ..errors import UserError
from ..optim.ema import Ema
from ..optim.loss_scale import LossScale
from ..optim.lr_schedule import WarmupCosine, WarmupSteps
from ..optim.optimizer import SGD, AdamW, decay_groups
from ..weights.fine_tuning import lr_scales
from .run_folder import RunFolder
from .train_step import TrainStep


def create_schedule(config: Config, steps_per_epoch: int, images_per_step: int) -> WarmupCosine | WarmupSteps:
    """The learning rate of `config`, scaled to the total batch where the configuration asks for it."""
    schedule, settings = config.schedule, config.optimizer
    factor = 1.0 if settings.lr_batch_size is None else images_per_step / settings.lr_batch_size
    if schedule.decay == "step":
        return WarmupSteps(
            factor * settings.lr, steps_per_epoch, schedule.decay_epochs, schedule.decay_factor, schedule.warmup_steps
        )
    return WarmupCosine(
        factor * settings.lr,
        steps_per_epoch,
        schedule.epochs,
        schedule.warmup_epochs,
        factor * schedule.warmup_lr,
        factor * schedule.min_lr,
    )


def create_optimizer(
    config: Config, net: nn.Cell, schedule: WarmupCosine | WarmupSteps | float, ranks: Ranks | None = None
) -> AdamW | SGD:
    """The optimizer of `config` over what `net` trains, with the authors' decay groups."""
    settings = config.optimizer
    groups = decay_groups(net, settings.weight_decay)
    scales = lr_scales(net, settings.layer_decay, settings.backbone_lr_scale)
    if settings.name == "sgd":
        if settings.shard_state:
            raise UserError("optimizer.shard_state is for adamw; sgd keeps little enough on every device")
        return SGD(groups, schedule, momentum=settings.momentum, lr_scales=scales)
    ranks = ranks if ranks is not None and settings.shard_state else Ranks()
    betas = (settings.beta1, settings.beta2)
    return AdamW(groups, schedule, 0.0, *betas, settings.eps, scales, ranks.rank, ranks.count)


def create_train_step(
    config: Config,
    losses: nn.Cell,
    net: nn.Cell,
    schedule: WarmupCosine | WarmupSteps | float,
    ranks: Ranks | None = None,
) -> TrainStep:
    """One step of training as `config` has it, on one of `ranks`.

    Args:
        config: of the run.
        losses: a batch -> losses, see `Task.create_losses`.
        net: the network in it, whose precision is set.
        schedule: of the learning rate.
        ranks: this process and how many there are; one when None.
    """
    train, ranks = config.train, ranks or Ranks()
    set_precision(net, train.precision, current_device())
    share_graphs(net)
    is_sharded = config.optimizer.shard_state and ranks.count > 1
    return TrainStep(
        losses,
        create_optimizer(config, net, schedule, ranks),
        config.optimizer.clip_norm,
        batch_size=train.batch_size,
        seed=config.seed,
        accumulate=train.accumulate,
        loss_scale=LossScale(train.loss_scale, train.loss_scale_growth) if train.precision == "float16" else None,
        ema=None if train.ema_decay is None else Ema(net, train.ema_decay, train.ema_warmup),
        reduce=AverageOverRanks(ranks.count, is_sharded) if ranks.count > 1 else None,
        rank=ranks.rank,
        num_ranks=ranks.count,
    )


def create_compiler_cache(config: Config, folder: RunFolder, graph: str, ranks: Ranks, **more: Any) -> CompilerCache:
    """The cache in the run's folder for a graph that follows from `config` and from `more`; none where it is off."""
    settings = {**asdict(config), "output": None, **more}
    return CompilerCache(folder.compiler_cache if config.compiler_cache else None, graph, settings, ranks)
