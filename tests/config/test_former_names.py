"""Former names of arguments: one table, taken wherever arguments come from, named once where a user wrote them."""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

import eval as eval_script
import train as train_script
from src.config import Config, changed_keys, load_config, parse_command_line
from src.config.former_names import FORMER_NAMES, current_names
from src.config.sections import ModelConfig
from src.detection import create_detector
from src.errors import UserError
from src.export.exported_file import read_sidecar, sha256_of, sidecar_of
from src.models import create_model, get_variant, list_models
from src.models.arguments import RULES
from src.tasks.configured_card import create_card
from src.tasks.loaded_checkpoint import load_checkpoint
from src.weights.averaging import average_checkpoints
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.checkpoint_file import read_checkpoint_file, write_checkpoint_file
from src.weights.described_network import create_network
from src.weights.detector_card import DetectorCard
from src.weights.model_card import ModelCard
from tests.tiny_detectors import TINY_BACKBONE

NEW = {
    "depths": [1, 1, 1, 1],
    "inner_dims": [4, 4, 4, 4],
    "inner_num_heads": [1, 2, 2, 2],
    "outer_dims": [8, 8, 8, 8],
    "outer_num_heads": [2, 2, 4, 4],
}
FORMER_OF = {new: old for old, new in FORMER_NAMES.items()}
OLD = {FORMER_OF.get(name, name): value for name, value in NEW.items()}
CARD = ModelCard("ptnt_ti_patch16_192", NEW, ["a", "b"], (64, 64), 3, (0.5,) * 3, (0.5,) * 3, 0.9)
WARNED = ["inner_heads is called inner_num_heads now", "outer_heads is called outer_num_heads now"]


@pytest.fixture
def warned():
    """The warnings of a test, less what comes before the name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FutureWarning)
        yield lambda: [str(warning.message).rpartition(": ")[2] for warning in caught]


@dataclass
class NoOptions:
    """None."""


def former(text):
    for old, new in FORMER_NAMES.items():
        text = text.replace(new, old)
    return text


def test_the_table():
    assert not set(FORMER_NAMES) & set(RULES) and set(FORMER_NAMES.values()) <= set(RULES)
    assert current_names(OLD) == NEW and list(current_names(OLD)) == list(NEW)
    assert current_names({"backbone": OLD, "window": 8}) == {"backbone": NEW, "window": 8}
    assert current_names({1: 2, "backbone": None}) == {1: 2, "backbone": None}
    with pytest.raises(UserError, match="x: inner_heads is a former name of inner_num_heads: leave it out"):
        current_names({"inner_heads": 1, "inner_num_heads": 1}, "x")


def test_no_network_has_another_spelling_of_heads():
    for name in list_models():
        assert not set(get_variant(name).structure) & set(FORMER_NAMES)


def test_create_model(warned):
    nets = [create_model("ptnt_ti_patch16_192", image_size=64, num_classes=2, **of) for of in (OLD, NEW)]
    assert warned() == WARNED
    shapes = [{p.name: p.shape for p in net.get_parameters()} for net in nets]
    assert shapes[0] == shapes[1] and nets[0].stages[1].relative_pos.shape[1] == 2


def test_create_detector(warned):
    backbone = {FORMER_OF.get(name, name): value for name, value in TINY_BACKBONE.items()}
    create_detector("retinanet_ptnt_ti", 2, (64, 64), fpn_channels=8, stacked_convs=0, backbone=backbone)
    assert warned() == WARNED


def write(name, structure, base=None):
    lines = [f"  {key}: {value}" for key, value in structure.items()]
    text = "model:\n  name: ptnt_ti_patch16_192\n  structure:\n" + "".join(f"  {line}\n" for line in lines)
    Path(name).write_text((f"base: {base}\n" if base else "") + text)
    return name


def test_configuration_files_and_their_bases(warned):
    write("base.yaml", NEW)
    config = load_config(write("old.yaml", {"outer_heads": [1, 1, 1, 1]}, base="base.yaml"))
    assert config.model.structure == {**NEW, "outer_num_heads": [1, 1, 1, 1]}
    assert warned() == WARNED[1:]
    with pytest.raises(UserError, match="both.yaml: model.structure: inner_heads is a former name of inner_num_heads"):
        load_config(write("both.yaml", {**OLD, "inner_num_heads": [1, 1, 1, 1]}))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model.structure.outer_heads", "[1, 1, 1, 1]"], {**NEW, "outer_num_heads": [1, 1, 1, 1]}),
        (["--model.structure", "{outer_heads: [1, 1, 1, 1]}"], {**NEW, "outer_num_heads": [1, 1, 1, 1]}),
    ],
)
def test_options(warned, options, expected):
    write("new.yaml", NEW)
    line = parse_command_line("x.py", "", NoOptions, ["--config", "new.yaml", *options])
    assert line.config.model.structure == expected
    assert line.given["model"]["structure"] == {"outer_num_heads": [1, 1, 1, 1]}
    assert warned() == WARNED[1:]


def test_configurations_in_python(warned):
    config = Config(model=ModelConfig(name="ptnt_ti_patch16_192", image_size=64, structure=dict(OLD)))
    assert create_card(config, ["a", "b"]).arguments == NEW
    assert set(warned()) == set(WARNED)


def test_cards(warned):
    assert ModelCard.from_dict({**CARD.to_dict(), "arguments": OLD}, "x") == CARD
    detector = DetectorCard(
        "retinanet_ptnt_ti", {"backbone": NEW}, ["a"], [1], (64, 64), 64, 64, (0.5,) * 3, (0.5,) * 3
    )
    assert DetectorCard.from_dict({**detector.to_dict(), "arguments": {"backbone": OLD}}, "x") == detector
    assert warned() == []


def test_a_saved_configuration_is_the_same(warned):
    config = Config(model=ModelConfig(name="ptnt_ti_patch16_192", structure=dict(NEW)))
    before = json.loads(former(json.dumps(asdict(config))))
    assert changed_keys(before, config) == [] and warned() == []


def make_former(path):
    """Rewrites a checkpoint as an earlier version left it."""
    content = read_checkpoint_file(path)
    texts = [(name, former(text)) for name, text in content.texts.items()]
    assert texts != list(content.texts.items())
    with path.open("wb") as file:
        write_checkpoint_file(file, [*content.arrays.items(), *texts])


def says_former_names(path):
    return any(old in text for text in read_checkpoint_file(path).texts.values() for old in FORMER_NAMES)


def test_a_checkpoint_of_before_is_taken(warned):
    old, new = Path("old.ckpt"), Path("new.ckpt")
    net = create_network(CARD)
    for path in (old, new):
        save_checkpoint(path, net.get_parameters(), CARD)
    make_former(old)
    assert says_former_names(old) and not says_former_names(new)
    assert read_checkpoint(old).card == CARD
    loaded, card = load_checkpoint(old)
    assert card == CARD
    for parameter, expected in zip(loaded.get_parameters(), net.get_parameters(), strict=True):
        assert np.array_equal(parameter.asnumpy(), expected.asnumpy())
    average_checkpoints([old, new], "mean.ckpt")
    assert not says_former_names(Path("mean.ckpt")) and warned() == []


RUN = """
model:
  name: ptnt_ti_patch16_192
  image_size: 64
  structure:
    depths: [1, 1, 1, 1]
    inner_dims: [4, 4, 4, 4]
    inner_num_heads: [1, 2, 2, 2]
    outer_dims: [8, 8, 8, 8]
    outer_num_heads: [2, 2, 4, 4]
