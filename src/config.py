"""Configuration of a run: typed sections, one YAML file on at most one base, overrides on the command line.

jsonargparse parses and checks types. Added here: `base:`, the nearest known name for an unknown one, one-line errors,
and rules for values. A field added to a dataclass below, with its line under Args, is a YAML key, an option and a line
of the help.
"""

import argparse
import difflib
import inspect
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser

from src.errors import UserError

_REPOSITORY = Path(__file__).resolve().parent.parent

Options = TypeVar("Options")


@dataclass
class ModelConfig:
    """Which network. Keys equal the arguments of `create_model`.

    Args:
        name: variant, one of `list_models()`.
        num_classes: size of the head; the number of classes of the data when null.
        in_channels: channels of the input image.
        image_size: side in pixels or [height, width]; the variant's published size when null.
        drop_rate: dropout after position tables, in MLPs and after attention.
        attn_drop_rate: dropout on attention weights.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.
        se: the authors' squeeze-and-excitation gate on TNT's and PyramidTNT's outer MLP.
        batch_norm: PyramidTNT's batch norms in training: 'train' with a device's own statistics, 'synchronized' with
            those of all devices, 'eval' with the running ones, 'frozen' like eval, without training gain and bias.
        structure: further arguments of the network's constructor, such as {depth: 4, outer_dim: 96}.
    """

    name: str = "tnt_s_patch16_224"
    num_classes: int | None = None
    in_channels: int = 3
    image_size: int | tuple[int, int] | None = None
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.1
    se: bool = False
    batch_norm: Literal["train", "synchronized", "eval", "frozen"] = "train"
    structure: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """Which images, and how they reach the network.

    On the command line `--data DIR` is short for `--data.root DIR`, with source 'folder' where digits are configured,
    and `--on_bad_image` for `--data.on_bad_image`.

    Args:
        source: 'digits' (embedded in scikit-learn), 'folder' (ImageNet layout), 'mindrecord' (such a folder, packed by
            make_mindrecord.py), or an official archive, unpacked: 'cifar10', 'cifar100', 'oxford_pets' or 'flowers102'.
        root: folder of the images, null for 'digits'; for 'folder' it holds train/ and val/, each with one sub-folder
            per class, for an archive what that unpacks to.
        crop_scale: area share of the random crop in training.
        crop_ratio: aspect ratio of the random crop in training.
        flip_prob: probability of a horizontal flip in training.
        rand_augment: RandAugment in timm's spelling, such as rand-m9-mstd0.5-inc1; none when null.
        color_jitter: strength of random brightness, contrast and saturation, where RandAugment is off; 0 for none.
        erase_prob: probability that a rectangle is replaced by noise in training.
        mixup: parameter of the Beta distribution that mixup draws its share from; 0 for no mixup.
        cutmix: the same for cutmix.
        mix_prob: probability that a batch is mixed.
        mix_switch_prob: probability of cutmix where both are on.
        repeats: copies of an image in an epoch, each augmented for itself (an epoch then has fewer different images).
        on_bad_image: 'error' stops at an image that cannot be read, 'skip' takes the next one and counts.
        crop_pct: centre crop's share of the resized short side in evaluation.
        workers: processes that read and transform images; with 0 the training process does, best for small images.
    """

    source: Literal["digits", "folder", "mindrecord", "cifar10", "cifar100", "oxford_pets", "flowers102"] = "folder"
    root: str | None = None
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    flip_prob: float = 0.5
    rand_augment: str | None = None
    color_jitter: float = 0.0
    erase_prob: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    mix_switch_prob: float = 0.5
    repeats: int = 1
    on_bad_image: Literal["error", "skip"] = "error"
    crop_pct: float = 0.9
    workers: int = 2


