"""Files for deployment: written, loaded back and compared with the network, described by a sidecar.

The sidecar `<file>.json` holds what a deployer needs besides the file: labels, input, preparation of images, resize
rule. A file appears together with its sidecar and only after the comparison; a failed or interrupted export leaves
nothing.
"""

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ..compilation.mixed_precision import store_half
from ..data.transforms import normalize
from ..devices.device import current_device
from ..errors import UserError, writing_error
from ..files.json_file import to_json
from ..files.output_file import check_name
from ..layers.cpu_operators import native_operators
from ..models.feature_extractor import FeatureExtractor
from ..models.pixel_input import PixelInput
from ..tasks.batch_memory import check_batch_fits
from ..tasks.classification_scores import softmax
from ..terminal.outcome import written_line
from ..weights.described_network import create_network
from ..weights.model_card import ModelCard
from .calibration import Calibration
from .existing_file import check_replaceable
from .exported_file import ENCRYPTION, FEATURE_MAPS, LARGEST_BATCH, LOGITS, PRECISIONS, load_exported, sha256_of
from .file_names import ending_of, sidecar_of
from .int8 import Int8Scores, compare, quantize
from .onnx_cells import build_onnx, check_onnx

TOLERANCES = {
    ("MINDIR", "float32"): 1e-5,
    ("ONNX", "float32"): 1e-4,
    ("MINDIR", "float16"): 1e-2,
    ("ONNX", "float16"): 1e-2,
}
"""Largest allowed difference, see `Comparison`."""

COMPARED_BATCH_SIZES = (1, 3)
"""At which a file for any batch size is compared."""


@dataclass(frozen=True)
class Form:
    """What a file is to be.

    Attributes:
        file_format: 'MINDIR', 'ONNX' or 'AIR'.
        batch_size: the only one the file takes; None for any.
        precision: 'float32', or 'float16' for matrix products and convolutions with their weights, or 'int8' for matrix
            products with weights (ONNX).
        takes_pixels: the input is uint8 (B, H, W, C), normalised inside; else normalised float32 (B, C, H, W).
        stages: the file gives the maps of these stages, see `FeatureExtractor`; the logits when empty.
        key: encrypts the file (MINDIR only).
    """

    file_format: str = "MINDIR"
    batch_size: int | None = None
    precision: str = "float32"
    takes_pixels: bool = False
    stages: tuple[int, ...] = ()
    key: bytes | None = None

    @property
    def marks(self) -> str:
        """What tells its file from those of other forms, for names: '_float16_pixels', nothing for the usual form."""
        marks = {
            f"stages_{'_'.join(map(str, self.stages))}": bool(self.stages),
            f"batch{self.batch_size}": self.batch_size is not None,
            self.precision: self.precision != "float32",
            "pixels": self.takes_pixels,
            "encrypted": self.key is not None,
        }
        return "".join(f"_{mark}" for mark, is_there in marks.items() if is_there)