data: {source: digits, workers: 0}
schedule: {epochs: 2, warmup_epochs: 0, cooldown_epochs: 0}
train: {batch_size: 4}
limit_batches: 2
output: runs
"""


@pytest.mark.slow
def test_a_run_of_before_goes_on(warned):
    Path("tiny.yaml").write_text(RUN)
    train_script.main(["--config", "tiny.yaml", "--schedule.epochs", "1"])
    config, last = Path("runs/tiny/config.yaml"), Path("runs/tiny/checkpoints/last.ckpt")
    config.write_text(former(config.read_text()))
    for path in (last, last.with_name("best.ckpt")):
        make_former(path)
    eval_script.main(["--config", "tiny.yaml"])
    assert warned() == []
    eval_script.main(["--config", str(config)])
    assert warned() == WARNED
    train_script.main(["--config", "tiny.yaml", "--resume", "--allow_changes"])
    assert read_checkpoint(last).progress["step"] == 4 and not says_former_names(last)
    assert warned() == WARNED and load_config(config) == load_config("tiny.yaml")


def test_its_exported_file_is_described(warned):
    Path("net.mindir").write_bytes(b"network")
    described = {
        "file_format": "MINDIR",
        "sha256": sha256_of(Path("net.mindir")),
        "file": "net.mindir",
        "input": {
            "name": "images",
            "layout": "NCHW",
            "shape": [None, 3, 64, 64],
            "dtype": "float32",
            "normalized": True,
        },
        "output": {"content": "logits", "names": ["logits"], "shapes": [[None, 2]], "dtype": "float32"},
        "precision": "float32",
        "encryption": None,
        "model": json.loads(former(json.dumps(CARD.to_dict()))),
        "checkpoint": {"file": "best.ckpt", "sha256": "0" * 64},
        "mindspore": "2.10.0",
        "comparison_with_network": {"largest_difference": 1e-7},
    }
    sidecar_of(Path("net.mindir")).write_text(json.dumps(described))
    assert read_sidecar(Path("net.mindir")).card == CARD and warned() == []
