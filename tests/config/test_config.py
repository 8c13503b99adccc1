"""Configuration: files on bases, and the one line that every mistake gives."""

import os
import warnings
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

import pytest

from src.config import Config, dump_config, load_config, run_name
from src.config.rules import RULES
from src.config.sections import flat_hints
from src.errors import UserError
from tests.config.test_command_line import SOURCES, parse

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("config/**/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_config(path):
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    config = load_config(REPOSITORY / path)
    if not path.startswith("config/base/"):
        assert f"# Command: python train.py --config {path}" in text
        assert config.model.name == Path(path).stem or not path.startswith("config/classification/")


def test_shipped_recipes():
    tnt = load_config(REPOSITORY / "config/classification/tnt_s_patch16_224.yaml")
    ptnt = load_config(REPOSITORY / "config/classification/ptnt_s_patch16_256.yaml")
    assert (tnt.schedule.warmup_epochs, ptnt.schedule.warmup_epochs) == (5, 20)
    for config in (tnt, ptnt):
        assert (config.optimizer.lr, config.optimizer.weight_decay, config.optimizer.clip_norm) == (1e-3, 0.05, None)
        assert (config.schedule.epochs, config.schedule.cooldown_epochs) == (300, 10)
        assert (config.model.drop_path_rate, config.train.label_smoothing) == (0.1, 0.1)


def test_one_key(write):
    expected = Config(seed=7)
    assert load_config(write("a.yaml", "seed: 7\n")) == expected


def test_bases_merge_key_by_key(write):
    write(
        "base/bottom.yaml", "seed: 1\noptimizer: {lr: 0.5, clip_norm: 5.0}\nmodel: {structure: {depth: 12, sr: [4, 2]}}"
    )
    write(
        "base/middle.yaml", "base: bottom.yaml\nseed: 2\noptimizer: {weight_decay: 0.3}\nmodel: {structure: {width: 8}}"
    )
    write("leaf.yaml", "base: base/middle.yaml\noptimizer: {clip_norm: null}\nmodel: {structure: {depth: 4, sr: [1]}}")
    config = load_config("leaf.yaml")
    assert config.seed == 2
    assert (config.optimizer.lr, config.optimizer.weight_decay, config.optimizer.clip_norm) == (0.5, 0.3, None)
    assert config.model.structure == {"depth": 4, "sr": [1], "width": 8}
    assert config.optimizer.beta2 == 0.999  # nobody's key keeps its default


def test_values_have_the_type_of_their_field(write):
    config = load_config(
        write(
            "a.yaml",
            "optimizer: {lr: 1e-3, eps: 2E-8, weight_decay: 0}\ndata: {crop_scale: [1e-1, 1]}\n"
            "model: {image_size: [192, 256], structure: {ratio: 4e0, ratios: [1e0, .5e-1], word: e3}}",
        )
    )
    assert (config.optimizer.lr, config.optimizer.eps) == (0.001, 2e-8)
    assert config.optimizer.weight_decay == 0.0 and isinstance(config.optimizer.weight_decay, float)
    assert config.data.crop_scale == (0.1, 1.0)
    assert config.model.image_size == (192, 256)
    assert config.model.structure == {"ratio": 4.0, "ratios": [1.0, 0.05], "word": "e3"}


NUMBERS = [("010", 10), ("08", 8), ("0o17", 15), ("0x1F", 31), ("+12", 12), ("007", 7)]


@pytest.mark.parametrize("text, number", NUMBERS)
def test_numbers_are_those_of_yaml_1_2_in_files_and_options(write, text, number):
    path = write("a.yaml", f"schedule: {{epochs: {text}}}\nmodel: {{structure: {{depth: {text}}}}}")
    config = load_config(path)
    assert (config.schedule.epochs, config.model.structure) == (number, {"depth": number})
    argv = ["--config", path, "--schedule.epochs", text, "--model.structure.depth", text, "--optimizer.lr_batch_size"]
    config = parse(*argv, text)[0]
    assert (config.schedule.epochs, config.optimizer.lr_batch_size) == (number, number)
    assert config.model.structure == {"depth": number}
    assert parse("--model.structure", f"{{depth: {text}}}")[0].model.structure["depth"] == number


@pytest.mark.parametrize("text", ["1:30", "yes", "No", "on", "OFF", "1_000", "0b11", "2024-01-01", "<<", "="])
def test_what_is_text_in_yaml_1_2_stays_text(write, text):
    config = load_config(write("a.yaml", f"output: {text}\nmodel: {{structure: {{word: {text}}}}}"))
    assert (config.output, config.model.structure) == (text, {"word": text})
    assert parse("--config", "a.yaml", "--model.structure.word", text)[0].model.structure == {"word": text}
    assert load_config(write("b.yaml", dump_config(config))) == config


def test_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfseed: 7\n")
    assert load_config(tmp_path / "a.yaml") == Config(seed=7)


def test_a_pipe_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="a.yaml: expected a YAML file: it is no regular file"):
        load_config(tmp_path / "a.yaml")


