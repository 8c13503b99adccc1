"""Files for deployment: written by MindSpore's exporter, compared with the network, described by a sidecar.

The sidecar `<file>.json` holds what a deployer needs besides the file: labels, input size, normalisation, resize rule.
A file appears together with its sidecar and only after the comparison; a failed or interrupted export leaves nothing.
"""

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.engine.device import current_device
from src.errors import UserError
from src.exported_file import ending_of, load_exported, sha256_of, sidecar_of
from src.json_file import to_json
from src.model_card import ModelCard

TOLERANCE = 1e-5
"""Largest allowed difference of a logit."""

COMPARED_BATCH_SIZES = (1, 3)
"""At which a file for any batch size is compared."""


@dataclass(frozen=True)
class Comparison:
    """A file that was loaded back, and the network, on the same random images.

    Attributes:
        largest_difference: of any logit, absolute.
        batch_sizes: what was compared.
        device: where.
    """

    largest_difference: float
    batch_sizes: tuple[int, ...]
    device: str


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file.
        num_bytes: its size, with the weights that MindSpore stores beside it when they exceed 1 GB.
        comparison: None for AIR, which MindSpore cannot load back.
    """

    path: Path
    num_bytes: int
    comparison: Comparison | None


def export_network(
    net: nn.Cell,
    card: ModelCard,
    output: str | Path,
    file_format: str = "MINDIR",
    batch_size: int | None = None,
    checkpoint: Path | None = None,
) -> Export:
    """Writes `net` and its sidecar, and replaces older ones.

    Args:
        net: images (B, in_channels, H, W) -> logits (B, K); put into evaluation mode.
        card: describes `net`.
        output: name of the file, with the ending of its format; its folder is made.
        file_format: 'MINDIR' or 'AIR'.
        batch_size: the only one the file takes; None for any.
        checkpoint: where the weights come from, for the sidecar.

    Raises:
        UserError: a format, batch size or output that does not work here, or a file that does not compute what the
            network does. Nothing is left behind.
    """
    output = Path(output)
    _check_request(output, file_format, batch_size)
    net.set_train(False)
    image_shape = (card.in_channels, *card.image_size)
    try:
        with _staging_folder(output) as staging:
            file = staging / output.name
            _write(net, (batch_size, *image_shape), file, file_format)
            comparison = None
            if file_format == "MINDIR":
                comparison = _compare(net, file, image_shape, (batch_size,) if batch_size else COMPARED_BATCH_SIZES)
            num_bytes = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
            description = {
                "file": output.name,
                "file_format": file_format,
                "sha256": sha256_of(file),
                **_describe(card, batch_size),
                "checkpoint": checkpoint and {"file": checkpoint.name, "sha256": sha256_of(checkpoint)},
                "mindspore": ms.__version__,
                "comparison_with_network": comparison and vars(comparison),
            }
            sidecar_of(file).write_text(to_json(description), encoding="utf-8")
            _publish(file, output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}; nothing was exported") from error
    return Export(output, num_bytes, comparison)


def _check_request(output: Path, file_format: str, batch_size: int | None) -> None:
    ending = ending_of(file_format)
    if output.is_dir():
        raise UserError(f"{output} is a folder: give the name of the file, such as {output / f'model{ending}'}")
    if output.suffix != ending:
        raise UserError(f"{output}: the name of a {file_format} file must end in {ending}")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size: expected at least 1, got {batch_size}")
    if file_format == "AIR" and current_device() != "Ascend":
        raise UserError(
            f"AIR files can be exported on Ascend only, not on {current_device()}; use --file_format MINDIR, which "
            "works on every device"
        )
    if file_format == "AIR" and batch_size is None:
        raise UserError("AIR files are exported for one batch size: add --batch_size N")


@contextmanager
def _staging_folder(output: Path) -> Iterator[Path]:
    """A temporary folder in the nearest existing folder above `output`, so that renaming is all that remains."""
    above = next(folder for folder in output.absolute().parents if folder.exists())
    with tempfile.TemporaryDirectory(prefix=".export-", dir=above) as staging:
        yield Path(staging)


def _write(net: nn.Cell, input_shape: tuple[int | None, ...], file: Path, file_format: str) -> None:
    """Exports to `file`; weights of more than 1 GB come into the folder <stem>_variables beside it."""
    images = Tensor(shape=list(input_shape), dtype=ms.float32)
    # MindSpore refuses spaces and letters beyond ASCII anywhere in the path. In the working directory, whatever else it
    # drops there disappears with the temporary folder.
    name = re.sub(r"[^0-9A-Za-z@_.:-]", "_", file.stem)
    before = os.getcwd()
    os.chdir(file.parent)
    try:
        ms.export(net, images, file_name=name + file.suffix, file_format=file_format)
    finally:
        os.chdir(before)
    split = file.with_name(f"{name}_graph{file.suffix}")
    os.replace(split if split.exists() else file.with_name(name + file.suffix), file)


def _compare(net: nn.Cell, file: Path, image_shape: tuple[int, int, int], batch_sizes: tuple[int, ...]) -> Comparison:
    run = load_exported(file)
    rng = np.random.default_rng(0)
    differences = []
    for batch_size in batch_sizes:
        images = rng.standard_normal((batch_size, *image_shape), dtype=np.float32)
        differences.append(np.abs(run(images) - net(Tensor(images)).asnumpy()).max())
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:  # NaN fails
        raise UserError(
            f"the exported file differs from the network by {largest:.1e} where {TOLERANCE:.0e} is allowed; "
            "nothing was exported"
        )
    return Comparison(largest, batch_sizes, current_device())


def _describe(card: ModelCard, batch_size: int | None) -> dict[str, Any]:
    return {
        "input": {"layout": "NCHW", "shape": [batch_size, card.in_channels, *card.image_size], "dtype": "float32"},
        "output": {"content": "logits", "shape": [batch_size, len(card.classes)], "dtype": "float32"},
        "model": card.to_dict(),
    }


def _publish(file: Path, output: Path) -> None:
    """Renames everything beside `file` into the folder of `output`: folders of weights, `file`, then its sidecar."""
    last = [file, sidecar_of(file)]
    usual = stat.S_IMODE(last[1].stat().st_mode)
    for path in file.parent.rglob("*"):  # MindSpore's own are for their owner only
        path.chmod(usual | (usual & 0o444) >> 2 if path.is_dir() else usual)
    output.parent.mkdir(parents=True, exist_ok=True)
    for item in [*(path for path in file.parent.iterdir() if path not in last), *last]:
        target = output.with_name(item.name)
        if item.is_dir() and target.exists():
            os.replace(target, file.parent / "replaced")
        os.replace(item, target)