@dataclass(frozen=True)
class Comparison:
    """A file that was loaded back, and the float32 network, on the same random images.

    Attributes:
        largest_difference: absolute, of what `measure` says.
        measure: 'logits'; 'probabilities' in half precision; 'maps, relative to their largest value'.
        allowed: the largest that is not refused.
        batch_sizes: what was compared.
        runtime: what ran the file, and where.
    """

    largest_difference: float
    measure: str
    allowed: float
    batch_sizes: tuple[int, ...]
    runtime: str

    def __str__(self) -> str:
        sizes = " and ".join(map(str, self.batch_sizes))
        return (
            f"largest difference from the network ({self.measure}): {self.largest_difference:.1e} at batch size "
            f"{sizes} (allowed: {self.allowed:.0e}; {self.runtime})"
        )


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file.
        num_bytes: its size, with the weights that MindSpore stores beside it when they exceed 1 GB.
        comparison: with the network; None for AIR, which MindSpore cannot load back.
        weights: the folder of those weights, where there is one.
    """

    path: Path
    num_bytes: int
    comparison: Comparison | Int8Scores | None
    weights: Path | None = None

    def describe(self, form: Form) -> list[str]:
        """What was written as `form`, as lines for the user."""
        batch = "any batch size" if form.batch_size is None else f"batch size {form.batch_size}"
        comparison = self.comparison or "not compared with the network: MindSpore cannot load AIR files back"
        return [
            written_line(self.path, f"{self.num_bytes / 1e6:.1f} MB, {form.precision}, {batch}"),
            *([] if self.weights is None else [written_line(self.weights, "its weights: keep it beside the file")]),
            written_line(sidecar_of(self.path), "labels, input, preprocessing"),
            str(comparison),
        ]


def check_form(form: Form, output: Path) -> None:
    """Refuses, before any work is done, a file that cannot be written here.

    Raises:
        UserError: a format, precision, batch size, encryption or name that does not work.
    """
    ending = ending_of(form.file_format)
    check_name(output)
    if os.path.isdir(output):
        raise UserError(f"{output} is a folder: give the name of the file, such as {output / f'model{ending}'}")
    for path in (output, sidecar_of(output)):
        if os.path.islink(path) or os.path.exists(path) and not os.path.isfile(path):
            raise UserError(
                f"cannot write {path}: it is a link or no file, and would be replaced; a file and its description lie "
                "side by side: give the name of the file itself"
            )
    if output.suffix != ending:
        raise UserError(f"{output}: the name of a {form.file_format} file must end in {ending}")
    if form.batch_size is not None and not 1 <= form.batch_size <= LARGEST_BATCH:
        raise UserError(f"batch_size: expected from 1 to {LARGEST_BATCH}, got {form.batch_size}")
    if form.precision not in PRECISIONS:
        raise UserError(f"precision: expected one of {', '.join(PRECISIONS)}, got {form.precision!r}")
    if form.precision == "int8" and (form.file_format != "ONNX" or form.stages):
        raise UserError(
            f"int8 files are ONNX files of logits, got {form.file_format}{' of stages' if form.stages else ''}: add "
            "--file_format ONNX and leave --stages out; docs/deployment.md tells what quantizes MINDIR files for Ascend"
        )
    if form.key is not None and form.file_format != "MINDIR":
        raise UserError(f"{form.file_format} files cannot be encrypted: leave the key out, or write MINDIR")
    if form.file_format == "ONNX":
        check_onnx()
    if form.file_format == "AIR" and current_device() != "Ascend":
        raise UserError(
            f"AIR files can be exported on Ascend only, not on {current_device()}; use --file_format MINDIR, which "
            "works on every device and which MindSpore Lite converts for Ascend (docs/deployment.md)"
        )
    if form.file_format == "AIR" and form.batch_size is None:
        raise UserError("AIR files are exported for one batch size: add --batch_size N")


class Exporter:
    """Writes one network in any number of forms.

    Args:
        net: images (B, in_channels, H, W) -> logits (B, K), float32; put into evaluation mode.
        card: describes `net`.
        checkpoint: where the weights come from, for the sidecars.
        calibration: images for int8 files.
    """

    def __init__(
        self,
        net: nn.Cell,
        card: ModelCard,
        checkpoint: Path | None = None,
        calibration: Calibration | None = None,
    ):
        self.net, self.card, self.checkpoint = net.set_train(False), card, checkpoint
        self.calibration = calibration
        self._expected: dict[tuple, list[np.ndarray]] = {}

    def write(self, output: str | Path, form: Form = Form()) -> Export:
        """Writes a file and its sidecar, and replaces older ones.

        Args:
            output: name of the file, with the ending of its format; its folder is made.
            form: what the file is to be.

        Raises:
            UserError: what `check_form` refuses, a stage that is not there, an output that cannot be written, or a file
                that does not compute what the network does. Nothing is left behind.
        """
        output = Path(output)
        check_form(form, output)
        check_batch_fits(self.card, form.batch_size or max(COMPARED_BATCH_SIZES))
        try:
            with staging_folder(output) as staging:
                file = staging / output.name
                if form.precision == "int8":
                    comparison = self._write_int8(file, form)
                else:
                    self._write_network(file, form)
                    comparison = None if form.file_format == "AIR" else self._compare(file, form)
                num_bytes = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
                description = {"file": output.name, "sha256": sha256_of(file), **self._describe(form, comparison)}
                sidecar_of(file).write_text(to_json(description), encoding="utf-8")
                weights = publish(file, output)
        except OSError as error:
            message = f"cannot write {output}: {error.strerror or error}; nothing was exported"
            raise writing_error(message, error) from error
        return Export(output, num_bytes, comparison, weights)

    def check_replaceable(self, output: Path, form: Form) -> None:
        """Refuses, before the file is made, to replace one of other content; see `existing_file.check_replaceable`.

        Raises:
            UserError: such a file is there, or what `check_form` refuses, or a stage that is not there.
        """
        check_form(form, output)
        check_replaceable(output, lambda: self._describe(form, None), form.key is not None)

    def _maps_or_logits(self, net: nn.Cell, form: Form) -> nn.Cell:
        return FeatureExtractor(net, form.stages) if form.stages else net

    def _assemble(self, form: Form) -> nn.Cell:
        """The graph of a file: in its precision, from its input, to its output."""
        net = self.net
        if form.precision == "float16":
            net = create_network(self.card)
            for target, source in zip(net.get_parameters(), self.net.get_parameters(), strict=True):
                target.set_data(source)
            store_half(net)
        net = self._maps_or_logits(net, form)
        return (PixelInput(net, self.card.mean, self.card.std) if form.takes_pixels else net).set_train(False)

    def _input(self, form: Form) -> Tensor:
        channels, size = self.card.in_channels, self.card.image_size
        if form.takes_pixels:
            return Tensor(shape=[form.batch_size, *size, channels], dtype=ms.uint8)
        return Tensor(shape=[form.batch_size, channels, *size], dtype=ms.float32)

    def _write_network(self, file: Path, form: Form) -> None:
        if form.file_format == "ONNX":
            self._write_onnx(file, form)
            return
        net = self._assemble(form)
        with native_operators(net):
            write_with_mindspore(net, [self._input(form)], file, form)

    def _write_int8(self, file: Path, form: Form) -> Int8Scores:
        if self.calibration is None:
            raise UserError("int8 files need images for calibration")
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            source, exact = Path(folder) / file.name, replace(form, precision="float32")
            self._write_onnx(source, exact)
            self._compare(source, exact)
            quantize(source, file, map(self._to_input(form), self.calibration.batches(form.batch_size)))
            scores = compare(source, file, self.calibration, form.batch_size, self._to_input(form))
        scores.check()
        return scores

    def _to_input(self, form: Form) -> Callable[[np.ndarray], np.ndarray]:
        """What makes the input of a file of normalised images."""
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (self.card.mean, self.card.std))

        def pixels(images: np.ndarray) -> np.ndarray:
            return np.rint((images * std + mean) * 255).astype(np.uint8).transpose(0, 2, 3, 1)

        return pixels if form.takes_pixels else np.asarray

    def _write_onnx(self, file: Path, form: Form) -> None:
        card = self.card
        model = build_onnx(
            self._maps_or_logits(self.net, form),
            (card.in_channels, *card.image_size),
            batch_size=form.batch_size,
            precision=form.precision,
            mean=card.mean if form.takes_pixels else None,
            std=card.std if form.takes_pixels else None,
        )
        file.write_bytes(model.SerializeToString())

    def _compare(self, file: Path, form: Form) -> Comparison:
        run = load_exported(file, form.key)
        batch_sizes = COMPARED_BATCH_SIZES if form.batch_size is None else (form.batch_size,)
        differences = []
        for batch_size in batch_sizes:
            pixels, images = self._draw_images(batch_size)
            outputs = run(pixels if form.takes_pixels else images)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            for got, expected in zip(outputs, self._expect(batch_size, form), strict=True):
                differences.append(_difference(got, expected, form))
        largest, allowed = float(np.max(differences)), TOLERANCES[form.file_format, form.precision]
        if not largest <= allowed:  # NaN fails
            raise UserError(
                f"the exported file differs from the network by {largest:.1e} where {allowed:.0e} is allowed; "
                "nothing was exported"
            )
        runtime = "ONNX Runtime, CPU" if form.file_format == "ONNX" else f"MindSpore, {current_device()}"
        return Comparison(largest, _measure(form), allowed, batch_sizes, runtime)

    def _draw_images(self, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Random images: pixels (B, H, W, C) uint8, and the same normalised (B, C, H, W) float32."""
        card = self.card
        shape = (batch_size, *card.image_size, card.in_channels)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        mean, std = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (card.mean, card.std))
        return pixels, np.stack([normalize(image, mean, std) for image in pixels])

    def _expect(self, batch_size: int, form: Form) -> list[np.ndarray]:
        """What the float32 network computes of the images of `_draw_images`; once for all forms."""
        key = (batch_size, form.stages)
        if key not in self._expected:
            with eagerly():  # nothing to compile for each batch size
                outputs = self._maps_or_logits(self.net, form)(Tensor(self._draw_images(batch_size)[1]))
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            self._expected[key] = [output.asnumpy() for output in outputs]
        return self._expected[key]

    def _describe(self, form: Form, comparison: Comparison | Int8Scores | None) -> dict[str, Any]:
        card, batch = self.card, form.batch_size
        if form.takes_pixels:
            layout, shape, dtype = "NHWC", [batch, *card.image_size, card.in_channels], "uint8"
        else:
            layout, shape, dtype = "NCHW", [batch, card.in_channels, *card.image_size], "float32"
        shapes = [[batch, *output.shape[1:]] for output in self._expect(COMPARED_BATCH_SIZES[0], form)]
        names = [f"map{i}" for i in range(len(shapes))] if form.stages else ["logits"]
        return {
            "file_format": form.file_format,
            "input": {
                "name": "images",
                "layout": layout,
                "shape": shape,
                "dtype": dtype,
                "normalized": not form.takes_pixels,
            },
            "output": {
                "content": FEATURE_MAPS if form.stages else LOGITS,
                "names": names,
                "shapes": shapes,
                "dtype": "float32",
                **({"stages": list(form.stages)} if form.stages else {}),
            },
            "precision": form.precision,
            "encryption": None if form.key is None else ENCRYPTION,
            "model": card.to_dict(),
            "checkpoint": self.checkpoint and {"file": self.checkpoint.name, "sha256": sha256_of(self.checkpoint)},
            "mindspore": ms.__version__,
            "comparison_with_network": comparison and asdict(comparison),
        }


