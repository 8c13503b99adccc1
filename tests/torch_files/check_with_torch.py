"""Weights that PyTorch wrote, at full size: converted, compared with the authors' logits, and back bit for bit.

    python tests/torch_files/check_with_torch.py                          # makes an environment with PyTorch
    python tests/torch_files/check_with_torch.py --torch_python PYTHON    # one with torch, numpy and safetensors

For one variant of each family it takes the weights of tests/reference and

1. saves them with `torch.save`, wrapped as the authors' files are, in the zip and in the legacy format;
2. converts both files by `convert.py` into checkpoints, which must be equal;
3. compares the network's logits with those of the authors' network;
4. writes .safetensors by `convert.py --reverse`, which PyTorch must find equal to what it saved, bit for bit;
5. lets PyTorch save what it read, converts that, and compares with the first checkpoint, bit for bit.

Takes some minutes and 1 GB of disk. The fast tests do the same with small networks and no PyTorch.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

CASES = {"tnt_s_patch16_224": None, "pyramid_tnt_ti_192": None, "t2t_vit_7": "state_dict_ema"}  # name: wrapper
REQUIREMENTS = ("torch==2.13.0", "numpy<2", "safetensors")


# --- with PyTorch ---


def write(name: str, wrapper: str | None, folder: Path) -> None:
    """Saves the weights of a case as FOLDER/zip.pth.tar and FOLDER/legacy.pth.tar."""
    import torch

    weights = state_dict(name)
    content = weights
    if wrapper is not None:
        content = {
            "epoch": 310,
            "arch": name,
            "state_dict": {f"module.{name}": tensor + 1 for name, tensor in weights.items()},  # must not be taken
            wrapper: {f"module.{name}": tensor for name, tensor in weights.items()},
        }
    torch.save(content, folder / "zip.pth.tar")
    torch.save(content, folder / "legacy.pth.tar", _use_new_zipfile_serialization=False)


def read_back(name: str, folder: Path) -> None:
    """Compares FOLDER/back.safetensors with the weights of a case and saves what was read as FOLDER/back.pth."""
    import torch
    from safetensors.torch import load_file

    weights, back = state_dict(name), load_file(folder / "back.safetensors")
    assert set(back) == set(weights), sorted(set(back) ^ set(weights))
    for key, tensor in weights.items():
        assert back[key].dtype == tensor.dtype and torch.equal(back[key], tensor), key
    torch.save(back, folder / "back.pth")


def state_dict(name: str) -> dict:
    import json

    import torch

    from tests.reference.fill import fill_parameter

    meta = json.loads((REPOSITORY / "tests" / "reference" / f"{name}.json").read_text())
    weights = {}
    for key, shape in meta["state_dict"]:
        value = torch.from_numpy(fill_parameter(key, shape, meta["seed"]).copy())
        weights[key] = value.long() if key.endswith("num_batches_tracked") else value
    return weights


# --- with the project's environment ---


def check(name: str, wrapper: str | None, torch_python: str, folder: Path) -> None:
    import numpy as np

    import convert
    from src.weights.checkpoint import read_checkpoint
    from src.weights.described_network import create_network
    from src.weights.loading import load_weights
    from tests.parity import load_case

    def converted(file: str) -> dict[str, np.ndarray]:
        convert.main(["--input", str(folder / file), "--output", str(folder / f"{file}.ckpt")])
        return read_checkpoint(folder / f"{file}.ckpt").weights

    def with_torch(step: str) -> None:
        subprocess.run([torch_python, __file__, step, name, wrapper or "", str(folder)], check=True)

    print(f"--- {name}")
    with_torch("write")
    first = converted("zip.pth.tar")
    assert_equal(first, converted("legacy.pth.tar"))
    print("both formats give the same checkpoint")

    checkpoint = read_checkpoint(folder / "zip.pth.tar.ckpt")
    net = create_network(checkpoint.card)
    load_weights(net, checkpoint)
    case = load_case(name)
    difference = np.abs(net(case.images()).asnumpy() - case.arrays["logits"]).max()
    print(f"largest difference from the authors' logits: {difference:.1e}")
    assert difference < 1e-4

    convert.main(
        ["--reverse", "--input", str(folder / "zip.pth.tar.ckpt"), "--output", str(folder / "back.safetensors")]
    )
    with_torch("read_back")
    assert_equal(first, converted("back.pth"))
    print("to PyTorch and back without a changed bit")


def assert_equal(first: dict, second: dict) -> None:
    assert list(first) == list(second)
    for name, array in first.items():
        assert array.dtype == second[name].dtype and array.tobytes() == second[name].tobytes(), name


def create_environment(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def main() -> None:
    if sys.argv[1:2] in (["write"], ["read_back"]):
        step, name, wrapper, folder = sys.argv[1:]
        if step == "write":
            write(name, wrapper or None, Path(folder))
        else:
            read_back(name, Path(folder))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch_python", help="interpreter that has torch, numpy and safetensors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        torch_python = options.torch_python or create_environment(Path(temporary) / "environment")
        for name, wrapper in CASES.items():
            folder = Path(temporary) / name
            folder.mkdir()
            check(name, wrapper, torch_python, folder)
    print("all equal")


if __name__ == "__main__":
    main()