@dataclass
class OptimizerConfig:
    """How weights are updated. AdamW has bias correction; 1-D parameters, biases and the network's own list are not
    decayed by either.

    Args:
        name: adamw, or sgd with momentum.
        lr: learning rate after warm-up, for the total batch of all devices.
        lr_batch_size: total batch that lr is meant for: all learning rates are scaled by the actual one over it; not
            scaled when null.
        weight_decay: decoupled weight decay.
        beta1: decay of AdamW's first moment.
        beta2: decay of AdamW's second moment.
        eps: term of AdamW's denominator.
        momentum: share of the velocity that sgd keeps.
        clip_norm: largest global gradient norm; no clipping when null.
        shard_state: with several devices, each keeps AdamW's moments of a share of the parameters only.
        layer_decay: factor on the learning rate from each layer to the one below it; 1 for the same rate everywhere.
        backbone_lr_scale: factor on the learning rate of everything but the head.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    lr_batch_size: int | None = None
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.9
    clip_norm: float | None = None
    shard_state: bool = False
    layer_decay: float = 1.0
    backbone_lr_scale: float = 1.0


@dataclass
class ScheduleConfig:
    """Linear warm-up, cosine, cooldown, constant within an epoch.

    Args:
        epochs: epochs of warm-up and cosine together.
        warmup_epochs: epochs of linear warm-up.
        warmup_lr: learning rate of the first warm-up epoch.
        min_lr: learning rate at the end of the cosine and during cooldown.
        cooldown_epochs: epochs at min_lr after the cosine.
    """

    epochs: int = 300
    warmup_epochs: int = 5
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    cooldown_epochs: int = 10


@dataclass
class TrainConfig:
    """The loop.

    Args:
        batch_size: images that a device takes at once. A step has batch_size * devices * accumulate images.
        accumulate: batches of a device whose gradients are averaged before the weights are updated.
        label_smoothing: share of the target spread over all classes.
        precision: of matrix products; norms, softmax, performer, weights and sums are float32 in any case.
        loss_scale: first factor on the loss in float16; it adapts from there.
        loss_scale_growth: steps without overflow before the factor is doubled.
        ema_decay: of the moving average of the weights, which is evaluated besides them; no average when null.
        ema_warmup: smaller decays at the beginning, for short runs.
        recompute: compute the blocks' activations anew in the backward pass instead of keeping them.
        flash_attention: attention as one operator of Ascend (Atlas A2), in half precision.
        log_every: steps between two lines of the log.
        eval_every: epochs between two evaluations.
        save_every: steps between two checkpoints, besides those at the end of epochs; none when null.
        keep_checkpoints: how many of the latest checkpoints are kept, besides the best.
        tensorboard: write event files too (needs requirements-tensorboard.txt).
    """

    batch_size: int = 128
    accumulate: int = 1
    label_smoothing: float = 0.1
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    loss_scale: float = 65536.0
    loss_scale_growth: int = 2000
    ema_decay: float | None = None
    ema_warmup: bool = False
    recompute: bool = False
    flash_attention: bool = False
    log_every: int = 50
    eval_every: int = 1
    save_every: int | None = None
    keep_checkpoints: int = 2
    tensorboard: bool = False


@dataclass
class Config:
    """Everything that decides a run.

    Args:
        device: CPU, GPU or Ascend; what is there when null.
        seed: of initial weights, data order, augmentation and dropout.
        output: folder of all runs; a run lives in <output>/<config name>.
        limit_batches: stop each epoch and evaluation after so many batches.
        init_from: checkpoint to start from instead of random weights; a head of another size is left out.
        freeze: names of parameters to keep at their values, shell-style patterns such as patch_embed.*.
        compiler_cache: keep the compiled graph in the run's folder, so that it starts faster the next time.
    """

    device: Literal["CPU", "GPU", "Ascend"] | None = None
    seed: int = 42
    output: str = "output"
    limit_batches: int | None = None
    init_from: str | None = None
    freeze: list[str] = field(default_factory=list)
    compiler_cache: bool = True
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def load_config(path: str | os.PathLike) -> Config:
    """Read a YAML file on top of its bases; keys that none of them gives keep the defaults above.

    Args:
        path: the file. Its optional key `base:` names another one, relative to the file that says so.

    Raises:
        UserError: a file that is missing, not YAML or based on itself; an unknown key; a wrong type; a value that its
            rule forbids.
    """
    config = _build(Config, _read(Path(path)))
    _check_values(config, where=str(path))
    return config


def dump_config(config: Config) -> str:
    """The whole configuration as YAML; `load_config` reads it back to an equal one."""
    return yaml.dump(asdict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def changed_keys(before: dict[str, Any], config: Config) -> list[str]:
    """What differs from the configuration that `asdict` and JSON made `before` of: "key: old, now new"."""
    now = dict(_flat_values(config))
    then = dict(_flat_values(_build(Config, _without_unknown(before, Config))))
    listed = {key: (_listed(then[key]), _listed(value)) for key, value in now.items()}
    return [f"{key}: {_show(old)}, now {_show(new)}" for key, (old, new) in listed.items() if old != new]


def run_name(path: str | os.PathLike) -> str:
    """Name of the run folder of a config file: its stem; for a config.yaml that a run saved, its folder's name."""
    path = Path(path)
    return path.resolve().parent.name if path.name == "config.yaml" else path.stem