def test_a_tower_of_bases(write):
    for number in range(30):
        write(f"{number}.yaml", f"base: {number + 1}.yaml\nseed: {number}")
    write("30.yaml", "seed: 30")
    assert load_config("10.yaml").seed == 10
    with pytest.raises(UserError, match=r"^0\.yaml: base: expected at most 20 files on top of each other, got more$"):
        load_config("0.yaml")


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "optimizer: {learnin_rate: 1}",
            "a.yaml: unknown key 'optimizer.learnin_rate'; the nearest known key is 'optim",
        ),
        ("optimizer: {lrr: 1}", "a.yaml: unknown key 'optimizer.lrr'; the nearest known key is 'optimizer.lr'"),
        ("optimiser: {lr: 1}", "a.yaml: unknown key 'optimiser'; the nearest known key is 'optimizer'"),
        ("lr: 1", "a.yaml: unknown key 'lr'; the nearest known key is 'optimizer.lr'"),
        ("train: {epochs: 3}", "a.yaml: unknown key 'train.epochs'; the nearest known key is 'schedule.epochs'"),
        ("bases: b.yaml", "a.yaml: unknown key 'bases'; the nearest known key is 'base'"),
        ("optimizer.lr: 1", "a.yaml: unknown key 'optimizer.lr'; write it as 'lr:' in the section 'optimizer:'"),
        ("1: 2", "a.yaml: line 1: expected a name as key, got 1"),
        ("? [seed]\n: 1", "a.yaml: line 1: expected a name as key, got ['seed']"),
        ("train: {batch_size: many}", "a.yaml: train.batch_size: expected int, got many"),
        ("train: {batch_size: 3.5}", "a.yaml: train.batch_size: expected int, got 3.5"),
        ("train: {batch_size: true}", "a.yaml: train.batch_size: expected int, got true"),
        ("train: {batch_size: ''}", 'a.yaml: train.batch_size: expected int, got ""'),
        ("train: {batch_size: '4'}", 'a.yaml: train.batch_size: expected int, got "4"'),
        ("train: {batch_size: 1:30}", "a.yaml: train.batch_size: expected int, got 1:30"),
        ("train: {batch_size: 1_000}", "a.yaml: train.batch_size: expected int, got 1_000"),
        ("train: {batch_size: 0b11}", "a.yaml: train.batch_size: expected int, got 0b11"),
        ("train: {ema_warmup: yes}", "a.yaml: train.ema_warmup: expected bool, got yes"),
        ("train: {ema_warmup: off}", "a.yaml: train.ema_warmup: expected bool, got off"),
        ("optimizer: {lr: 1e400}", "a.yaml: line 1: expected a number between 1e-323 and 1e308, got 1e400"),
        ("optimizer:\n  lr: 1e-400", "a.yaml: line 2: expected a number between 1e-323 and 1e308, got 1e-400"),
        ("train: {batch_size: 1" + 400 * "0" + "}", "a.yaml: line 1: expected numbers of at most 100 characters"),
        ("train: {batch_size: null}", "a.yaml: train.batch_size: expected int, got null"),
        ("optimizer: {clip_norm: [1]}", "a.yaml: optimizer.clip_norm: expected float or null, got [1]"),
        ("output: 3", "a.yaml: output: expected str, got 3"),
        ("model: {se: 1}", "a.yaml: model.se: expected bool, got 1"),
        ("model: {structure: [1]}", "a.yaml: model.structure: expected dict, got [1]"),
        ("model: {structure: null}", "a.yaml: model.structure: expected dict, got null"),
        (
            "model: {image_size: [1, 2, 3]}",
            "a.yaml: model.image_size: expected int or [int, int] or null, got [1, 2, 3]",
        ),
        ("data: {crop_scale: 0.5}", "a.yaml: data.crop_scale: expected [float, float], got 0.5"),
        ("data: {source: cifar}", f"a.yaml: data.source: {SOURCES}, got cifar"),
        ("device: cpu", "a.yaml: device: expected 'CPU' or 'GPU' or 'Ascend' or null, got cpu"),
        ("train: 3", "a.yaml: train: expected a section of 'key: value' lines, got 3"),
        ("train:", "a.yaml: train: expected a section of 'key: value' lines, got null"),
        ("", "a.yaml: expected sections of 'key: value' lines, got null"),
        ("- seed: 1", "a.yaml: expected sections of 'key: value' lines, got [{"),
        ("seed: 1\nmodel: {name: [", "a.yaml: not valid YAML in line 2: "),
        ("seed: 1\nseed: 2", "a.yaml: line 2: 'seed' appears twice"),
        ("train:\n  log_every: 1\n  log_every: 2", "a.yaml: line 3: 'log_every' appears twice"),
        (
            "seed: !!python/object/apply:os.getcwd []",
            "a.yaml: line 1: expected a value without a tag, got 'tag:yaml.org,2002:python/object/apply:os.getcwd'",
        ),
        ("seed: \x07", "a.yaml: not valid YAML in line 1: unacceptable character #x0007"),
        ("seed: 2024-13-01", "a.yaml: seed: expected int, got 2024-13-01"),
        ('output: "a\\0b"', 'a.yaml: output is "a\\u0000b": expected UTF-8 text without control characters'),
        ("output: " + "x" * 256, "a.yaml: output is xxxxxxxx"),
        ("output: " + "x/" * 2000, "a.yaml: output is x/x/x/x/"),
        ('base: "a\\0b"', 'a.yaml: base: expected the path of one YAML file, got "a\\u0000b"'),
        ("base: " + "x" * 5000, "a.yaml: base: expected the path of one YAML file, got xxxxxx"),
        ("x" * 500 + ": 1", "a.yaml: unknown key 'xxxxxx"),
        ("? |\n  a\n  b\n: 1", "a.yaml: unknown key '\"a\\nb\\n\"'; known: "),
        ("base: [b.yaml, c.yaml]", 'a.yaml: base: expected the path of one YAML file, got ["b.yaml", "c.yaml"]'),
        ("base:", "a.yaml: base: expected the path of one YAML file, got null"),
        ("base: b.yaml", "b.yaml (base of a.yaml): expected a YAML file: No such file"),
        ("base: a.yaml", "a.yaml: base: expected no circle, got a.yaml -> a.yaml"),
    ],
)
def test_bad_file(write, text, message):
    write("a.yaml", text)
    with pytest.raises(UserError) as error:
        load_config("a.yaml")
    assert str(error.value).startswith(message)
    assert str(error.value).isprintable() and len(str(error.value)) < 400


