"""Files of timm's own TNT here, and ours there, with the timm of .venv-benchmark (requirements-benchmark.txt)."""

import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

import convert as command
from src.weights.checkpoint import read_checkpoint, save_checkpoint
from src.weights.described_network import create_network, describe_variant

PYTHON = Path(__file__).parents[2] / ".venv-benchmark" / "bin" / "python"

TIMM = """
import sys, numpy, timm, torch
net = timm.create_model(sys.argv[1], checkpoint_path="ours.safetensors").eval()
with torch.no_grad():
    numpy.save("logits.npy", net(torch.from_numpy(numpy.load("images.npy"))).numpy())
torch.save(net.state_dict(), "timm.pth")
"""


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-benchmark with timm: see requirements-benchmark.txt")
@pytest.mark.parametrize("name", ["tnt_s_patch16_224", "tnt_b_patch16_224"])
def test_timm_reads_ours_and_we_read_its(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = describe_variant(name, {}, [str(label) for label in range(1000)], (224, 224), 3)
    ms.set_seed(0)
    net = create_network(card).set_train(False)
    save_checkpoint("ours.ckpt", net.get_parameters(), card)
    images = np.random.default_rng(0).standard_normal((2, 3, 224, 224), np.float32)
    np.save("images.npy", images)
    command.main("--reverse --names timm --input ours.ckpt --output ours.safetensors".split())

    ended = subprocess.run([PYTHON, "-c", TIMM, name], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    ms.set_context(mode=ms.PYNATIVE_MODE)
    expected = net(ms.Tensor(images)).asnumpy()
    np.testing.assert_allclose(np.load("logits.npy"), expected, rtol=0, atol=1e-4 * np.abs(expected).max())

    command.main("--input timm.pth --output back.ckpt".split())
    first, back = read_checkpoint("ours.ckpt"), read_checkpoint("back.ckpt")
    assert back.card.model == name and first.weights.keys() == back.weights.keys()
    assert all(value.tobytes() == back.weights[key].tobytes() for key, value in first.weights.items())
