"""Exported detectors: reading the sidecars of their files, and running them.

There is a file for each canvas. It has everything inside up to the boxes and masks, but for RetinaNet's ONNX file: that
ends with what the head says of the anchors, and `BoxChoice` makes boxes of it.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..detection.anchors import AnchorGrid
from ..detection.catalogue import anchor_grid, check_detector_arguments
from ..detection.kinds import has_masks
from ..errors import UserError, shown
from ..weights.detector_card import DetectorCard
from .box_choice import BoxChoice
from .exported_file import ENCRYPTION, LARGEST_BATCH, check_key, is_equal, load_exported, read_description, value_of
from .file_names import ENDINGS, sidecar_of

OUTPUTS = ("boxes", "scores", "labels", "counts")
"""Of a file that has everything inside; where a detector has masks they follow."""

MASKS = "masks"

_PORTRAIT = "_portrait"


@dataclass(frozen=True)
class DetectorFile:
    """What running a file needs of its description.

    Attributes:
        card: labels and preparation of images.
        canvas: (height, width) of the images that this file takes.
        batch_size: the only one it takes; None for any.
        encryption: of the file; None when it is plain.
        choice: which boxes stay, of a file that ends with anchors; None where that is inside.
    """

    card: DetectorCard
    canvas: tuple[int, int]
    batch_size: int | None
    encryption: str | None
    choice: BoxChoice | None


def anchors_of(grid: AnchorGrid, canvas: tuple[int, int]) -> list[np.ndarray]:
    """Those of each map on a canvas, (n, 4) each."""
    return grid.anchors(grid.grids(canvas))


def portrait_of(path: Path) -> Path:
    """The file for portrait images that belongs to one for landscape images."""
    return path.with_name(f"{path.stem}{_PORTRAIT}{path.suffix}")


def describes_detector(path: Path) -> bool:
    """Whether the sidecar of an exported file says that it is a detector's; what is wrong with it is told elsewhere."""
    with suppress(UserError, TypeError, KeyError):
        return "category_ids" in read_description(path)["model"]
    return False


def ends_with_anchors(name: str, is_onnx: bool) -> bool:
    """Whether a file of the detector `name` gives logits and deltas of all anchors, not boxes."""
    return is_onnx and not has_masks(name)


def read_detector_sidecar(path: Path) -> DetectorFile:
    """Reads the description of an exported detector and makes sure that it is this file's.

    Raises:
        UserError: the file or its sidecar is missing, cannot be read or is damaged, or they are not of one export.
    """
    values, where = read_description(path), str(sidecar_of(path))
    card = DetectorCard.from_dict(values.get("model"), where)
    try:
        check_detector_arguments(card.model, card.detector_arguments())
        canvas, shape = value_of(values, "canvas"), value_of(values, "inputs", "images", "shape")
        canvases = [list(card.canvas), list(card.canvas[::-1])]
        if not (isinstance(canvas, list) and any(is_equal(canvas, expected) for expected in canvases)):
            raise UserError(f"canvas: expected {' or '.join(map(str, canvases))}, got {shown(canvas)}")
        if not (isinstance(shape, list) and is_equal(shape[1:], [3, *canvas])):
            raise UserError(f"inputs.images.shape: expected [batch, 3, {canvas[0]}, {canvas[1]}], got {shown(shape)}")
        is_onnx = path.suffix == ENDINGS["ONNX"]
        if not (is_onnx and shape[0] is None) and not (type(shape[0]) is int and 1 <= shape[0] <= LARGEST_BATCH):
            raise UserError(f"batch size: expected a whole number from 1 to {LARGEST_BATCH}, got {shown(shape[0])}")
        encryption = value_of(values, "encryption")
        if encryption not in (None, ENCRYPTION):
            raise UserError(f"encryption: expected {ENCRYPTION} or null, got {shown(encryption)}")
        choice = BoxChoice.from_dict(values) if ends_with_anchors(card.model, is_onnx) else None
    except UserError as error:
        raise UserError(f"{where}: its description of the network cannot be used: {error}") from error
    return DetectorFile(card, tuple(canvas), shape[0], encryption, choice)


def load_detector(path: Path, key: bytes | None = None) -> tuple[DetectorFile, Callable[..., tuple[np.ndarray, ...]]]:
    """An exported detector as a function of images, shapes and scales, see `RetinaNetPredictions`; one with two stages
    gives masks too, see `TwoStagePredictions`.

    Where its canvas is no square, the file for images of the other orientation is taken from beside it.

    Args:
        path: MINDIR or ONNX file for landscape images.
        key: of an encrypted file.

    Raises:
        UserError: as `read_detector_sidecar`, `check_key` and `load_exported` do; when it is called, images of an
            orientation whose file is not there.
    """
    file = read_detector_sidecar(path)
    runs = {file.canvas: _load(path, file, key)}
    other = portrait_of(path)
    if file.canvas[0] != file.canvas[1] and other.is_file():
        of_other = read_detector_sidecar(other)
        runs[of_other.canvas] = _load(other, of_other, key)

    def run(images: np.ndarray, shapes: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, ...]:
        canvas = images.shape[2:]
        if canvas not in runs:
            raise UserError(
                f"{path} takes images on a canvas of {file.canvas[0]} x {file.canvas[1]} pixels; for the others "
                f"{other.name} must lie beside it"
            )
        return runs[canvas](images, shapes, scales)

    return file, run


def _load(path: Path, file: DetectorFile, key: bytes | None) -> Callable[..., tuple[np.ndarray, ...]]:
    check_key(path, file.encryption, key)
    run = load_exported(path, key)
    if file.choice is None:
        return _with_known_labels(run, path, file)
    anchors = anchors_of(anchor_grid(file.card.model, file.card.arguments.get("anchor_scale")), file.canvas)
    expected = (sum(map(len, anchors)), len(file.card.classes))

    def run_and_choose(images: np.ndarray, shapes: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, ...]:
        logits, deltas = run(images)
        if logits.shape[1:] != expected:
            raise UserError(f"{path} gives logits of {logits.shape[1:]}, and its description says {expected}")
        return file.choice(logits, deltas, anchors, shapes, scales)

    return run_and_choose


def _with_known_labels(
    run: Callable[..., tuple[np.ndarray, ...]], path: Path, file: DetectorFile
) -> Callable[..., tuple[np.ndarray, ...]]:
    def run_and_check(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = run(*inputs)
        found, known = int(outputs[2].max()) + 1, len(file.card.classes)
        if found > known:
            raise UserError(f"{path} finds label number {found}, and its description has {known}; export again")
        return outputs

    return run_and_check
