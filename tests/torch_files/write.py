"""Writes the files of this folder with PyTorch 2.13, which the tests themselves do not need.

    python tests/torch_files/write.py        # needs torch==2.13.0

`types_*` hold the tensors that tests/test_torch_file.py computes again with NumPy, `checkpoint_*` a wrapped training
state, `module_zip` a whole module (as a legacy file it would contain PyTorch's source text).
"""

from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


def types() -> OrderedDict:
    grid = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    tensors = OrderedDict(
        float16=torch.tensor([0.5, -65504.0, 6e-8], dtype=torch.float16),
        bfloat16=torch.tensor([[1.0, -2.5], [3.0e38, 1.0078125]], dtype=torch.bfloat16),
        float32=grid,
        float64=torch.tensor([0.1, -1e300], dtype=torch.float64),
        int8=torch.tensor([-128, 127], dtype=torch.int8),
        int16=torch.tensor([-32768, 32767], dtype=torch.int16),
        int32=torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
        int64=torch.tensor([-(2**63), 2**63 - 1], dtype=torch.int64),
        uint8=torch.tensor([0, 255], dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        number=torch.tensor(7),
        empty=torch.zeros(0, 3),
        transposed=grid.t(),  # shares the storage of float32, as the next two do
        corner=grid[1:3, 2:5],
        every_third=grid.flatten()[1::3],
        last_row=grid[3],
        expanded=torch.tensor([[1.0], [2.0]]).expand(2, 3),
        parameter=torch.nn.Parameter(torch.tensor([1.5, 2.5])),
    )
    tensors._metadata = OrderedDict([("", {"version": 1})])  # as every state dict of a module has it
    return tensors


def checkpoint() -> dict:
    """What a training script saves: data-parallel names, averaged weights, optimizer state after one step."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + 10 * number)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    weights = {f"module.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    network(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "arch": "tnt_s_patch16_224",
        "state_dict": weights,
        "optimizer": optimizer.state_dict(),
        "state_dict_ema": OrderedDict((name, (tensor / 2).to(tensor.dtype)) for name, tensor in weights.items()),
        "version": 2,
        "metric": 81.5,
        "shape": torch.Size([2, 3]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    for name, content in {"types": types(), "checkpoint": checkpoint()}.items():
        torch.save(content, FOLDER / f"{name}_zip.pth")
        torch.save(content, FOLDER / f"{name}_legacy.pth.tar", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module_zip.pth")
