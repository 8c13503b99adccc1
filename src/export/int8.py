"""ONNX files with 8-bit matrix products, made by ONNX Runtime's quantizer.

Weights have a scale for each output channel. What is multiplied with them is rounded to 256 steps between the smallest
and the largest value that calibration images gave there (static quantization). Everything else, products of attention
among it, stays float32.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import UserError
from .calibration import Calibration
from .onnx_graph import INPUT_NAME, import_extra
from .onnx_session import load_onnx

SMALLEST_WEIGHT = 8192
"""Values of a weight from which on 8 bits are faster; narrow products, as TNT's between words, are slower for the
rounding before and after them."""


@dataclass(frozen=True)
class Int8Scores:
    """A file before and after, on the images of its calibration; shares of 1.

    Attributes:
        images: how many.
        accuracy_float32, accuracy_int8: share with the right first label; None where labels are not known.
        same_label: share with the same first label in both files.
        largest_drop: that is allowed, of accuracy, or where there are no labels of `same_label`; percentage points.
    """

    images: int
    accuracy_float32: float | None
    accuracy_int8: float | None
    same_label: float
    largest_drop: float

    @property
    def drop(self) -> float:
        """How far the int8 file falls behind, in percentage points; below 0 where it is better."""
        if self.accuracy_float32 is None or self.accuracy_int8 is None:
            return 100 * (1 - self.same_label)
        return 100 * (self.accuracy_float32 - self.accuracy_int8)

    def __str__(self) -> str:
        return f"{self._found()} (allowed to lose: {self.largest_drop:g} points; ONNX Runtime, CPU)"

    def _found(self) -> str:
        same = f"{100 * self.same_label:.2f} % of {self.images} images have the same first label as in float32"
        if self.accuracy_float32 is None or self.accuracy_int8 is None:
            return f"{same} (their own labels are not known)"
        before, after = 100 * self.accuracy_float32, 100 * self.accuracy_int8
        return f"accuracy {before:.2f} % in float32, {after:.2f} % in int8; {same}"

    def check(self) -> None:
        """Raises UserError where the drop is larger than allowed."""
        if self.drop > self.largest_drop:
            raise UserError(
                f"the int8 file falls behind by {self.drop:.2f} points where {self.largest_drop:g} are allowed "
                f"({self._found()}); nothing was exported: calibrate on more images, or on such as the file is for, or "
                "allow more with --largest_drop"
            )


def quantize(source: Path, target: Path, batches: Iterable[np.ndarray]) -> None:
    """Writes an ONNX file with int8 products.

    Args:
        source: a float32 file.
        target: the file to write.
        batches: what its input is, for calibration.

    Raises:
        UserError: `onnx` or `onnxruntime` is not installed.
    """
    onnx, quantization = import_extra("onnx"), import_extra("onnxruntime.quantization")
    feeds = ({INPUT_NAME: batch} for batch in batches)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feeds, None)

    graph = onnx.load(str(source)).graph
    weights = {constant.name for constant in graph.initializer if prod(constant.dims) >= SMALLEST_WEIGHT}
    products = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    with _quiet():
        quantization.quantize_static(
            str(source),
            str(target),
            Reader(),
            nodes_to_quantize=products,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )


def compare(
    source: Path,
    target: Path,
    calibration: Calibration,
    batch_size: int | None,
    to_input: Callable[[np.ndarray], np.ndarray],
) -> Int8Scores:
    """The two files on the images of the calibration.

    Args:
        source: in float32.
        target: in int8.
        calibration: the images.
        batch_size: that the files take; None for any.
        to_input: makes what the files take of normalised images.
    """

    def labels_of(file: Path) -> np.ndarray:
        run = load_onnx(file)
        return calibration.run(lambda images: run(to_input(images)), batch_size).argmax(axis=1)

    before, after = labels_of(source), labels_of(target)
    labels = calibration.labels
    scores = (None, None) if labels is None else tuple(float(np.mean(of == labels)) for of in (before, after))
    return Int8Scores(len(before), *scores, float(np.mean(before == after)), calibration.largest_drop)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's advice to preprocess the file, which has nothing left to optimise here."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