def parse_command_line(
    program: str,
    description: str,
    options: type[Options],
    argv: Sequence[str] | None = None,
    default_config: str = "config/demo/ptnt_digits.yaml",
) -> tuple[Config, Options, str]:
    """Parse the command line of a root script. `--help` and `--print_config` print and raise SystemExit(0).

    Args:
        program: file name of the script, such as "train.py".
        description: one sentence for `--help`.
        options: dataclass of the command's own options, with an Args section like those above. A field without a
            default is a positional argument (several where its type is a list), a bool is a flag without a value, and
            metadata={"bare": "auto"} is what an option means that is given without a value.
        argv: what follows the program's name; that of the process when None.
        default_config: the file used without `--config`, relative to the repository.

    Returns:
        The configuration with overrides applied, the filled `options`, and the name of the run folder (`run_name`).

    Raises:
        UserError: an unknown option, a wrong type, a missing positional argument, and all that `load_config` raises.
    """
    given_argv = list(sys.argv[1:] if argv is None else argv)
    argv = [_long_name(token) for token in given_argv]
    hints = _flat_hints(Config) | get_type_hints(options)
    positional = [option.name for option in fields(options) if _is_positional(option)]
    _refuse_unknown_options(program, argv, hints, positional)
    try:
        path = _config_option(argv, default=os.path.relpath(_REPOSITORY / default_config))
        tree = _read(path)
        names_folder = any(token.partition("=")[0] == "--data" for token in given_argv)
        if names_folder and tree.get("data", {}).get("source") == "digits":  # which takes no folder
            argv = ["--data.source", "folder", *argv]
        parser = _create_parser(
            prog=program,
            usage="python %(prog)s [--config FILE] [--KEY VALUE ...]" + "".join(f" {name} ..." for name in positional),
            description=f"{description} Every key of a config file is an option; defaults shown are those of {path}.",
        )
        _add_own_options(parser, options, path)
        _add_section(parser, "run", _build(Config, tree))
        given = parser.parse_args(argv, defaults=False).as_dict()
    except argparse.ArgumentError as error:
        raise _one_line(error, program, hints) from None

    own = {name: given.pop(name) for name in get_type_hints(options) if name in given}
    print_config = given.pop("print_config", False)
    given.pop("config", None)
    config = _build(Config, _merge(tree, given))
    _check_values(config, where=program)
    if print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    for option in fields(options):
        if _is_required(option) and not own[option.name]:
            raise UserError(f"{program}: expected {option.name.upper()}, got none; see --help")
    return config, options(**own), run_name(path)


_SHORT_NAMES = {"--data": "--data.root", "--model": "--model.name", "--on_bad_image": "--data.on_bad_image"}