def test_mistakes_are_blamed_on_the_file_that_makes_them(write):
    write("a.yaml", "base: base/b.yaml")
    write("base/b.yaml", "base: ../a.yaml\nseed: 1")
    with pytest.raises(UserError, match=r"^a\.yaml: base: expected no circle, got a\.yaml -> base/b\.yaml -> a\.yaml$"):
        load_config("a.yaml")
    write("base/b.yaml", "sed: 1")
    with pytest.raises(UserError, match=r"^base/b\.yaml: unknown key 'sed'; .* 'seed'$"):
        load_config("a.yaml")
    write("base/b.yaml", "seed: one")
    with pytest.raises(UserError, match=r"^base/b\.yaml: seed: expected int, got one$"):
        load_config("a.yaml")


def test_a_leaf_does_not_hide_a_mistake_of_its_base(write):
    write("b.yaml", "seed: one")
    with pytest.raises(UserError, match=r"^b\.yaml: seed"):
        load_config(write("a.yaml", "base: b.yaml\nseed: 1"))


def test_unreadable_file(write, tmp_path):
    with pytest.raises(UserError, match=r"^nowhere\.yaml: expected a YAML file: No such file"):
        load_config("nowhere.yaml")
    with pytest.raises(UserError, match="expected a YAML file: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"output: \xff\xfe")
    with pytest.raises(UserError, match=r"^a\.yaml: not valid YAML: 'utf-8' codec"):
        load_config("a.yaml")


@pytest.mark.parametrize(
    "key, allowed, refused",
    [
        ("seed", [0, 4294967295], [-1, 4294967296]),
        ("output", ["x"], [""]),
        ("limit_batches", [1, None], [0]),
        ("model.num_classes", [1, None], [0]),
        ("model.in_channels", [1], [0]),
        ("model.image_size", [1, [1, 2], None], [0, [0, 2], [2, -1]]),
        ("model.drop_rate", [0.0, 0.99], [-0.1, 1.0, ".nan"]),
        ("model.attn_drop_rate", [0.0, 0.99], [-0.1, 1.0]),
        ("model.drop_path_rate", [0.0, 0.99], [-0.1, 1.0]),
        ("data.root", ["x", None], [""]),
        ("data.classes", ["x.txt", None], [""]),
        ("data.train_list", ["x.csv", None], [""]),
        ("data.val_list", ["x.csv", None], [""]),
        ("data.val_split", [0.1, 0.99, None], [0, 1, -0.1, ".nan"]),
        ("data.crop_scale", [[0.1, 1], [0.5, 0.5]], [[0, 1], [0.5, 0.4], [0.5, 1.1], "[.nan, 1]"]),
        ("data.crop_ratio", [[0.5, 2]], [[0, 1], [2, 0.5], "[1, .inf]"]),
        ("data.flip_prob", [0, 1], [-0.1, 1.1]),
        ("data.color_jitter", [0, 0.4], [-0.1, ".nan"]),
        ("data.erase_prob", [0, 1], [-0.1, 1.1]),
        ("data.mixup", [0, 0.8], [-0.1, ".inf"]),
        ("data.cutmix", [0, 1.0], [-0.1, ".inf"]),
        ("data.mix_prob", [0, 1], [-0.1, 1.1]),
        ("data.mix_switch_prob", [0, 1], [-0.1, 1.1]),
        ("data.repeats", [1, 3], [0]),
        ("data.crop_pct", [0.1, 1], [0, 1.1]),
        ("data.workers", [0, 1], [-1]),
        ("optimizer.lr", [0.1], [0, -1, ".inf", ".nan"]),
        ("optimizer.lr_batch_size", [1024, None], [0]),
        ("optimizer.weight_decay", [0], [-0.1, ".inf"]),
        ("optimizer.beta1", [0, 0.9], [1, -0.1]),
        ("optimizer.beta2", [0, 0.9], [1, -0.1]),
        ("optimizer.eps", [1e-8], [0]),
        ("optimizer.clip_norm", [1, None], [0, -1]),
        ("schedule.epochs", [5], [0]),
        ("schedule.warmup_epochs", [0, 300], [-1]),
        ("schedule.warmup_lr", [0, 1e-3], [-1e-6, 1.1e-3]),
        ("schedule.min_lr", [0, 1e-3], [-1e-6, 1.1e-3]),
        ("schedule.cooldown_epochs", [0], [-1]),
        ("train.batch_size", [1], [0, -1]),
        ("train.label_smoothing", [0, 0.5], [-0.1, 1]),
        ("train.log_every", [1], [0]),
        ("train.eval_every", [1], [0]),
    ],
)
def test_value_rules(write, key, allowed, refused):
    base = write("base.yaml", "seed: 0")  # the dataclasses' defaults
    for given in allowed:
        parse("--config", base, f"--{key}={'null' if given is None else given}")
    for given in refused:
        with pytest.raises(UserError, match=rf"^train\.py: {key}( is .*)?: expected "):
            parse("--config", base, f"--{key}={given}")


def ends(hint):
    """Values far below and far above every number of a type, and not a number."""
    return [-(10**90), 10**90, *([float("nan")] if hint is float else [])]


def test_every_number_has_a_rule_with_both_ends():
    for key, hint in flat_hints(Config).items():
        for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]:
            if part in (int, float):
                wrong = ends(part)
            elif get_origin(part) is tuple:
                wrong = [(end, end) for end in ends(get_args(part)[0])]
            else:
                continue
            for value in wrong:
                assert not RULES[key].holds(value), f"{key} may be {value}"


