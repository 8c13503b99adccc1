"""The descriptions beside exported files."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

from benchmarks.fuzz_targets.card import CARDS
from benchmarks.fuzz_targets.mutation import is_stated, mutate_bytes, mutate_json, mutate_text
from benchmarks.fuzz_targets.target import SilentChange
from src.export.exported_file import read_sidecar, sha256_of, sidecar_of
from src.weights.model_card import ModelCard

FILE = b"network"


class Sidecars:
    """Mutants: the bytes of a description, and those of the file."""

    def __init__(self, folder: Path):
        self.path = folder / "net.mindir"
        self.path.write_bytes(FILE)
        self.originals = [self._describe(card, pixels) for card in CARDS for pixels in (True, False)]

    def draw(self, random: Random) -> tuple[bytes, bytes]:
        return draw_description(self.originals, random)

    def read(self, mutant: tuple[bytes, bytes]) -> None:
        content, file = mutant
        self.path.write_bytes(file)
        sidecar_of(self.path).write_bytes(content)
        sidecar = read_sidecar(self.path)
        text = content.decode("utf-8-sig")
        stated, card = json.loads(text), asdict(sidecar.card)
        if "resize" not in stated["model"]:  # it has a default
            del card["resize"]
        pixels, size, channels = sidecar.takes_pixels, sidecar.card.image_size, sidecar.card.in_channels
        found = {
            **stated,
            "model": card,
            "input": {
                **stated["input"],
                "layout": "NHWC" if pixels else "NCHW",
                "dtype": "uint8" if pixels else "float32",
                "shape": [sidecar.batch_size, *((*size, channels) if pixels else (channels, *size))],
                "normalized": not pixels,
            },
            "output": {**stated["output"], "content": sidecar.content},
            "precision": sidecar.precision,
            "encryption": sidecar.encryption,
            "sha256": sidecar.sha256,
        }
        if not is_stated(found, text):
            raise SilentChange("what was read is not what the text says")
        if sha256_of(self.path) != sidecar.sha256:
            raise SilentChange("the file is not the one that is described")

    def _describe(self, card: ModelCard, pixels: bool) -> dict:
        shape = [*card.image_size, card.in_channels] if pixels else [card.in_channels, *card.image_size]
        return {
            "file_format": "MINDIR",
            "sha256": sha256_of(self.path),
            "file": self.path.name,
            "input": {
                "name": "images",
                "layout": "NHWC" if pixels else "NCHW",
                "shape": [4 if pixels else None, *shape],
                "dtype": "uint8" if pixels else "float32",
                "normalized": not pixels,
            },
            "output": {"content": "logits", "names": ["logits"], "shapes": [[None, 2]], "dtype": "float32"},
            "precision": "float32" if pixels else "float16",
            "encryption": None if pixels else "AES-GCM",
            "model": asdict(card),
            "checkpoint": {"file": "best.ckpt", "sha256": "0" * 64},
            "mindspore": "2.10.0",
            "comparison_with_network": {"largest_difference": 1e-7},
        }


def draw_description(originals: Sequence[dict], random: Random) -> tuple[bytes, bytes]:
    """A damaged description and its file, which is seldom damaged itself."""
    original = random.choice(originals)
    kind = random.random()
    if kind < 0.01:
        return _to_bytes(json.dumps(original)), mutate_bytes(FILE, random)
    if kind < 0.6:
        return _to_bytes(json.dumps(mutate_json(original, random))), FILE
    text = json.dumps(original, indent=2, ensure_ascii=False)
    if kind < 0.8:
        return _to_bytes(mutate_text(text, random)), FILE
    return mutate_bytes(random.choice((b"", b"\xef\xbb\xbf")) + text.encode(), random), FILE


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
