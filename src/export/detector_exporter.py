"""Detectors written as files: loaded back, compared with the network, described by sidecars.

RetinaNet's ONNX file ends with logits and deltas; its sidecar has the anchors and the numbers of `BoxChoice`.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ..detection.anchors import AnchorGrid
from ..detection.box_coding import RATIO_CLIP
from ..detection.kinds import create_predictions, has_masks
from ..detection.mask_head import MASK_SIZE
from ..detection.paste_masks import THRESHOLD
from ..devices.device import current_device
from ..errors import UserError, counted, writing_error
from ..files.json_file import to_json
from ..layers.cpu_operators import native_operators
from ..memory import check_fits
from ..weights.detector_card import DetectorCard
from .box_choice import BoxChoice
from .detector_file import MASKS, anchors_of, ends_with_anchors, portrait_of
from .existing_file import check_replaceable
from .exported_file import ENCRYPTION, load_exported, sha256_of
from .exporter import Comparison, Export, Form, check_form, eagerly, publish, staging_folder, write_with_mindspore
from .file_names import sidecar_of
from .matched_detections import match_detections
from .onnx_cells import build_onnx
from .onnx_detector import DELTAS_NAME
from .onnx_graph import LOGITS_NAME, OPSET
from .onnx_two_stage import build_two_stage_onnx

ALLOWED = 1e-4
"""Largest allowed difference: of boxes in canvas widths, of scores, of masks; of logits and deltas in their largest."""

_MASKS = (
    "probability that the object is there, of the cells that its box is divided into, row by row. Cell (i, j) has its "
    "centre at ((j + 0.5) / S, (i + 0.5) / S) of the box's width and height, S the cells along a side, and pixel (row, "
    "column) of the image at (column + 0.5, row + 0.5). A pixel takes the bilinear value at its centre, with zeros "
    "beyond the cells, and is the object's where that is at least mask_threshold. Nothing behind the last"
)

_COPIES = 2  # of a batch: what is drawn, and what the network works on
_SHARE = 0.9  # of the detections in which two runtimes must agree; an error concerns all, a last digit few
_COMPARED = (1, 2)  # batch sizes of a file for any


class DetectorExporter:
    """Writes one detector.

    Args:
        net: a detector with weights.
        card: describes it.
        checkpoint: where the weights come from, for the sidecars.
        choice: which boxes stay; as in training's evaluation when None.
    """

    def __init__(
        self, net: nn.Cell, card: DetectorCard, checkpoint: Path | None = None, choice: BoxChoice | None = None
    ):
        self.card, self.checkpoint, self.choice = card, checkpoint, choice or BoxChoice()
        self._net = net.set_train(False)
        self._predictions = create_predictions(net, **asdict(self.choice)).set_train(False)

    def outputs(self, output: Path) -> list[tuple[Path, tuple[int, int]]]:
        """The files for `output`, and the canvas of each: one for portrait images too where the canvas is no square."""
        height, width = self.card.canvas
        files = [(output, (height, width))]
        if height != width:
            files.append((portrait_of(output), (width, height)))
        return files

    def write(self, output: Path, form: Form) -> list[Export]:
        """Writes the files and their sidecars, and replaces older ones.

        Args:
            output: name of the file for landscape images.
            form: what the files are to be.

        Raises:
            UserError: a form that detectors do not have, an output that cannot be written, or a file that does not
                compute what the network does. Nothing is left behind.
        """
        check_detector_form(form)
        files = self.outputs(output)
        for file, _ in files:
            check_form(form, file)
        form = fix_batch_size(form)
        try:
            with staging_folder(output) as staging:  # of all files: they are of one network, and appear together
                exports = [self._stage(staging, file, canvas, form) for file, canvas in files]
                weights = [publish(_staged(staging, file), file) for file, _ in files]
        except OSError as error:
            message = f"cannot write {output}: {error.strerror or error}; nothing was exported"
            raise writing_error(message, error) from error
        return [replace(export, weights=folder) for export, folder in zip(exports, weights, strict=True)]

    def check_replaceable(self, output: Path, form: Form) -> None:
        """Refuses, before the files are made, to replace one of other content; see `existing_file.check_replaceable`.

        Raises:
            UserError: such a file is there, or a form that detectors do not have.
        """
        check_detector_form(form)
        form = fix_batch_size(form)
        for file, canvas in self.outputs(output):
            check_form(form, file)
            check_replaceable(file, partial(self._describe, canvas, form, None), form.key is not None)

    def _stage(self, staging: Path, output: Path, canvas: tuple[int, int], form: Form) -> Export:
        self._check_memory(canvas, form)
        file = _staged(staging, output)
        file.parent.mkdir()
        write = self._write_mindir
        if form.file_format == "ONNX":
            write = self._write_two_stage_onnx if has_masks(self.card.model) else self._write_onnx
        comparison = write(file, canvas, form)
        num_bytes = sum(path.stat().st_size for path in file.parent.rglob("*") if path.is_file())
        description = {"file": output.name, "sha256": sha256_of(file)}
        description |= self._describe(canvas, form, comparison)
        sidecar_of(file).write_text(to_json(description), encoding="utf-8")
        return Export(output, num_bytes, comparison)

    def _check_memory(self, canvas: tuple[int, int], form: Form) -> None:
        size = max(_compared(form))
        batch = f"{counted(size, 'image')} of 3 channels and {canvas[0]} x {canvas[1]} pixels"
        check_fits(4 * _COPIES * size * 3 * canvas[0] * canvas[1], batch, "export with a smaller --batch_size")

    def _write_mindir(self, file: Path, canvas: tuple[int, int], form: Form) -> Comparison:
        inputs = _draw(form.batch_size, canvas)
        with native_operators(self._predictions):
            write_with_mindspore(self._predictions, [Tensor(x) for x in inputs], file, form)
            # with the same operators: a last digit can decide which of two boxes stays
            expected = [output.asnumpy() for output in self._predictions(*map(Tensor, inputs))]
        got = load_exported(file, form.key)(*inputs)
        if not all(np.array_equal(got[place], expected[place]) for place in (2, 3)):
            raise UserError("the exported file finds other labels than the network; nothing was exported")
        boxes = np.abs(got[0] - expected[0]).max() / max(canvas)
        values = [np.abs(one - other).max() for one, other in zip(got[1::3], expected[1::3], strict=True)]
        kinds = "scores and masks" if len(values) > 1 else "scores"
        measure = f"boxes in canvas widths, and {kinds}, of {int(expected[3].sum())} detections"
        runtime = f"MindSpore, {current_device()}"
        return _judge([boxes, *values], measure, form, runtime)

    def _write_onnx(self, file: Path, canvas: tuple[int, int], form: Form) -> Comparison:
        file.write_bytes(build_onnx(self._net, (3, *canvas), batch_size=form.batch_size).SerializeToString())
        run, differences = load_exported(file), []
        for batch_size in _compared(form):
            images = _draw(batch_size, canvas)[0]
            with eagerly():
                expected = self._net(Tensor(images))
            for got, maps in zip(run(images), expected, strict=True):
                values = np.concatenate([x.asnumpy() for x in maps], axis=1)
                differences.append(np.abs(got - values).max() / np.abs(values).max())
        return _judge(differences, "logits and deltas, relative to their largest value", form, "ONNX Runtime, CPU")

    def _write_two_stage_onnx(self, file: Path, canvas: tuple[int, int], form: Form) -> Comparison:
        file.write_bytes(build_two_stage_onnx(self._predictions, canvas, form.batch_size).SerializeToString())
        run, matches = load_exported(file), []
        for batch_size in _compared(form):
            inputs = _draw(batch_size, canvas)
            with eagerly():
                expected = [output.asnumpy() for output in self._predictions(*map(Tensor, inputs))]
            matches.append(match_detections(run(*inputs), expected, max(canvas), ALLOWED))
        number, total = (sum(getattr(own, name) for own in matches) for name in ("number", "total"))
        if number < _SHARE * total:
            raise UserError(
                f"the exported file finds {number} of {counted(total, 'detection')} as the network does, within "
                f"{ALLOWED:.0e}, where {_SHARE:.0%} must be; nothing was exported"
            )
        measure = f"boxes in canvas widths, scores and masks, of the {number} of {counted(total, 'detection')} in both"
        return _judge([own.largest_difference for own in matches], measure, form, "ONNX Runtime, CPU")

    def _describe(self, canvas: tuple[int, int], form: Form, comparison: Comparison | None) -> dict[str, Any]:
        batch = form.batch_size
        inputs = {
            "images": {
                "shape": [batch, 3, *canvas],
                "dtype": "float32",
                "meaning": "RGB, resized, normalised, then padded with 0, see model.resize",
            },
            "shapes": {"shape": [batch, 2], "dtype": "float32", "meaning": "height and width on the canvas"},
            "scales": {
                "shape": [batch, 2],
                "dtype": "float32",
                "meaning": "factors by which width and height were resized",
            },
        }
        is_onnx = form.file_format == "ONNX"
        more = {"opset": OPSET} if is_onnx else {}
        if ends_with_anchors(self.card.model, is_onnx):
            grid, classes = self._net.anchor_grid, self._net.num_classes
            count = sum(map(len, anchors_of(grid, canvas)))
            outputs = {
                LOGITS_NAME: ([count, classes], "float32", "of every anchor and class; the sigmoid is the score"),
                DELTAS_NAME: ([count, 4], "float32", "shifts of the centre in sides, logarithms of ratios of sides"),
            }
            more = {"anchors": _describe_anchors(grid, canvas), **more}
            inputs = {"images": inputs["images"]}
        else:
            rows = self.choice.max_per_image
            boxes = "x0, y0, x1, y1 in pixels of the image before it was resized, the best first"
            counts = "how many there are of each image; -1 where the network's outputs are not finite"
            outputs = {
                "boxes": ([rows, 4], "float32", boxes),
                "scores": ([rows], "float32", "0 behind the last"),
                "labels": ([rows], "int32", "numbers of the model's classes, -1 behind the last"),
                "counts": ([], "int32", counts),
            }
            if has_masks(self.card.model):
                outputs[MASKS] = ([rows, MASK_SIZE, MASK_SIZE], "float32", _MASKS)
                more = {"mask_threshold": THRESHOLD, **more}
        return {
            "file_format": form.file_format,
            "canvas": list(canvas),
            "inputs": inputs,
            "outputs": {
                name: {"shape": [batch, *shape], "dtype": dtype, "meaning": meaning}
                for name, (shape, dtype, meaning) in outputs.items()
            },
            **asdict(self.choice),
            **more,
            "precision": form.precision,
            "encryption": None if form.key is None else ENCRYPTION,
            "model": self.card.to_dict(),
            "checkpoint": self.checkpoint and {"file": self.checkpoint.name, "sha256": sha256_of(self.checkpoint)},
            "mindspore": ms.__version__,
            "comparison_with_network": comparison and asdict(comparison),
        }


def _staged(staging: Path, output: Path) -> Path:
    """Where the file for `output` is written: in a folder of its own."""
    return staging / output.stem / output.name


def _draw(batch_size: int, canvas: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Random images that fill less than the canvas and were twice as large, their shapes and scales."""
    images = np.random.default_rng(0).standard_normal((batch_size, 3, *canvas), np.float32)
    shapes = np.array([[canvas[0] - 3, canvas[1] - 5]] * batch_size, np.float32)
    return images, shapes, np.full((batch_size, 2), 0.5, np.float32)