# What a value must fulfil besides its type. Comparisons are written so that NaN fails.
_POSITIVE = ("above 0", lambda value: 0 < value < float("inf"))
_NOT_NEGATIVE = ("at least 0", lambda value: 0 <= value < float("inf"))
_COUNT = ("at least 1", lambda value: value >= 1)
_PROBABILITY = ("from 0 to 1", lambda value: 0 <= value <= 1)
_RATE = ("at least 0 and below 1", lambda value: 0 <= value < 1)
_NOT_EMPTY = ("a path that is not empty", bool)

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "seed": ("from 0 to 4294967295", lambda value: 0 <= value < 2**32),
    "output": _NOT_EMPTY,
    "limit_batches": _COUNT,
    "init_from": _NOT_EMPTY,
    "optimizer.layer_decay": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    "optimizer.backbone_lr_scale": _POSITIVE,
    "optimizer.momentum": _RATE,
    "model.num_classes": _COUNT,
    "model.in_channels": _COUNT,
    "model.image_size": ("sides of at least 1", lambda value: min(value if isinstance(value, tuple) else [value]) >= 1),
    "model.drop_rate": _RATE,
    "model.attn_drop_rate": _RATE,
    "model.drop_path_rate": _RATE,
    "data.root": _NOT_EMPTY,
    "data.crop_scale": ("[low, high] with 0 < low <= high <= 1", lambda value: 0 < value[0] <= value[1] <= 1),
    "data.crop_ratio": ("[low, high] with 0 < low <= high", lambda value: 0 < value[0] <= value[1] < float("inf")),
    "data.flip_prob": _PROBABILITY,
    "data.color_jitter": _NOT_NEGATIVE,
    "data.erase_prob": _PROBABILITY,
    "data.mixup": _NOT_NEGATIVE,
    "data.cutmix": _NOT_NEGATIVE,
    "data.mix_prob": _PROBABILITY,
    "data.mix_switch_prob": _PROBABILITY,
    "data.repeats": _COUNT,
    "data.crop_pct": ("above 0 and at most 1", lambda value: 0 < value <= 1),
    "data.workers": _NOT_NEGATIVE,
    "optimizer.lr": _POSITIVE,
    "optimizer.lr_batch_size": _COUNT,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "optimizer.beta1": _RATE,
    "optimizer.beta2": _RATE,
    "optimizer.eps": _POSITIVE,
    "optimizer.clip_norm": _POSITIVE,
    "schedule.epochs": _COUNT,
    "schedule.warmup_epochs": _NOT_NEGATIVE,
    "schedule.warmup_lr": _NOT_NEGATIVE,
    "schedule.min_lr": _NOT_NEGATIVE,
    "schedule.cooldown_epochs": _NOT_NEGATIVE,
    "train.batch_size": _COUNT,
    "train.accumulate": _COUNT,
    "train.label_smoothing": _RATE,
    "train.loss_scale": ("at least 1 and below infinity", lambda value: 1 <= value < float("inf")),
    "train.loss_scale_growth": _COUNT,
    "train.ema_decay": _RATE,
    "train.log_every": _COUNT,
    "train.eval_every": _COUNT,
    "train.save_every": _COUNT,
    "train.keep_checkpoints": _COUNT,
}

_AT_MOST = [
    ("schedule.warmup_epochs", "schedule.epochs"),
    ("schedule.warmup_lr", "optimizer.lr"),
    ("schedule.min_lr", "optimizer.lr"),
]


def _check_values(config: Config, where: str) -> None:
    values = dict(_flat_values(config))
    for key, (rule, holds) in _RULES.items():
        if values[key] is not None and not holds(values[key]):
            raise UserError(f"{where}: {key} is {_show(values[key])}: expected {rule}")
    for key, limit in _AT_MOST:
        if values[key] > values[limit]:
            raise UserError(f"{where}: {key} is {values[key]}: expected at most {limit}, which is {values[limit]}")
    if config.data.source == "digits" and config.data.root is not None:
        raise UserError(
            f"{where}: data.root is {_show(config.data.root)}: expected null, because data.source is 'digits'; "
            "to use the folder, set data.source to 'folder' or to the data set that it holds"
        )


# Files.


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as in YAML 1.2, and a key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"'{key.value}' appears twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """YAML with lists on one line."""


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), [*"-+.0123456789"]
    )
for _class in (list, tuple):
    _Dumper.add_representer(
        _class, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True)
    )


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Typed values of a file on top of those of its bases, keys that neither gives left out.

    Args:
        path: the file.
        above: the files that are based on it, the nearest last.
    """
    if path in above:
        raise UserError(f"{above[0]}: base: expected no circle, got {' -> '.join(map(str, (*above, path)))}")
    tree = _load_yaml(path, f" (base of {above[-1]})" if above else "")
    has_base, base = "base" in tree, tree.pop("base", None)
    _check_keys(tree, Config, where=str(path))
    parser = _create_parser()
    _add_section(parser, "run", Config())
    try:
        # Where the type is not str, this reads strings once more: the quoted "4" is a number too, and "null" is null.
        values = parser.parse_object(tree, defaults=False).as_dict()
    except argparse.ArgumentError as error:
        raise _one_line(error, str(path), _flat_hints(Config)) from None
    if not has_base:
        return values
    if not isinstance(base, str):
        raise UserError(f"{path}: base: expected the path of one YAML file, got {_show(base)}")
    return _merge(_read(Path(os.path.normpath(path.parent / base)), (*above, path)), values)


