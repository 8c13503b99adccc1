"""What values of a configuration must fulfil besides their types."""

import warnings

from ..errors import UserError, counted
from ..rule import Rule
from .sections import Config, flat_values
from .typed_value import PATH, PLAIN, as_yaml, is_path, is_plain


def _from(low: float, high: float) -> Rule:
    return Rule(f"from {low} to {high}", lambda value: low <= value <= high)


def _above(low: float, high: float) -> Rule:
    return Rule(f"above {low} and at most {high}", lambda value: low < value <= high)


def _range(low: float, high: float) -> Rule:
    return Rule(f"[low, high] with {low} <= low <= high <= {high}", lambda value: low <= value[0] <= value[1] <= high)


ANY_COUNT = (0, 10**9)


_COUNT = _from(1, 10**9)


_PROBABILITY = _from(0, 1)


_RATE = Rule("at least 0 and below 1", lambda value: 0 <= value < 1)


_EPOCHS = 10**6


_BETA = _from(0, 1000)  # parameter of a Beta distribution


_LARGEST_LR = 1000


_PATH = Rule(PATH, is_path)


# The limits above are generous: they keep out slips, and what no machine can hold.
RULES: dict[str, Rule] = {
    "seed": _from(0, 2**32 - 1),
    "output": _PATH,
    "limit_batches": _COUNT,
    "init_from": _PATH,
    "model.num_classes": _from(1, 10**6),
    "model.in_channels": _from(1, 1024),
    "model.image_size": Rule(
        "sides from 1 to 16384",
        lambda value: all(1 <= side <= 16384 for side in (value if isinstance(value, tuple) else [value])),
    ),
    "model.drop_rate": _RATE,
    "model.attn_drop_rate": _RATE,
    "model.drop_path_rate": _RATE,
    "data.root": _PATH,
    "data.train_list": _PATH,
    "data.val_list": _PATH,
    "data.classes": _PATH,
    "data.val_split": Rule("above 0 and below 1", lambda value: 0 < value < 1),
    "data.crop_scale": Rule("[low, high] with 0 < low <= high <= 1", lambda value: 0 < value[0] <= value[1] <= 1),
    "data.crop_ratio": _range(0.01, 100),
    "data.flip_prob": _PROBABILITY,
    "data.color_jitter": _from(0, 100),
    "data.erase_prob": _PROBABILITY,
    "data.mixup": _BETA,
    "data.cutmix": _BETA,
    "data.mix_prob": _PROBABILITY,
    "data.mix_switch_prob": _PROBABILITY,
    "data.repeats": _from(1, 1000),
    "data.crop_pct": _from(0.1, 1),
    "data.workers": _from(0, 1024),
    "data.prefetch_to_device": _from(0, 64),
    "data.short_sides": Rule(
        "one or more sides from 1 to 16384", lambda v: v and all(1 <= side <= 16384 for side in v)
    ),
    "data.long_side": _from(1, 16384),
    "data.train_annotations": _PATH,
    "data.train_images": _PATH,
    "data.val_annotations": _PATH,
    "data.val_images": _PATH,
    "schedule.decay_epochs": Rule(
        "rising whole numbers of at least 1", lambda v: v == sorted({*v}) and min(v, default=1) > 0
    ),
    "schedule.decay_factor": _above(0, 1),
    "schedule.warmup_steps": _from(0, 10**9),
    "optimizer.lr": _above(0, _LARGEST_LR),
    "optimizer.lr_batch_size": _COUNT,
    "optimizer.weight_decay": _from(0, 1000),
    "optimizer.beta1": _RATE,
    "optimizer.beta2": _RATE,
    "optimizer.eps": _above(0, 1),
    "optimizer.momentum": _RATE,
    "optimizer.clip_norm": _above(0, 10**9),
    "optimizer.layer_decay": _above(0, 1),
    "optimizer.backbone_lr_scale": _above(0, 1000),
    "schedule.epochs": _from(1, _EPOCHS),
    "schedule.warmup_epochs": _from(0, _EPOCHS),
    "schedule.warmup_lr": _from(0, _LARGEST_LR),
    "schedule.min_lr": _from(0, _LARGEST_LR),
    "schedule.cooldown_epochs": _from(0, _EPOCHS),
    "train.batch_size": _from(1, 10**6),
    "train.accumulate": _from(1, 10**5),
    "train.label_smoothing": _RATE,
    "train.teacher": _PATH,
    "train.distillation_weight": _PROBABILITY,
    "train.distillation_temperature": _above(0, 1000),
    "train.loss_scale": _from(1, 2**60),
    "train.loss_scale_growth": _COUNT,
    "train.ema_decay": _RATE,
    "train.log_every": _COUNT,
    "train.eval_every": _COUNT,
    "train.patience": _COUNT,
    "train.save_every": _COUNT,
    "train.keep_checkpoints": _from(1, 10**6),
}


_AT_MOST = [
    ("schedule.warmup_lr", "optimizer.lr"),
    ("schedule.min_lr", "optimizer.lr"),
]


def check_values(config: Config, where: str) -> None:
    """Refuses what no run can have. A warm-up longer than its run is shortened, with a warning: who asks for a short
    run means the recipe, and not its warm-up alone.

    Args:
        config: what a file or a command line says; changed where its warm-up is too long.
        where: names that, for messages.

    Raises:
        UserError: a value that its rule forbids, or values that do not go together.
    """
    values = dict(flat_values(config))
    for key, rule in RULES.items():
        if values[key] is not None and not rule.holds(values[key]):
            raise UserError(f"{where}: {key} is {as_yaml(values[key])}: expected {rule.expected}")
    for key, value in values.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not is_plain(text):
                raise UserError(f"{where}: {key} is {as_yaml(text)}: expected {PLAIN}")
    for key in ("warmup_steps", "decay_epochs") if config.schedule.decay == "cosine" else ():
        if value := values[f"schedule.{key}"]:
            raise UserError(
                f"{where}: schedule.{key} is {as_yaml(value)}: it has a meaning where schedule.decay is 'step'; a "
                "cosine warms up over schedule.warmup_epochs"
            )
    for key, limit in _AT_MOST if config.schedule.decay == "cosine" else ():
        if values[key] > values[limit]:
            raise UserError(f"{where}: {key} is {values[key]}: expected at most {limit}, which is {values[limit]}")
    for key in ("three_augment", "augmix"):
        if values[f"data.{key}"] and config.data.rand_augment is not None:
            raise UserError(f"{where}: data.{key} is true: expected data.rand_augment to be null then, or the other")
    if config.data.three_augment and config.data.augmix:
        raise UserError(f"{where}: data.three_augment and data.augmix are true: expected one of them at most")
    schedule = config.schedule
    if schedule.decay == "cosine" and schedule.warmup_epochs > schedule.epochs:
        shorter = schedule.epochs - 1
        warnings.warn(
            f"{where}: schedule.warmup_epochs is {schedule.warmup_epochs}, and schedule.epochs {schedule.epochs}: the "
            f"warm-up is shortened to {counted(shorter, 'epoch')}",
            stacklevel=2,
        )
        schedule.warmup_epochs = shorter
    if config.data.source == "digits" and config.data.root is not None:
        raise UserError(
            f"{where}: data.root is {as_yaml(config.data.root)}: expected null, because data.source is 'digits'; "
            "to use the folder, set data.source to 'folder' or to the data set that it holds"
        )
