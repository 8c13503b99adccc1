"""Configuration of a run: typed sections, one YAML file on at most one base, overrides on the command line.

A field added to a dataclass below, with its line under Args, is a YAML key, an option and a line of the help. Values
of files and options are read by the same reader of YAML and checked against the field's type and rule; what is wrong is
told on one line, an unknown name with the nearest known one.
"""

import argparse
import difflib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from src.config.typed_value import PATH, PLAIN, as_yaml, is_path, is_plain, shortened, text_to_type, to_type, type_name
from src.config.yaml_file import read_yaml, to_yaml
from src.errors import UserError

_REPOSITORY = Path(__file__).resolve().parents[2]


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
        init_from: checkpoint to start from instead of random weights.
        init_head: rows of that checkpoint's head are taken over by the names of their labels ('by_name'), or the head
            as it stands ('as_is').
        freeze: names of parameters to keep at their values, shell-style patterns such as patch_embed.*.
        compiler_cache: keep the compiled graph in the run's folder, so that it starts faster the next time.
    """

    device: Literal["CPU", "GPU", "Ascend"] | None = None
    seed: int = 42
    output: str = "output"
    limit_batches: int | None = None
    init_from: str | None = None
    init_head: Literal["by_name", "as_is"] = "by_name"
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
    return to_yaml(asdict(config))


def changed_keys(before: dict[str, Any], config: Config) -> list[str]:
    """What differs from the configuration that `asdict` and JSON made `before` of: "key: old, now new"."""
    now = dict(flat_values(config))
    then = dict(flat_values(_build(Config, _without_unknown(before, Config))))
    listed = {key: (_listed(then[key]), _listed(value)) for key, value in now.items()}
    return [f"{key}: {as_yaml(old)}, now {as_yaml(new)}" for key, (old, new) in listed.items() if old != new]


def run_name(path: str | os.PathLike) -> str:
    """Name of the run folder of a config file: its stem; for a config.yaml that a run saved, its folder's name."""
    path = Path(path)
    return path.resolve().parent.name if path.name == "config.yaml" else path.stem


class CommandLine(NamedTuple):
    """What a command line says.

    Attributes:
        config: the configuration with overrides applied.
        options: of the command, an instance of its dataclass.
        name: of the run's folder (`run_name`).
        given: what is on the command line itself, section by section; "config" only where `--config` is.
    """

    config: Config
    options: Any
    name: str
    given: dict[str, Any]


def parse_command_line(
    program: str,
    description: str,
    options: type,
    argv: Sequence[str] | None = None,
    default_config: str = "config/demo/ptnt_digits.yaml",
) -> CommandLine:
    """Parse the command line of a root script. `--help` and `--print_config` print and raise SystemExit(0).

    Args:
        program: file name of the script, such as "train.py".
        description: one sentence for `--help`.
        options: dataclass of the command's own options, with an Args section like those above. A field without a
            default is a positional argument (several where its type is a list), a bool is a flag without a value, and
            metadata={"bare": "auto"} is what an option means that is given without a value, and {"range": (1, 9)} what
            a number may be, from 0 to 10^9 else.
        argv: what follows the program's name; that of the process when None.
        default_config: the file used without `--config`, relative to the repository.

    Raises:
        UserError: an unknown option, a wrong type, a missing positional argument, and all that `load_config` raises.
    """
    given_argv = list(sys.argv[1:] if argv is None else argv)
    argv = [_long_name(token) for token in given_argv]
    hints = flat_hints(Config) | get_type_hints(options)
    positional = [option.name for option in fields(options) if _is_positional(option)]
    entries = _refuse_unknown_options(program, argv, hints, positional)
    path = _config_option(program, argv, default=os.path.relpath(_REPOSITORY / default_config))
    tree = _read(path)
    names_folder = any(token.partition("=")[0] == "--data" for token in given_argv)
    if names_folder and tree.get("data", {}).get("source") == "digits":  # which takes no folder
        argv = ["--data.source", "folder", *argv]
    parser = _Parser(
        prog=program,
        usage="python %(prog)s [--config FILE] [--KEY VALUE ...]" + "".join(f" {name} ..." for name in positional),
        description=f"{description} Every key of a config file is an option; defaults shown are those of {path}.",
    )
    _add_own_options(parser, options, path)
    _add_section(parser, "run", _build(Config, tree))
    for entry in entries:
        parser.add_argument(f"--{entry}", help=argparse.SUPPRESS)
    texts = vars(parser.parse_args(argv))

    print_config = texts.pop("print_config", False)
    own, given = {}, {"config": texts.pop("config")} if "config" in texts else {}
    for name, text in texts.items():
        value = _read_option(program, name, text, hints.get(name, Any))
        if name in get_type_hints(options):
            own[name] = value
        else:
            given = _merge(given, _nested(name, value))
    overrides = {key: value for key, value in given.items() if key != "config"}
    config = _build(Config, _merge(tree, overrides))
    _check_values(config, where=program)
    _check_own_options(program, options, own)
    if print_config:
        print(dump_config(config), end="")
        raise SystemExit(0)
    for option in fields(options):
        if _is_required(option) and not own.get(option.name):
            raise UserError(f"{program}: expected {option.name.upper()}, got none; see --help")
    return CommandLine(config, options(**own), run_name(path), given)