def _load_yaml(path: Path, role: str) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"{path}{role}: expected a YAML file: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}: not valid YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # odd characters, not UTF-8, a date such as 2024-13-01
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected sections of 'key: value' lines, got {_show(tree)}")
    return tree


def _check_keys(tree: dict, section: type, where: str, prefix: str = "") -> None:
    """Refuse unknown keys, sections that are none, and null where it is not allowed (which jsonargparse lets pass)."""
    hints = get_type_hints(section)
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise UserError(f"{where}: unknown key '{name}'; {_advice(name)}")
        if is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"{where}: {name}: expected a section of 'key: value' lines, got {_show(value)}")
            _check_keys(value, hints[key], where, f"{name}.")
        elif value is None and type(None) not in get_args(hints[key]):
            raise UserError(f"{where}: {name}: expected {_type_name(hints[key])}, got null")


def _advice(name: str) -> str:
    """What to write instead of an unknown key."""
    keys = list(_flat_hints(Config))
    section, _, key = name.rpartition(".")
    if name in keys:
        return f"write it as '{key}:' in the section '{section}:'"
    sections = dict.fromkeys(key.rpartition(".")[0] for key in keys if "." in key)
    return f"the nearest known key is '{_nearest(name, ['base', *sections, *keys])}'"


def _merge(base: dict[str, Any], leaf: dict[str, Any]) -> dict[str, Any]:
    """`leaf` on top of `base`, sections and other dictionaries key by key."""
    merged = dict(base)
    for key, value in leaf.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _build(section: type, tree: dict[str, Any]) -> Any:
    hints = get_type_hints(section)
    return section(**{k: _build(hints[k], v) if is_dataclass(hints[k]) else v for k, v in tree.items()})


# Command line.


def _create_parser(**kwargs: Any) -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, print_config=None, **kwargs)


def _add_section(parser: ArgumentParser, title: str, section: Any, prefix: str = "") -> None:
    """One option for each key of a section, in a group of the help; defaults are the section's values."""
    group = parser.add_argument_group(title, inspect.getdoc(section).partition("Args:")[0])
    texts = _help_texts(type(section))
    for name, hint in get_type_hints(type(section)).items():
        value = getattr(section, name)
        if is_dataclass(value):
            _add_section(parser, name, value, f"{prefix}{name}.")
        else:  # a pair is shown as it is written on the command line: [0.08, 1.0]
            default = list(value) if isinstance(value, tuple) else value
            several = get_origin(hint) is list
            value_type = get_args(hint)[0] if several else hint
            nargs = "+" if several else None
            group.add_argument(f"--{prefix}{name}", type=value_type, nargs=nargs, default=default, help=texts.get(name))


def _add_own_options(parser: ArgumentParser, options: type, config_path: Path) -> None:
    group = parser.add_argument_group("this command")
    group.add_argument("--config", type=str, metavar="FILE", default=str(config_path), help="YAML file of the run")
    group.add_argument("--print_config", action="store_true", help="print the resulting configuration as YAML and stop")
    texts, hints = _help_texts(options), get_type_hints(options)
    for option in fields(options):
        flag, hint, text = f"--{option.name}", hints[option.name], texts.get(option.name)
        several = get_origin(hint) is list
        value_type = get_args(hint)[0] if several else hint
        default = option.default if option.default_factory is MISSING else option.default_factory()
        if _is_positional(option):
            given = {} if _is_required(option) else {"default": default}
            parser.add_argument(option.name, type=value_type, nargs="*" if several else None, help=text, **given)
        elif hint is bool:
            group.add_argument(flag, action="store_true", help=text)
        elif "bare" in option.metadata:
            group.add_argument(flag, type=hint, nargs="?", const=option.metadata["bare"], default=default, help=text)
        else:
            group.add_argument(flag, type=value_type, nargs="+" if several else None, default=default, help=text)


