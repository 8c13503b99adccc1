"""The same folder under the name that it has where it is installed: a network, a checkpoint, a prediction."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]

PROGRAM = """
import sys
from pathlib import Path
from tnt_mindspore.config import SHIPPED, load_config
from tnt_mindspore.devices.device import set_up_device
from tnt_mindspore.prediction.open_classifier import open_checkpoint
from tnt_mindspore.prediction.predictions import predict_images
from tnt_mindspore.weights.checkpoint import save_checkpoint
from tnt_mindspore.weights.described_network import create_network, describe_variant
from tnt_mindspore.weights.model_card import ModelCard
config = load_config(SHIPPED / "demo" / "tnt_digits.yaml")
set_up_device("CPU", seed=0, uses_convolution=True)
card = describe_variant("tnt_ti_patch16_224", {"depth": 1}, ["cat", "dog"], 32)
save_checkpoint("net.ckpt", create_network(card).get_parameters(), card)
classifier = open_checkpoint(Path("net.ckpt"), config)
for prediction in predict_images(classifier, [Path("a.png")], batch_size=1, top_k=2, workers=0):
    print(sorted(label for label, _ in prediction.top))
print([name for name in sys.modules if name.split(".")[0] == "src"])
"""


def test_the_installed_package_works_by_its_own_name(tmp_path):
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "tnt_mindspore").symlink_to(REPOSITORY / "src")
    Image.new("RGB", (40, 40), "red").save("a.png")
    environment = {"PYTHONPATH": str(tmp_path / "packages"), "GLOG_v": "4", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["['cat', 'dog']", "[]"]