_SHORT_NAMES = {"--data": "--data.root", "--model": "--model.name", "--on_bad_image": "--data.on_bad_image"}


class _Rule(NamedTuple):
    """What a value must fulfil besides its type: in words, and as a function that is false for NaN."""

    expected: str
    holds: Callable[[Any], bool]


def _from(low: float, high: float) -> _Rule:
    return _Rule(f"from {low} to {high}", lambda value: low <= value <= high)


def _above(low: float, high: float) -> _Rule:
    return _Rule(f"above {low} and at most {high}", lambda value: low < value <= high)


def _range(low: float, high: float) -> _Rule:
    return _Rule(f"[low, high] with {low} <= low <= high <= {high}", lambda value: low <= value[0] <= value[1] <= high)


_ANY_COUNT = (0, 10**9)
_COUNT = _from(1, 10**9)
_PROBABILITY = _from(0, 1)
_RATE = _Rule("at least 0 and below 1", lambda value: 0 <= value < 1)
_EPOCHS = 10**6
_BETA = _from(0, 1000)  # parameter of a Beta distribution
_LARGEST_LR = 1000
_PATH = _Rule(PATH, is_path)

# The limits above are generous: they keep out slips, and what no machine can hold.
RULES: dict[str, _Rule] = {
    "seed": _from(0, 2**32 - 1),
    "output": _PATH,
    "limit_batches": _COUNT,
    "init_from": _PATH,
    "model.num_classes": _from(1, 10**6),
    "model.in_channels": _from(1, 1024),
    "model.image_size": _Rule(
        "sides from 1 to 16384",
        lambda value: all(1 <= side <= 16384 for side in (value if isinstance(value, tuple) else [value])),
    ),
    "model.drop_rate": _RATE,
    "model.attn_drop_rate": _RATE,
    "model.drop_path_rate": _RATE,
    "data.root": _PATH,
    "data.crop_scale": _Rule("[low, high] with 0 < low <= high <= 1", lambda value: 0 < value[0] <= value[1] <= 1),
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
    "train.loss_scale": _from(1, 2**60),
    "train.loss_scale_growth": _COUNT,
    "train.ema_decay": _RATE,
    "train.log_every": _COUNT,
    "train.eval_every": _COUNT,
    "train.save_every": _COUNT,
    "train.keep_checkpoints": _from(1, 10**6),
}

_AT_MOST = [
    ("schedule.warmup_epochs", "schedule.epochs"),
    ("schedule.warmup_lr", "optimizer.lr"),
    ("schedule.min_lr", "optimizer.lr"),
]


def _check_values(config: Config, where: str) -> None:
    values = dict(flat_values(config))
    for key, rule in RULES.items():
        if values[key] is not None and not rule.holds(values[key]):
            raise UserError(f"{where}: {key} is {as_yaml(values[key])}: expected {rule.expected}")
    for key, value in values.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not is_plain(text):
                raise UserError(f"{where}: {key} is {as_yaml(text)}: expected {PLAIN}")
    for key, limit in _AT_MOST:
        if values[key] > values[limit]:
            raise UserError(f"{where}: {key} is {values[key]}: expected at most {limit}, which is {values[limit]}")
    if config.data.source == "digits" and config.data.root is not None:
        raise UserError(
            f"{where}: data.root is {as_yaml(config.data.root)}: expected null, because data.source is 'digits'; "
            "to use the folder, set data.source to 'folder' or to the data set that it holds"
        )