def _is_positional(option: Field) -> bool:
    return _is_required(option) or "positional" in option.metadata


def _is_required(option: Field) -> bool:
    return option.default is MISSING and option.default_factory is MISSING


def _long_name(token: str) -> str:
    """The token with its option's whole name where it is one of the short ones."""
    option, equals, value = token.partition("=")
    return _SHORT_NAMES.get(option, option) + equals + value


def _refuse_unknown_options(program: str, argv: list[str], hints: dict[str, Any], positional: list[str]) -> None:
    known = ["config", "print_config", "help", *(name for name in hints if name not in positional)]
    dictionaries = [name for name, hint in hints.items() if get_origin(hint) is dict]
    for token in argv[: argv.index("--") if "--" in argv else None]:
        option = token.partition("=")[0]
        name = option.lstrip("-")
        if not re.match("--?[A-Za-z_]", option) or option == "-h" or (option == f"--{name}" and name in known):
            continue
        section, _, key = name.rpartition(".")
        if section in dictionaries and key:
            continue
        raise UserError(f"{program}: unknown option {option}; the nearest known one is --{_nearest(name, known)}")


def _config_option(argv: list[str], default: str) -> Path:
    """Value of `--config`, which is needed before the other options because they lie on top of it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", default=default)
    return Path(parser.parse_known_args(argv)[0].config)


# Names and messages.


def _flat_hints(section: type, prefix: str = "") -> dict[str, Any]:
    """Dotted key to type, in the order of the dataclasses."""
    hints = {}
    for name, hint in get_type_hints(section).items():
        hints |= _flat_hints(hint, f"{prefix}{name}.") if is_dataclass(hint) else {prefix + name: hint}
    return hints


def _flat_values(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key in fields(section):
        value = getattr(section, key.name)
        if is_dataclass(value):
            yield from _flat_values(value, f"{prefix}{key.name}.")
        else:
            yield prefix + key.name, value


def _help_texts(section: type) -> dict[str, str]:
    """Name to text from the Args section of a docstring; empty where `python -OO` leaves no docstrings."""
    arguments = textwrap.dedent(inspect.getdoc(section).partition("Args:\n")[2].partition("\n\n")[0])
    return {name: " ".join(text.split()) for name, text in re.findall(r"^(\w+): (.*(?:\n +.*)*)", arguments, re.M)}


def _nearest(name: str, known: Iterable[str]) -> str:
    """The known dotted name most like `name`, as a whole or in its last part, so that 'lr' finds 'optimizer.lr'."""

    def likeness(other: str) -> float:
        pairs = [(name, other), (name.rpartition(".")[2], other.rpartition(".")[2])]
        return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    return max(known, key=likeness)


def _one_line(error: argparse.ArgumentError, where: str, hints: dict[str, Any]) -> UserError:
    """jsonargparse's message in the form of ours: key, expected type, value that came."""
    text = " ".join(str(error).split())
    found = re.match(r'Parser key "([^"]+)": .*(?:Got|Given) value: ?(.*)', text)
    if not found or found[1] not in hints:
        return UserError(f"{where}: {text}; see --help")
    value = {"": "nothing", "None": "null"}.get(found[2], found[2])
    return UserError(f"{where}: {found[1]}: expected {_type_name(hints[found[1]])}, got {value}")


def _type_name(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(part) for part in parts)
    if origin is tuple:
        return f"[{', '.join(_type_name(part) for part in parts)}]"
    return "null" if hint is type(None) else (origin or hint).__name__


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _without_unknown(tree: dict[str, Any], section: type) -> dict[str, Any]:
    """`tree` less what another version of this project had."""
    hints = get_type_hints(section)
    return {
        key: _without_unknown(value, hints[key]) if is_dataclass(hints[key]) else value
        for key, value in tree.items()
        if key in hints
    }


def _show(value: Any) -> str:
    """A value in a message, as YAML would have it."""
    return json.dumps(value, default=str)
