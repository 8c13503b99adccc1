"""Exports every variant in every format and compares: python benchmarks/verified_exports.py --markdown FILE

Weights are random, biases and norms too, so that nothing is 0 or 1 by chance. Each file is loaded back and compared
with the network at batch sizes 1 and 3, as export.py does it; then it is deleted. The table is in docs/results.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

import mindspore as ms  # isort: skip
import numpy as np
from mindspore import Tensor, nn

from benchmarks.written_table import WrittenTable
from src.devices.device import set_up_device
from src.errors import UserError, nearest
from src.export.exporter import Exporter, Form
from src.export.file_names import ending_of
from src.models import get_variant, list_models
from src.terminal.text_table import Table
from src.weights.described_network import create_network
from src.weights.model_card import ModelCard

FORMS = (Form(), Form(precision="float16"), Form("ONNX"), Form("ONNX", precision="float16"))


def fill(net: nn.Cell) -> nn.Cell:
    """Weights as for the start of training; biases, gains and statistics that differ from 0 and 1."""
    rng = np.random.default_rng(1)
    for parameter in net.get_parameters():
        if parameter.ndim == 1:
            value = (
                rng.uniform(0.7, 1.3, parameter.shape)
                if _is_factor(parameter.name)
                else rng.normal(0, 0.1, parameter.shape)
            )
            parameter.set_data(Tensor(value.astype(np.float32)))
    return net


def _is_factor(name: str) -> bool:
    return name.endswith((".gamma", "moving_variance"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="verified_exports.py", description=__doc__.partition(":")[0])
    parser.add_argument("models", nargs="*", metavar="NAME", help="variants; all when left out")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="document whose table of this script is replaced")
    options = parser.parse_args()
    names = options.models or list_models()
    for name in names:
        if name not in list_models():
            raise UserError(f"unknown variant {name!r}; {nearest(name, list_models())}")
    place = None if options.markdown is None else WrittenTable(options.markdown, "verified_exports.py")
    set_up_device("CPU", seed=0, uses_convolution=True)
    header = ["variant", *(f"{form.file_format} {form.precision}" for form in FORMS)]
    rows = []
    for name in names:
        variant = get_variant(name)
        card = ModelCard(
            model=name,
            arguments={},
            classes=[str(label) for label in range(1000)],
            image_size=(variant.image_size, variant.image_size),
            in_channels=3,
            mean=variant.mean,
            std=variant.std,
            crop_pct=0.9,
        )
        exporter = Exporter(fill(create_network(card)), card)
        with tempfile.TemporaryDirectory() as folder:
            cells = []
            for form in FORMS:
                export = exporter.write(Path(folder) / f"net{ending_of(form.file_format)}", form)
                cells.append(f"{export.comparison.largest_difference:.1e} ({export.num_bytes / 1e6:.1f} MB)")
        rows.append([name, *cells])
        print(" | ".join(rows[-1]), flush=True)
    table = Table(f"Largest difference from the network, MindSpore {ms.__version__}, CPU", header, rows)
    if place is not None:
        place.write(table.markdown())


if __name__ == "__main__":
    run_command(main)
