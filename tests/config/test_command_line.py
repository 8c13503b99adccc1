"""Command lines: options over files, and the one line that every mistake gives."""

import subprocess
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path

import pytest

from src.config import Config, load_config, parse_command_line
from src.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]

SOURCES = (
    "expected 'digits' or 'folder' or 'list' or 'mindrecord' or 'cifar10' or 'cifar100' or 'oxford_pets' or "
    "'flowers102' or 'coco'"
)


@dataclass
class TrainOptions:
    """Options of a training command.

    Args:
        overwrite: delete the run that the folder holds.
        resume: continue a run, from its last checkpoint
            or from this one.
        top_k: how many labels, 100% of them at most.
    """

    overwrite: bool = False
    resume: str | None = field(default=None, metadata={"bare": "auto"})
    top_k: int = 5


@dataclass
class PredictOptions:
    """Options of a command with positional arguments.

    Args:
        images: files or folders.
        sizes: sides to try.
    """

    images: list[str]
    sizes: list[int] = field(default_factory=lambda: [224])


def keys(section=Config, prefix=""):
    for key in fields(section):
        if is_dataclass(key.type):
            yield from keys(key.type, f"{prefix}{key.name}.")
        else:
            yield prefix + key.name


def value(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


def parse(*argv, options=TrainOptions):
    return parse_command_line("train.py", "Train a network.", options, argv)[:3]


def test_without_arguments_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, options, name = parse()
    assert config == load_config(REPOSITORY / "config/demo/ptnt_digits.yaml")
    assert options == TrainOptions()
    assert name == "ptnt_digits"


def test_config_option_is_relative_to_the_working_directory(write):
    write("runs/mine.yaml", "seed: 9")
    assert parse("--config", "runs/mine.yaml") == (Config(seed=9), TrainOptions(), "mine")
    assert parse("--config=runs/mine.yaml")[2] == "mine"


def test_overrides():
    base, _, _ = parse("--config", str(REPOSITORY / "config/demo/tnt_digits.yaml"))
    config, _, _ = parse(
        *("--config", str(REPOSITORY / "config/demo/tnt_digits.yaml")),
        *("--optimizer.lr", "1e-4", "--train.batch_size=16", "--seed", "1", "--model.se", "true", "--device", "CPU"),
        *("--model.image_size", "[64, 96]", "--data.crop_scale", "[0.5, 1]", "--limit_batches", "2"),
        *(
            "--model.structure.depth",
            "3",
            "--model.structure.mlp_ratio",
            "2e0",
            "--model.structure.inner_blocks",
            "[1, 3]",
        ),
    )
    assert (config.optimizer.lr, config.train.batch_size, config.seed) == (1e-4, 16, 1)
    assert (config.model.se, config.device, config.limit_batches) == (True, "CPU", 2)
    assert (config.model.image_size, config.data.crop_scale) == ((64, 96), (0.5, 1.0))
    expected = {**base.model.structure, "depth": 3, "mlp_ratio": 2.0, "inner_blocks": [1, 3]}
    assert config.model.structure == expected and len(expected) > 3
    assert parse("--limit_batches", "2", "--limit_batches", "null")[0].limit_batches is None


def test_data_option_keeps_a_source_that_takes_a_folder():
    config, _, _ = parse("--config", str(REPOSITORY / "config/transfer/cifar10_224.yaml"), "--data", "archives")
    assert (config.data.source, config.data.root) == ("cifar10", "archives")


@pytest.mark.parametrize("argv", [["--data", "my/images"], ["--data=my/images"]])
def test_data_option(argv):
    config, _, _ = parse(*argv)
    assert (config.data.source, config.data.root) == ("folder", "my/images")


def test_own_options():
    assert parse("--overwrite", "--resume")[1] == TrainOptions(overwrite=True, resume="auto")
    assert parse("--resume", "--overwrite")[1] == TrainOptions(overwrite=True, resume="auto")
    assert parse("--resume", "a.ckpt", "--top_k", "3")[1] == TrainOptions(resume="a.ckpt", top_k=3)


def test_positional_arguments():
    assert parse("a.png", "1e3", "null", options=PredictOptions)[1].images == ["a.png", "1e3", "null"]
    assert parse("--seed", "3", "a.png", options=PredictOptions)[1].images == ["a.png"]
    options = parse("a.png", "--sizes", "64", "96", options=PredictOptions)[1]
    assert options == PredictOptions(["a.png"], [64, 96])
    assert parse("--sizes", "64", "--", "-a.png", options=PredictOptions)[1] == PredictOptions(["-a.png"], [64])
    with pytest.raises(UserError, match=r"^train\.py: expected IMAGES, got none; see --help$"):
        parse(options=PredictOptions)


@pytest.mark.parametrize(
    "argv, message",
    [
        ("--optimzer.lr 3", "unknown option --optimzer.lr; the nearest known one is --optimizer.lr"),
        ("--optimizer.l=3", "unknown option --optimizer.l; the nearest known one is --optimizer.lr"),
        ("--lr 3", "unknown option --lr; the nearest known one is --optimizer.lr"),
        ("--batch_size 3", "unknown option --batch_size; the nearest known one is --train.batch_size"),
        (
            "--optimizer.learning_rate 1",
            "unknown option --optimizer.learning_rate; the nearest known one is --optimizer.lr",
        ),
        ("--model.drop_path 1", "unknown option --model.drop_path; the nearest known one is --model.drop_path_rate"),
        ("--optimizer.wd 1", "unknown option --optimizer.wd; the nearest known one is --optimizer.weight_decay"),
        ("--gpu 1", "unknown option --gpu; the nearest known one is --device"),
        ("--img-size 1", "unknown option --img-size; the nearest known one is --model.image_size"),
        ("--pretrained", "unknown option --pretrained; no weights come with the project: make a checkpoint"),
        ("--train.qwzx 1", "unknown option --train.qwzx; known: --train.batch_size, --train.accumulate, "),
        ("--zzz", "unknown option --zzz; known: --config, --print_config, --help, --device, "),
        ("--overwite", "unknown option --overwite; the nearest known one is --overwrite"),
        ("--overwri", "unknown option --overwri; the nearest known one is --overwrite"),
        ("--confg x", "unknown option --confg; the nearest known one is --config"),
        ("-seed 3", "unknown option -seed; the nearest known one is --seed"),
        ("--optimizer {lr:1}", "unknown option --optimizer; known: --optimizer.name, "),
        ("--model.structure.a.b 3", "unknown option --model.structure.a.b; the nearest known one is --model.structure"),
        ("--train.batch_size many", "train.batch_size: expected int, got many"),
        ("--optimizer.lr null", "optimizer.lr: expected float, got null"),
        (
            "--data.source cifar",
            f"data.source: {SOURCES}, got cifar",
        ),
        ("--model.image_size [3,", "model.image_size: expected int or [int, int] or null, got [3,"),
        ("--top_k x", "top_k: expected int, got x"),
        ("--seed=", "seed: expected int, got nothing"),
        ("--seed", "argument --seed: expected one argument; see --help"),
        ("--data", "argument --data.root: expected one argument; see --help"),
        ("--config", "argument --config: expected one argument; see --help"),
        ("--schedule.epochs 1:30", "schedule.epochs: expected int, got 1:30"),
        ("--schedule.epochs 0b11", "schedule.epochs: expected int, got 0b11"),
        ("--schedule.epochs 1_0", "schedule.epochs: expected int, got 1_0"),
        ("--schedule.epochs \u0663", "schedule.epochs: expected int, got \u0663"),
        ("--schedule.epochs 1e1", "schedule.epochs: expected int, got 1e1"),
        ("--schedule.epochs '5'", "schedule.epochs: expected int, got '5'"),
        ("--model.se yes", "model.se: expected bool, got yes"),
        ("--model.structure {a:&a[*a]}", "model.structure: expected dict, got {a:&a[*a]}"),
        ("--model.structure.depth &a[*a,", "model.structure.depth: expected a value, got &a[*a,: "),
        (f"--model.structure {'{a:' * 50000}", "model.structure: expected dict, got {a:{a:"),
        (f"--model.structure.depth {'[' * 50000}", "model.structure.depth: expected a value, got [[[["),
        (f"--schedule.epochs 1{400 * '0'}", "schedule.epochs: expected int, got 1000"),
        (
            f"--schedule.epochs {10**30}",
            "schedule.epochs is 1000000000000000000000000000000: expected from 1 to 1000000",
        ),
        (f"--output {'x' * 5000}", "output is xxxx"),
        (f"--config {'x/' * 2500}", "config is x/x/"),
        (f"--resume {'x' * 5000}", "resume is xxxx"),
        (f"--top_k {10**9 + 1}", "top_k is 1000000001: expected from 0 to 1000000000"),
        ("--output a\udcffb", 'output is "a\\udcffb": expected UTF-8 text without control characters'),
        ("--config a\udcffb", 'config is "a\\udcffb": expected UTF-8 text without control characters'),
        ("--output a\nb", 'output is "a\\nb": expected UTF-8 text without control characters'),
        ("--a\nb", 'unknown option "--a\\nb"; '),
        ("a\nb", '"unrecognized arguments: a\\nb"; see --help'),
        ("mine.yaml", "unrecognized arguments: mine.yaml; see --help"),
        ("--overwrite yes", "unrecognized arguments: yes; see --help"),
        ("--train.batch_size 0", "train.batch_size is 0: expected from 1 to 1000000"),
        ("--data.root x", "data.root is x: expected null, because data.source is 'digits'; to use the folder, set"),
    ],
)
def test_bad_command_line(argv, message, capsys):
    with pytest.raises(UserError) as error:
        parse(*argv.split(" "))
    assert str(error.value).startswith(f"train.py: {message}")
    assert str(error.value).isprintable() and len(str(error.value)) < 700
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("path", ["", "nowhere.yaml"])
def test_config_option_without_a_file(write, path):
    with pytest.raises(UserError, match="expected a YAML file: "):
        parse("--config", path)


def test_print_config_round_trip(write, capsys):
    argv = ["--seed", "5", "--model.structure.depths", "[1, 2]", "--data", "x"]
    config, _, _ = parse(*argv)
    with pytest.raises(SystemExit) as stop:
        parse(*argv, "--print_config")
    assert stop.value.code == 0
    printed = write("mine.yaml", capsys.readouterr().out)
    assert load_config(printed) == config
    assert parse("--config", printed)[0] == config


def test_print_config_needs_no_positional_argument(capsys):
    with pytest.raises(SystemExit):
        parse("--print_config", options=PredictOptions)
    assert capsys.readouterr().out.startswith("device: null\nseed: 42\n")


def test_help_lists_every_key(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as stop:
        parse("--help", "--seed", "3")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    config, _, _ = parse()
    for key in keys():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  --{key} "))
        described = lines[at] + lines[at + 1] if "(type: " not in lines[at] else lines[at]
        default = value(config, key)
        shown = list(default) if isinstance(default, tuple) else "null" if default is None else default
        assert described.endswith(f", default: {shown})"), described
        words = described.partition("(type: ")[0].split()
        assert len(words) > 3, f"{key} has no help text"
    titles = ["this command:", "run:", "model:", "data:", "optimizer:", "schedule:", "train:"]
    assert [line for line in lines if line in titles] == titles
    assert "--overwrite" in text and "delete the run that the folder holds." in text
    assert "continue a run, from its last checkpoint or from this one. (type: str | null, default: null)" in text
    assert "how many labels, 100% of them at most. (type: int, default: 5)" in text
    assert "--data DIR" in text and "ptnt_digits.yaml" in text


def test_importing_is_light():
    code = "import sys; import src.config; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True).stdout == b""


def test_short_names_of_options():
    config, _, _ = parse("--on_bad_image", "skip")
    assert config.data.on_bad_image == "skip" and config.data.source == "digits"
    config, _, _ = parse("--data=x", "--on_bad_image=error")
    assert (config.data.root, config.data.source, config.data.on_bad_image) == ("x", "folder", "error")
    config, _, _ = parse("--model", "tnt_s_patch16_224")
    assert config.model.name == "tnt_s_patch16_224"


def test_what_the_command_line_itself_says():
    line = parse_command_line("train.py", "", TrainOptions, ["--model.structure.depth", "2", "--data.crop_pct", "1"])
    assert line.given == {"model": {"structure": {"depth": 2}}, "data": {"crop_pct": 1.0}}
    demo = str(REPOSITORY / "config/demo/tnt_digits.yaml")
    assert parse_command_line("train.py", "", TrainOptions, ["--config", demo]).given == {"config": demo}


def test_a_name_alone_is_the_published_variant():
    """The structure of the default file is that of another network."""
    published = parse("--model.name", "tnt_s_patch16_224", "--model.num_classes", "7")[0].model
    assert published.structure == {} and published.image_size is None and published.num_classes == 7
    default = parse()[0].model
    assert parse("--model.name", default.name)[0].model == default and default.structure