def _compared(form: Form) -> tuple[int, ...]:
    return _COMPARED if form.batch_size is None else (form.batch_size,)


def _judge(differences: list[float], measure: str, form: Form, runtime: str) -> Comparison:
    largest = float(np.max(differences))
    if not largest <= ALLOWED:  # NaN fails
        raise UserError(
            f"the exported file differs from the network by {largest:.1e} where {ALLOWED:.0e} is allowed; nothing was "
            "exported"
        )
    return Comparison(largest, measure, ALLOWED, _compared(form), runtime)


def _describe_anchors(grid: AnchorGrid, canvas: tuple[int, int]) -> dict[str, Any]:
    return {
        "order": "map by map, row by row, column by column, then in the order of `base`, boxes x0, y0, x1, y1 around "
        "the position (column * stride, row * stride) on the canvas",
        "ratio_clip": RATIO_CLIP,
        "maps": [
            {"stride": stride, "rows": rows, "columns": columns, "base": grid.base_anchors(level).tolist()}
            for level, (stride, (rows, columns)) in enumerate(zip(grid.strides, grid.grids(canvas), strict=True))
        ],
    }


def fix_batch_size(form: Form) -> Form:
    """A form with the batch size of a detector's file: a MINDIR file takes one, 1 by default."""
    return form if form.file_format == "ONNX" else replace(form, batch_size=form.batch_size or 1)


def check_detector_form(form: Form) -> None:
    """Refuses what a detector is not exported as.

    Raises:
        UserError: another format than MINDIR and ONNX, half precision, pixels or stages.
    """
    check_formats([form.file_format])
    for is_wrong, what in (
        (form.precision != "float32", f"--precision {form.precision}: detectors are exported in float32"),
        (form.takes_pixels, "--pixels: detectors take normalised images"),
        (bool(form.stages), "--stages: detectors give boxes"),
    ):
        if is_wrong:
            raise UserError(f"{what}; leave it out")


def check_formats(formats: Sequence[str]) -> None:
    """Refuses the formats that a detector is not exported in, with a UserError."""
    if "AIR" in formats:
        raise UserError("--file_format AIR: detectors are exported as MINDIR and ONNX; leave it out")
