"""The description of the network and of the training inside of checkpoints, as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.fuzz_targets.mutation import is_stated, mutate_json, mutate_text
from benchmarks.fuzz_targets.target import SilentChange
from src.config import Config, changed_keys
from src.models import resolve_arguments
from src.weights.checkpoint import read_checkpoint
from src.weights.checkpoint_file import write_checkpoint_file
from src.weights.described_network import check_card, create_network
from src.weights.model_card import ModelCard

STATISTICS: dict[str, Any] = {"in_channels": 3, "mean": (0.5, 0.4, 0.3), "std": (0.5, 0.6, 0.7), "crop_pct": 0.9}
CARDS = (
    ModelCard(
        "tnt_ti_patch16_224",
        {"depth": 1, "inner_dim": 4, "inner_num_heads": 2, "outer_dim": 16, "outer_num_heads": 2, "qkv_bias": True},
        ["cat", "狗"],
        (16, 32),
        **STATISTICS,
    ),
    ModelCard(
        "ptnt_ti_patch16_192",
        {
            "depths": [1, 1, 1, 1],
            "inner_dims": [4, 4, 4, 4],
            "inner_num_heads": [1, 1, 2, 2],
            "outer_dims": [8, 8, 8, 8],
            "outer_num_heads": [1, 1, 2, 2],
            "se": False,
        },
        ["a"],
        (64, 64),
        **STATISTICS,
    ),
    ModelCard(
        "t2t_vit_7",
        {"depth": 1, "token_dim": 8, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2.0, "drop_rate": 0.1},
        [],
        (32, 32),
        **STATISTICS,
    ),
)
PROGRESS: dict[str, Any] = {
    "step": 7,
    "epoch": 3.5,
    "best_score": 50.0,
    "steps_per_epoch": 2,
    "losses": [0.5, 2.25],
    "weights": "raw",
}
SMALL = 64
"""Networks are built where no number in the card is larger."""

BUILT = 0.1
"""Share of the accepted cards of small networks that are built, which takes longer than all the rest."""


class Cards:
    """Mutants: the text of a checkpoint's description, and whether its network is built."""

    def __init__(self, folder: Path):
        self.path = folder / "card.ckpt"
        config = _plain(Config())
        self.originals = [
            {"format": 1, "card": _plain(card), "progress": {**PROGRESS, "config": config}} for card in CARDS
        ]

    def draw(self, random: Random) -> tuple[str, bool]:
        original = random.choice(self.originals)
        if random.random() < 0.7:
            part = random.choice(("card", "card", "card", "progress", None))
            changed = mutate_json(original[part] if part else original, random)
            text = json.dumps({**original, part: changed} if part else changed)
        else:
            text = mutate_text(json.dumps(original, ensure_ascii=random.random() < 0.5), random)
        return text, random.random() < BUILT

    def read(self, mutant: tuple[str, bool]) -> None:
        text, is_built = mutant
        with self.path.open("wb") as file:
            write_checkpoint_file(file, [("w", np.zeros(1, np.float32)), ("metadata", text)])
        checkpoint = read_checkpoint(self.path)
        card, found = checkpoint.card, checkpoint.card.to_dict()
        if "resize" not in json.loads(text)["card"]:  # it has a default
            del found["resize"]
        if not is_stated({"format": 1, "card": found, "progress": checkpoint.progress}, text):
            raise SilentChange("the card or the progress is not what the text says")
        check_card(card, self.path)
        changed_keys(checkpoint.progress.get("config", {}), Config())
        if _is_small(card) and is_built:
            create_network(card)


def _plain(values: Any) -> Any:
    """A dataclass as JSON has it."""
    return json.loads(json.dumps(asdict(values)))


def _is_small(card: ModelCard) -> bool:
    values = [*card.image_size, card.in_channels, len(card.classes)]
    for name, value in resolve_arguments(card.model, card.arguments).items():
        if name not in ("image_size", "num_classes"):  # the card says them itself
            values += value if isinstance(value, list | tuple) else [value]
    return all(value <= SMALL for value in values if isinstance(value, int | float))
