"""Files for deployment written and run on the device."""

import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from src.config import load_config
from src.devices.device import current_device
from src.export.exporter import Exporter, Form
from src.tasks import create_task

from .check import Check, Measurement, NotApplicable, Part
from .training import REPOSITORY

NETWORKS = {"TNT": "tnt_digits", "PyramidTNT": "ptnt_digits", "T2T-ViT": "t2t_digits"}
ENDINGS = {"MINDIR": "mindir", "ONNX": "onnx", "AIR": "air"}


@dataclass(frozen=True)
class Written:
    """A network with random weights as a file; the exporter loads it back and compares."""

    network: str
    form: Form

    def __call__(self) -> Measurement:
        if self.form.file_format == "ONNX" and not (find_spec("onnx") and find_spec("onnxruntime")):
            raise NotApplicable("needs the packages of requirements-onnx.txt")
        if self.form.file_format == "AIR" and current_device() != "Ascend":
            raise NotApplicable("AIR is written on Ascend")
        task = create_task(load_config(REPOSITORY / f"config/demo/{NETWORKS[self.network]}.yaml"))
        task.open_without_data()
        net = task.create_network(for_training=False)
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, f"net.{ENDINGS[self.form.file_format]}")
            written = Exporter(net, task.card).write(output, self.form)
        if written.comparison is None:
            return Measurement(note="written; MindSpore cannot load AIR files back")
        return Measurement(written.comparison.largest_difference, written.comparison.allowed)


def _parts(device: str, quick: bool) -> dict[str, Part]:
    forms = {"MINDIR": Form(), "ONNX": Form("ONNX")}
    if not quick:
        forms |= {"MINDIR float16": Form(precision="float16"), "AIR": Form("AIR", batch_size=1)}
    networks = list(NETWORKS)[: 1 if quick else None]
    return {f"{network} {name}": Written(network, form) for network in networks for name, form in forms.items()}


CHECKS = {"files": Check("exported files, loaded back, against the network", _parts, 180)}