# Files.

_MOST_BASES = 20


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Typed values of a file on top of those of its bases, keys that neither gives left out.

    Args:
        path: the file.
        above: the files that are based on it, the nearest last.
    """
    if path in above:
        raise UserError(f"{above[0]}: base: expected no circle, got {' -> '.join(map(str, (*above, path)))}")
    if len(above) > _MOST_BASES:
        raise UserError(f"{above[0]}: base: expected at most {_MOST_BASES} files on top of each other, got more")
    tree = read_yaml(path, f" (base of {above[-1]})" if above else "")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected sections of 'key: value' lines, got {as_yaml(tree)}")
    has_base, base = "base" in tree, tree.pop("base", None)
    values = _typed(tree, Config, where=str(path))
    if not has_base:
        return values
    if not isinstance(base, str) or not is_path(base) or not is_plain(base):
        raise UserError(f"{path}: base: expected the path of one YAML file, got {as_yaml(base)}")
    return _merge(_read(Path(os.path.normpath(path.parent / base)), (*above, path)), values)


def _typed(tree: dict[str, Any], section: type, where: str, prefix: str = "") -> dict[str, Any]:
    """Values of a section as the types of its fields; refuses unknown keys, and sections that are none."""
    hints, values = get_type_hints(section), {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise UserError(f"{where}: unknown key '{shortened(name)}'; {_advice(name)}")
        if is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise UserError(f"{where}: {name}: expected a section of 'key: value' lines, got {as_yaml(value)}")
            values[key] = _typed(value, hints[key], where, f"{name}.")
            continue
        try:
            values[key] = to_type(value, hints[key])
        except TypeError:
            raise UserError(f"{where}: {name}: expected {type_name(hints[key])}, got {as_yaml(value)}") from None
    return values


def _advice(name: str) -> str:
    """What to write instead of an unknown key."""
    keys = list(flat_hints(Config))
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


class _Parser(argparse.ArgumentParser):
    """Splits a command line into texts; what an option gets is read afterwards, and defaults are left out."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)

    def error(self, message: str) -> None:
        raise UserError(f"{self.prog}: {shortened(message, 200)}; see --help")


def _add_section(parser: _Parser, title: str, section: Any, prefix: str = "") -> None:
    """One option for each key of a section, in a group of the help; defaults are the section's values."""
    group = parser.add_argument_group(title, inspect.getdoc(section).partition("Args:")[0])
    texts = _help_texts(type(section))
    for name, hint in get_type_hints(type(section)).items():
        value = getattr(section, name)
        if is_dataclass(value):
            _add_section(parser, name, value, f"{prefix}{name}.")
        else:
            _add_option(group, f"--{prefix}{name}", hint, texts.get(name, ""), value)


def _add_option(group: Any, flag: str, hint: Any, text: str, default: Any, **more: Any) -> None:
    several = get_origin(hint) is list
    item = get_args(hint)[0] if several else hint
    choices = ["true", "false"] if hint is bool else get_args(hint) if get_origin(hint) is Literal else []
    metavar = f"{{{','.join(choices)}}}" if choices else flag.rpartition(".")[2].lstrip("-").upper()
    listed = list(default) if isinstance(default, tuple) else default  # as it is written: [0.08, 1.0]
    shown = "null" if listed is None else listed
    text = f"{text} (type: {type_name(item, ' | ')}, default: {shown})".replace("%", "%%")
    group.add_argument(flag, help=text, **{"nargs": "+" if several else None, "metavar": metavar, **more})


def _add_own_options(parser: _Parser, options: type, config_path: Path) -> None:
    group = parser.add_argument_group("this command")
    _add_option(group, "--config", str, "YAML file of the run", config_path, metavar="FILE")
    group.add_argument("--print_config", action="store_true", help="print the resulting configuration as YAML and stop")
    texts, hints = _help_texts(options), get_type_hints(options)
    for option in fields(options):
        hint, text = hints[option.name], texts.get(option.name, "")
        default = option.default if option.default_factory is MISSING else option.default_factory()
        if _is_positional(option):
            nargs = "*" if get_origin(hint) is list else "?"
            parser.add_argument(option.name, nargs=nargs, help=text.replace("%", "%%"))
        elif hint is bool:
            group.add_argument(f"--{option.name}", action="store_true", help=text.replace("%", "%%"))
        elif "bare" in option.metadata:
            _add_option(group, f"--{option.name}", hint, text, default, nargs="?", const=option.metadata["bare"])
        else:
            _add_option(group, f"--{option.name}", hint, text, default)


