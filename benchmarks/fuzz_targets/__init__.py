"""What benchmarks/fuzz.py damages and reads: a target a file, by the names it has on the command line."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzz_targets.annotations import Annotations, DetectorCards
from benchmarks.fuzz_targets.card import Cards
from benchmarks.fuzz_targets.checkpoint import Checkpoints
from benchmarks.fuzz_targets.config import Configs
from benchmarks.fuzz_targets.detector_sidecar import DetectorSidecars
from benchmarks.fuzz_targets.images import Images
from benchmarks.fuzz_targets.lists import ClassLists, ImageLists
from benchmarks.fuzz_targets.options import Options
from benchmarks.fuzz_targets.sidecar import Sidecars
from benchmarks.fuzz_targets.target import Target

TARGETS: dict[str, Callable[[Path], Target]] = {
    "ckpt": Checkpoints,
    "card": Cards,
    "sidecar": Sidecars,
    "config": Configs,
    "options": Options,
    "images": Images,
    "annotations": Annotations,
    "classes": ClassLists,
    "image-list": ImageLists,
    "detector": DetectorCards,
    "detector-sidecar": DetectorSidecars,
}
"""Each is made with an empty folder for its files."""
