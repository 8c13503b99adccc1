"""The descriptions beside exported detectors."""

import json
from pathlib import Path
from random import Random

from benchmarks.fuzz_targets.annotations import CARD
from benchmarks.fuzz_targets.mutation import is_stated
from benchmarks.fuzz_targets.sidecar import FILE, draw_description
from benchmarks.fuzz_targets.target import SilentChange
from src.export.box_choice import BoxChoice
from src.export.detector_file import read_detector_sidecar
from src.export.exported_file import sha256_of, sidecar_of


class DetectorSidecars:
    """Mutants: the ending of a file, the bytes of its description, and its own."""

    def __init__(self, folder: Path):
        self.paths = {ending: folder / f"net{ending}" for ending in (".mindir", ".onnx")}
        self.path = self.paths[".mindir"]
        self.path.write_bytes(FILE)
        self.originals = [self._describe(canvas) for canvas in (CARD.canvas, CARD.canvas[::-1])]

    def draw(self, random: Random) -> tuple[str, bytes, bytes]:
        return random.choice(list(self.paths)), *draw_description(self.originals, random)

    def read(self, mutant: tuple[str, bytes, bytes]) -> None:
        ending, content, file = mutant
        path = self.paths[ending]
        path.write_bytes(file)
        sidecar_of(path).write_bytes(content)
        found = read_detector_sidecar(path)
        text = content.decode("utf-8-sig")
        stated = json.loads(text)
        card = json.loads(json.dumps(found.card.to_dict()))
        if "resize" not in stated["model"]:  # it has a default
            del card["resize"]
        batch = stated["inputs"]["images"]["shape"][0]
        images = {**stated["inputs"]["images"], "shape": [found.batch_size, 3, *found.canvas]}
        expected = {
            **stated,
            **(vars(found.choice) if found.choice else {}),
            "canvas": list(found.canvas),
            "inputs": {**stated["inputs"], "images": images},
            "encryption": found.encryption,
            "model": card,
            "sha256": sha256_of(path),
        }
        if not is_stated(expected, text) or type(batch) is not type(found.batch_size):
            raise SilentChange("what was read is not what the text says")

    def _describe(self, canvas: tuple[int, int]) -> dict:
        return {
            "file_format": "MINDIR",
            "sha256": sha256_of(self.path),
            "file": self.path.name,
            "canvas": list(canvas),
            "inputs": {"images": {"shape": [2, 3, *canvas], "dtype": "float32", "meaning": "normalised"}},
            "outputs": {"boxes": {"shape": [2, 100, 4], "dtype": "float32", "meaning": "pixels"}},
            **vars(BoxChoice()),
            "precision": "float32",
            "encryption": None,
            "model": CARD.to_dict(),
            "checkpoint": {"file": "best.ckpt", "sha256": "0" * 64},
            "mindspore": "2.10.0",
            "comparison_with_network": {"largest_difference": 1e-7},
        }