def _measure(form: Form) -> str:
    if form.stages:
        return "maps, relative to their largest value"
    return "logits" if form.precision == "float32" else "probabilities"


def _difference(got: np.ndarray, expected: np.ndarray, form: Form) -> float:
    if got.dtype != expected.dtype or got.shape != expected.shape:
        raise UserError(
            f"the exported file gives {got.dtype} {got.shape} where the network gives {expected.dtype} "
            f"{expected.shape}; nothing was exported"
        )
    if form.stages:
        return float(np.abs(got - expected).max() / np.abs(expected).max())
    if form.precision != "float32":
        got, expected = softmax(got), softmax(expected)
    return float(np.abs(got - expected).max())


@contextmanager
def eagerly() -> Iterator[None]:
    """Networks called inside are not compiled."""
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=mode)


@contextmanager
def staging_folder(output: Path) -> Iterator[Path]:
    """A temporary folder in the nearest existing folder above `output`, so that renaming is all that remains."""
    above = next(folder for folder in output.absolute().parents if folder.exists())
    with tempfile.TemporaryDirectory(prefix=".export-", dir=above) as staging:
        yield Path(staging)


def write_with_mindspore(net: nn.Cell, inputs: Sequence[Tensor], file: Path, form: Form) -> None:
    """Exports to `file`; weights of more than 1 GB come into the folder <stem>_variables beside it."""
    encryption = {} if form.key is None else {"enc_key": form.key, "enc_mode": ENCRYPTION}
    # MindSpore refuses spaces and letters beyond ASCII anywhere in the path. In the working directory, whatever else it
    # drops there disappears with the temporary folder.
    name = re.sub(r"[^0-9A-Za-z@_.:-]", "_", file.stem)
    before = os.getcwd()
    os.chdir(file.parent)
    try:
        ms.export(net, *inputs, file_name=name + file.suffix, file_format=form.file_format, **encryption)
    finally:
        os.chdir(before)
    split = file.with_name(f"{name}_graph{file.suffix}")
    os.replace(split if split.exists() else file.with_name(name + file.suffix), file)


def publish(file: Path, output: Path) -> Path | None:
    """Renames everything beside `file` into the folder of `output`: the folder of weights, `file`, then its sidecar.

    Returns:
        The folder of weights that MindSpore has put beside the file, None where all of them are inside.
    """
    last = [file, sidecar_of(file)]
    usual = stat.S_IMODE(last[1].stat().st_mode)
    for path in file.parent.rglob("*"):  # MindSpore's own are for their owner only
        path.chmod(usual | (usual & 0o444) >> 2 if path.is_dir() else usual)
    output.parent.mkdir(parents=True, exist_ok=True)
    weights = None
    for item in [*(path for path in file.parent.iterdir() if path not in last), *last]:
        target = output.with_name(item.name)
        if item.is_dir() and target.exists():
            os.replace(target, file.parent / "replaced")
        weights = target if item.is_dir() else weights
        os.replace(item, target)
    return weights