def test_value_messages(write):
    with pytest.raises(UserError) as error:
        load_config(write("a.yaml", "data: {crop_scale: [0.9, 0.1]}"))
    assert str(error.value) == "a.yaml: data.crop_scale is [0.9, 0.1]: expected [low, high] with 0 < low <= high <= 1"


def test_a_warm_up_longer_than_the_run_is_shortened(write):
    message = r"^a\.yaml: schedule\.warmup_epochs is 5, and schedule\.epochs 3: the warm-up is shortened to 2 epochs$"
    with pytest.warns(UserWarning, match=message):
        config = load_config(write("a.yaml", "schedule: {epochs: 3}"))
    assert (config.schedule.warmup_epochs, config.schedule.epochs) == (2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config(write("b.yaml", "schedule: {epochs: 5}"))
        load_config(write("c.yaml", "schedule: {epochs: 1, decay: step}"))


@pytest.mark.parametrize("path", [path for path in SHIPPED if "/transfer/" in path])
def test_a_transfer_recipe_runs_for_one_epoch(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = parse("--config", str(REPOSITORY / path), "--schedule.epochs", "1")[0]
    assert (config.schedule.epochs, config.schedule.warmup_epochs) == (1, 0)


@pytest.mark.parametrize("key,value", [("warmup_steps", "500"), ("decay_epochs", "[8, 11]")])
def test_a_cosine_has_no_keys_of_steps(write, key, value):
    with pytest.raises(UserError) as error:
        load_config(write("a.yaml", f"schedule: {{{key}: {value}}}"))
    assert str(error.value) == (
        f"a.yaml: schedule.{key} is {value}: it has a meaning where schedule.decay is 'step'; a cosine warms up over "
        "schedule.warmup_epochs"
    )
    load_config(write("a.yaml", f"schedule: {{decay: step, {key}: {value}}}"))


def test_folder_of_images_that_would_be_ignored(write):
    with pytest.raises(UserError, match=r"^a\.yaml: data\.root is x: expected null, because data\.source is 'digits'"):
        load_config(write("a.yaml", "data: {source: digits, root: x}"))


@pytest.mark.parametrize("path", SHIPPED)
def test_dump_round_trip(write, path):
    config = load_config(REPOSITORY / path)
    assert load_config(write("a.yaml", dump_config(config))) == config


def test_dump_keeps_what_yaml_would_misread(write):
    config = Config(output="1e-3", device="CPU")
    config.model.image_size = (192, 256)
    config.model.structure = {
        "name": "layer norm #1",
        "rate": 1e-7,
        "dims": (1, 2),
        "on": None,
        "ü": "é",
        "same": [[], []],
    }
    text = dump_config(config)
    config.model.structure["dims"] = [1, 2]
    assert load_config(write("a.yaml", text)) == config
    assert "crop_scale: [0.08, 1.0]\n" in text and "ü" in text


def test_run_name(tmp_path, monkeypatch):
    assert run_name("config/demo/ptnt_digits.yaml") == "ptnt_digits"
    assert run_name("output/ptnt_digits/config.yaml") == "ptnt_digits"
    (tmp_path / "some_run").mkdir()
    monkeypatch.chdir(tmp_path / "some_run")
    assert run_name("config.yaml") == "some_run"
