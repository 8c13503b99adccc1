"""From a configuration to the data, the network and its description."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from mindspore import Tensor, nn, ops

from ..compilation.compiler_cache import CompilerCache
from ..compilation.flash_attention import use_flash_attention
from ..compilation.mixed_precision import set_precision
from ..compilation.recompute import recompute_blocks
from ..compilation.shared_graphs import share_graphs
from ..config import Config, ModelConfig
from ..data import open_dataset
from ..data.image_folder import ImageFolder
from ..data.loader import Dataset, EvalLoader, TrainLoader
from ..devices.device import current_device
from ..devices.ranks import AverageOverRanks, Ranks
from ..errors import UserError
from ..models import create_model, get_variant
from ..optim.ema import Ema
from ..optim.loss import create_loss
from ..optim.loss_scale import LossScale
from ..optim.lr_schedule import WarmupCosine
from ..optim.optimizer import SGD, AdamW, decay_groups
from ..weights.fine_tuning import lr_scales
from ..weights.model_card import ModelCard
from .batch_memory import check_batch_fits
from .run_folder import RunFolder
from .train_step import TrainStep


def create_card(config: Config, classes: Sequence[str]) -> ModelCard:
    """Describes the network of `config` for data with the labels `classes`.

    Raises:
        UserError: `model.num_classes` is given and differs from the number of labels, or the variant is unknown.
    """
    model = config.model
    if model.num_classes not in (None, len(classes)):
        raise UserError(f"model.num_classes is {model.num_classes}, but the data has {len(classes)} classes")
    return ModelCard.of_variant(
        model.name,
        network_arguments(model),
        classes,
        model.image_size,
        model.in_channels,
        config.data.crop_pct,
    )


def network_arguments(model: ModelConfig) -> dict[str, Any]:
    """The constructor arguments with which `model` makes its variant another network.

    Raises:
        UserError: `model.structure` holds what is a key of its own.
    """
    for key in sorted({field.name for field in fields(ModelConfig)} & set(model.structure)):
        raise UserError(f"model.structure.{key}: give it as model.{key}")
    return {**({"se": True} if model.se else {}), **model.structure}


def create_training_network(config: Config, card: ModelCard) -> nn.Cell:
    """The network of `card` with the dropout rates of `config` and random weights."""
    model = config.model
    network = get_variant(card.model).network
    if model.batch_norm != "train" and not network.uses_batch_norm:
        raise UserError(f"model.batch_norm is {model.batch_norm!r}, but {card.model} has no batch norm; leave it out")
    net = create_model(
        card.model,
        **card.arguments,
        **({"batch_norm": model.batch_norm} if network.uses_batch_norm else {}),
        num_classes=len(card.classes),
        image_size=card.image_size,
        in_channels=card.in_channels,
        drop_rate=model.drop_rate,
        attn_drop_rate=model.attn_drop_rate,
        drop_path_rate=model.drop_path_rate,
    )
    if config.train.recompute:
        recompute_blocks(net)
    if config.train.flash_attention:
        use_flash_attention(net, config.train.precision, current_device())
    return net


def create_schedule(config: Config, steps_per_epoch: int, images_per_step: int) -> WarmupCosine:
    """The learning rate of `config`, scaled to the total batch where the configuration asks for it."""
    schedule, settings = config.schedule, config.optimizer
    factor = 1.0 if settings.lr_batch_size is None else images_per_step / settings.lr_batch_size
    return WarmupCosine(
        factor * settings.lr,
        steps_per_epoch,
        schedule.epochs,
        schedule.warmup_epochs,
        factor * schedule.warmup_lr,
        factor * schedule.min_lr,
    )


def create_optimizer(
    config: Config, net: nn.Cell, schedule: WarmupCosine | float, ranks: Ranks | None = None
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
    config: Config, net: nn.Cell, schedule: WarmupCosine | float, ranks: Ranks | None = None
) -> TrainStep:
    """One step of training `net` as `config` has it, whose precision it sets, on one of `ranks`."""
    train, ranks = config.train, ranks or Ranks()
    set_precision(net, train.precision, current_device())
    share_graphs(net)
    is_sharded = config.optimizer.shard_state and ranks.count > 1
    mixes = config.data.mixup > 0 or config.data.cutmix > 0  # then the targets are soft and smoothed already
    return TrainStep(
        net,
        create_loss(0.0 if mixes else train.label_smoothing),
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


def describe_ignored(dataset: Dataset) -> str | None:
    """A line about files in the data set's folder that are no images, where the source can tell."""
    return dataset.describe_ignored() if isinstance(dataset, ImageFolder) else None


def open_split(config: Config, split: str) -> Dataset:
    """The data of `config`, 'train' or 'val'."""
    return open_dataset(config.data.source, config.data.root, split)


def create_train_loader(config: Config, card: ModelCard, dataset: Dataset, ranks: Ranks) -> TrainLoader:
    """Augmented batches of `dataset`, this rank's share of them."""
    data = config.data
    return TrainLoader(
        dataset,
        image_size=card.image_size,
        mean=card.mean,
        std=card.std,
        in_channels=card.in_channels,
        batch_size=config.train.batch_size,
        seed=config.seed,
        crop_scale=data.crop_scale,
        crop_ratio=data.crop_ratio,
        flip_prob=data.flip_prob,
        rand_augment=data.rand_augment,
        color_jitter=data.color_jitter,
        erase_prob=data.erase_prob,
        mixup=data.mixup,
        cutmix=data.cutmix,
        mix_prob=data.mix_prob,
        mix_switch_prob=data.mix_switch_prob,
        label_smoothing=config.train.label_smoothing,
        repeats=data.repeats,
        workers=data.workers,
        on_bad_image=data.on_bad_image,
        accumulate=config.train.accumulate,
        rank=ranks.rank,
        num_ranks=ranks.count,
    )


def create_eval_loader(config: Config, card: ModelCard, dataset: Dataset, ranks: Ranks) -> EvalLoader:
    """Every image of `dataset` once over all ranks."""
    check_batch_fits(card, config.train.batch_size)
    return EvalLoader(
        dataset,
        image_size=card.image_size,
        mean=card.mean,
        std=card.std,
        in_channels=card.in_channels,
        batch_size=config.train.batch_size,
        crop_pct=card.crop_pct,
        workers=config.data.workers,
        on_bad_image=config.data.on_bad_image,
        rank=ranks.rank,
        num_ranks=ranks.count,
    )


def create_compiler_cache(config: Config, folder: RunFolder, graph: str, ranks: Ranks, **more: Any) -> CompilerCache:
    """The cache in the run's folder for a graph that follows from `config` and from `more`; none where it is off."""
    settings = {**asdict(config), "output": None, **more}
    return CompilerCache(folder.compiler_cache if config.compiler_cache else None, graph, settings, ranks)


def evaluation_input(config: Config, card: ModelCard) -> Tensor:
    """A batch of the shape that `create_eval_loader` gives."""
    return ops.zeros((config.train.batch_size, card.in_channels, *card.image_size))
