"""What a user may have meant by a key or an option that is not known."""

from collections.abc import Iterable

from ..errors import nearest_names

OTHER_NAMES = {
    "aa": "data.rand_augment",
    "amp": "train.precision",
    "amp_level": "train.precision",
    "attn_drop": "model.attn_drop_rate",
    "auto_augment": "data.rand_augment",
    "b": "train.batch_size",
    "ckpt_save_dir": "output",
    "ckpt_save_interval": "train.save_every",
    "checkpoint_hist": "train.keep_checkpoints",
    "clip_grad": "optimizer.clip_norm",
    "clip_value": "optimizer.clip_norm",
    "data_dir": "data.root",
    "dataset": "data.source",
    "data_sink": "data.prefetch_to_device",
    "data_sink_mode": "data.prefetch_to_device",
    "dataset_sink_mode": "data.prefetch_to_device",
    "device_target": "device",
    "drop": "model.drop_rate",
    "drop_path": "model.drop_path_rate",
    "ema": "train.ema_decay",
    "ema_decay": "train.ema_decay",
    "epoch_size": "schedule.epochs",
    "finetune": "init_from",
    "gpu": "device",
    "grad_accum_steps": "train.accumulate",
    "gradient_accumulation_steps": "train.accumulate",
    "hflip": "data.flip_prob",
    "img_size": "model.image_size",
    "initial_checkpoint": "init_from",
    "input_size": "model.image_size",
    "keep_checkpoint_max": "train.keep_checkpoints",
    "learning_rate": "optimizer.lr",
    "log_interval": "train.log_every",
    "loss_scaler": "train.loss_scale",
    "model_ema": "train.ema_decay",
    "model_ema_decay": "train.ema_decay",
    "num_parallel_workers": "data.workers",
    "num_workers": "data.workers",
    "opt": "optimizer.name",
    "opt_eps": "optimizer.eps",
    "re_prob": "data.erase_prob",
    "reprob": "data.erase_prob",
    "sched": "schedule.decay",
    "scheduler": "schedule.decay",
    "smoothing": "train.label_smoothing",
    "wd": "optimizer.weight_decay",
    "warmup_factor": "schedule.warmup_lr",
    "workers": "data.workers",
}
"""Names in PyTorch's, timm's and mindcv's training scripts -> the key here that means the same."""

SENTENCES = {
    "pretrained": "no weights come with the project: make a checkpoint of the authors' with convert.py, and start "
    "from it with --init_from FILE",
}
"""Names that no key stands for -> what to do."""

NEAR = 0.65
"""Likeness from which on a name is taken for misspelt."""


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` stands for or is misspelt for; None where nothing is near.

    Args:
        name: of the user, perhaps with its section before it.
        known: names, those of keys with their sections.
    """
    known = list(known)
    section, _, key = name.rpartition(".")
    sections = {own.rpartition(".")[0] for own in known}
    if section not in sections:
        if above := [own for own in known if f"{section}.".startswith(f"{own}.")]:  # which holds no such entries
            return above[0]
        near = nearest_names(section, sections, 1, NEAR)
        return suggestion(f"{near[0]}.{key}", known) if near else None
    key = key.lower().replace("-", "_")
    means = {other: own for other, own in OTHER_NAMES.items() if own in known}
    for own in sorted(known, key=lambda own: own.rpartition(".")[0] == section):  # those of the section count most
        means[own.rpartition(".")[2]] = own
    near = nearest_names(key, means, 1, NEAR)
    return means[near[0]] if near else None


def sentence(name: str) -> str | None:
    """What to do in place of `name`, where no key stands for it."""
    return SENTENCES.get(name.rpartition(".")[2].lower().replace("-", "_"))


def keys_of_section(name: str, known: Iterable[str]) -> list[str]:
    """The known keys of the section that `name` is or begins with; of none, those outside of all sections."""
    known = list(known)
    for section in (name, name.rpartition(".")[0], ""):
        if own := [key for key in known if key.rpartition(".")[0] == section]:
            return own
    return known
