"""Command lines: options of every command with odd values, and what follows from them up to the network."""

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

from mindspore.nn.utils import no_init_parameters

from benchmarks.fuzz_targets.config import LONGEST, SPELT, is_same
from benchmarks.fuzz_targets.target import SilentChange
from eval import EvalOptions
from export import ExportOptions
from features import FeatureOptions
from predict import PredictOptions
from src.config import Config, flat_values, parse_command_line
from src.models import resolve_arguments
from src.tasks.classification import Classification
from src.tasks.configured_card import create_card
from src.weights.model_card import ModelCard
from train import TrainOptions
from visualize import VisualizeOptions

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = {
    "train.py": TrainOptions,
    "eval.py": EvalOptions,
    "export.py": ExportOptions,
    "predict.py": PredictOptions,
    "visualize.py": VisualizeOptions,
    "features.py": FeatureOptions,
}
CONFIGS = [str(REPOSITORY / f"config/demo/{name}_digits.yaml") for name in ("tnt", "ptnt", "t2t")]
ODD = (
    *(
        "a\udcff",
        "a\nb",
        "\x1b[31m",
        "x" * 5000,
        "x/" * 2500,
        "y" * 255,
        "&a [*a]",
        "{a: &a [*a]}",
        "[" * 5000,
        "{1: 2}",
    ),
    *("{self: 3, name: x}", "{depth: many}", "{depth: -1}", "{depth: 100000000}", "{outer_num_heads: 0}", "{se: true}"),
    *("{inner_blocks: [[1]]}", "{depths: [1, 1, 1]}", "{depths: [1, 1, 1, many]}", "{mlp_ratio: .nan}", "{depth: 010}"),
    *("{embed_dim: 0}", "{tokens_type: 3}", "{block_type: x}", "{num_heads: [2]}", "{image_size: 0}", "{drop_rate: 2}"),
    *("16384", "1600000", "1000000000", str(10**18), str(10**30), "9" * 5000, "1e-9", "1e-320", ".inf", ".nan", "-1"),
    *(
        "[16, 32]",
        "[64, 64]",
        "[0, 64]",
        "[1e400, 0]",
        "[.nan, .nan]",
        "digits",
        "float16",
        "tnt_s_patch16_224",
        "-",
        "",
    ),
)
ENTRIES = (
    "depth",
    "depths",
    "inner_blocks",
    "outer_dim",
    "mlp_ratio",
    "qkv_bias",
    "block_type",
    "sr_ratios",
    "self",
    "1",
)
SMALL = 128
"""Networks are built where no number is larger."""


class Options:
    """Mutants: a command, its arguments, and the spelling of each option that has a known meaning."""

    def __init__(self, folder: Path):
        self.keys = [key for key, _ in flat_values(Config())]

    def draw(self, random: Random) -> tuple[str, list[str], dict[str, str]]:
        command = random.choice(list(COMMANDS))
        own = [option.name for option in fields(COMMANDS[command]) if option.name != "images"]
        argv, spelt = ["--config", random.choice(CONFIGS)], {}
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            kind = random.random()
            if kind < 0.6:
                key = random.choice(self.keys)
            elif kind < 0.75:
                key = random.choice(own)
            elif kind < 0.85:
                key = f"model.structure.{random.choice(ENTRIES)}"
            elif kind < 0.95:
                key = "model.structure"
            else:
                key = random.choice(("model", "data", "on_bad_image", "print_config", "lr", "train.batchsize", "x\n"))
            values = [value for value in ODD if value.startswith("{")] if key == "model.structure" else [*SPELT, *ODD]
            value = random.choice(values)
            argv += [f"--{key}={value}"] if value.startswith("-") or random.random() < 0.3 else [f"--{key}", value]
            spelt.pop(key, None)
            if value in SPELT and key in self.keys and f"--{key}" not in " ".join(argv[2:-2]):
                spelt[key] = value
        images = random.choice(([], ["a.png"], ["x" * 300], ["a\udcff"])) if command == "predict.py" else []
        return command, argv + images, spelt

    def read(self, mutant: tuple[str, list[str], dict[str, str]]) -> None:
        command, argv, spelt = mutant
        with _in_time(), contextlib.redirect_stdout(io.StringIO()):
            try:
                config = parse_command_line(command, "", COMMANDS[command], argv).config
            except SystemExit as end:  # --print_config
                if end.code != 0:
                    raise
                return
        values = dict(flat_values(config))
        for key, spelling in spelt.items():
            found, meant = values[key], (SPELT[spelling], spelling, [spelling])
            if isinstance(found, dict):  # entries are laid over those of the file
                found = {name: found.get(name) for name in SPELT[spelling]}
            if not any(is_same(found, value) for value in meant):
                raise SilentChange(f"{key}: {spelling} was read as {values[key]!r}")
        classes = config.model.num_classes or 3
        with _in_time():
            card = create_card(config, [str(label) for label in range(classes)])
            resolve_arguments(card.model, {**card.arguments, "image_size": card.image_size})
        if _is_small(card):
            with no_init_parameters():
                Classification(config, card).create_network(for_training=True)


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    since = time.perf_counter()
    try:
        yield
    finally:
        if time.perf_counter() - since > LONGEST:
            raise SilentChange(f"it took more than {LONGEST} seconds")


def _is_small(card: ModelCard) -> bool:
    values: list[Any] = [*card.image_size, card.in_channels]
    for name, value in resolve_arguments(card.model, card.arguments).items():
        if name not in ("image_size", "num_classes"):  # the card says them itself
            values += value if isinstance(value, list | tuple) else [value]
    return all(value <= SMALL for value in values if isinstance(value, int | float) and not isinstance(value, bool))
