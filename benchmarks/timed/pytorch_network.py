"""A network of timm or of the authors in PyTorch in a timed process; see loop.py. It needs no MindSpore."""

import importlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

from benchmarks.timed.loop import SIDE, serve

MODULES = {"ptnt": ("tnt_pytorch", "pyramid_tnt"), "t2t": (".", "models")}
"""Family -> folder in the authors' repository that is imported from, and module."""


def create(model: str, peer: str | None, folder: Path) -> nn.Module:
    """A network with the weights that our process wrote."""
    if peer is None:
        net, file = timm.create_model(model), "timm.safetensors"
    else:
        inside, module = MODULES[model.partition("_")[0]]
        sys.path.insert(0, str(Path(peer) / inside))
        net, file = getattr(importlib.import_module(module), model)(), "authors.safetensors"
    from safetensors.torch import load_file

    net.load_state_dict(load_file(folder / file), strict=True)
    return net


def training_step(net: nn.Module, task: dict) -> object:
    """The step of timm's training script for this recipe: AdamW, decay for matrices only, label smoothing."""
    decayed = [p for p in net.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in net.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": task["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=task["lr"])
    criterion = nn.CrossEntropyLoss(label_smoothing=task["label_smoothing"])

    def step(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(images), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def main() -> None:
    warnings.simplefilter("ignore")
    task = json.loads(sys.argv[1])
    folder = Path(task["folder"])
    net = create(task["model"], task["peer"], folder).train(task["kind"] == "training")
    run = torch.compile(net) if task["compiled"] else net
    images = torch.from_numpy(np.load(folder / "images.npy"))
    if task["kind"] == "training":
        targets = torch.from_numpy(np.load(folder / "targets.npy")).long()
        train = training_step(run, task)

        def step() -> np.ndarray:
            return train(images, targets).numpy()
    else:

        def step() -> np.ndarray:
            with torch.inference_mode():
                return run(images).numpy()

    np.save(folder / f"{task['name']}.npy", step())
    a, b = torch.from_numpy(np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32))
    serve(step, lambda: a @ b, version=f"PyTorch {torch.__version__.partition('+')[0]}, timm {timm.__version__}")


if __name__ == "__main__":
    main()