def _is_positional(option: Field) -> bool:
    return _is_required(option) or "positional" in option.metadata


def _is_required(option: Field) -> bool:
    return option.default is MISSING and option.default_factory is MISSING


def _long_name(token: str) -> str:
    """The token with its option's whole name where it is one of the short ones."""
    option, equals, value = token.partition("=")
    return _SHORT_NAMES.get(option, option) + equals + value


def _refuse_unknown_options(program: str, argv: list[str], hints: dict[str, Any], positional: list[str]) -> list[str]:
    """Returns the options that set an entry of a dictionary, such as model.structure.depth, each once."""
    known = ["config", "print_config", "help", *(name for name in hints if name not in positional)]
    dictionaries = [name for name, hint in hints.items() if get_origin(hint) is dict]
    entries = {}
    for token in argv[: argv.index("--") if "--" in argv else None]:
        option = token.partition("=")[0]
        name = option.lstrip("-")
        if not re.match("--?[A-Za-z_]", option) or option == "-h" or (option == f"--{name}" and name in known):
            continue
        section, _, key = name.rpartition(".")
        if section in dictionaries and key and option == f"--{name}":
            entries[name] = None
            continue
        raise UserError(
            f"{program}: unknown option {shortened(option)}; the nearest known one is --{_nearest(name, known)}"
        )
    return list(entries)


def _config_option(program: str, argv: list[str], default: str) -> Path:
    """Value of `--config`, which is needed before the other options because they lie on top of it."""
    parser = _Parser(prog=program, add_help=False)
    parser.add_argument("--config", default=default)
    path = parser.parse_known_args(argv)[0].config
    _check_text(program, "config", path)
    return Path(path)


def _read_option(program: str, name: str, text: str | list[str] | bool, hint: Any) -> Any:
    """What an option gets, as the type of its field."""
    if isinstance(text, bool):
        return text
    if isinstance(text, list):
        return [_read_option(program, name, item, get_args(hint)[0]) for item in text]
    expected = f"expected {type_name(hint)}, got {shortened(text) or 'nothing'}"
    try:
        return text_to_type(text, hint, f"{program}: {name}: {expected}")
    except TypeError:
        raise UserError(f"{program}: {name}: {expected}") from None


def _check_own_options(program: str, options: type, values: dict[str, Any]) -> None:
    """Ranges and lengths of what the command's own options got."""
    for option in fields(options):
        value = values.get(option.name)
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, str):
                _check_text(program, option.name, item, is_file_name=_is_positional(option))
            elif item is not None and not isinstance(item, bool):
                low, high = option.metadata.get("range", _ANY_COUNT)
                if not low <= item <= high:
                    raise UserError(f"{program}: {option.name} is {as_yaml(item)}: expected from {low} to {high}")


def _check_text(program: str, name: str, text: str, is_file_name: bool = False) -> None:
    """What is too long for a path, or cannot be printed, is refused; existing files may have any name."""
    if text and not is_path(text):
        raise UserError(f"{program}: {name} is {shortened(text)}: expected {PATH}")
    if not is_file_name and not is_plain(text):
        raise UserError(f"{program}: {name} is {shortened(text)}: expected {PLAIN}")


def _nested(name: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for the name a.b."""
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


# Names and messages.


def flat_hints(section: type, prefix: str = "") -> dict[str, Any]:
    """Dotted key to type, in the order of the dataclasses."""
    hints = {}
    for name, hint in get_type_hints(section).items():
        hints |= flat_hints(hint, f"{prefix}{name}.") if is_dataclass(hint) else {prefix + name: hint}
    return hints


def flat_values(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key in fields(section):
        value = getattr(section, key.name)
        if is_dataclass(value):
            yield from flat_values(value, f"{prefix}{key.name}.")
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
