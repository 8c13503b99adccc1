"""Our network in a timed process; see loop.py. It writes the weights and the input that its peers take, and its own
answer, into the folder of the task."""

import json
import sys
import time
from pathlib import Path

from benchmarks.step_time import build  # first: it quiets MindSpore's log before MindSpore is imported

import mindspore as ms  # isort: skip
import numpy as np
from mindspore import ops

from benchmarks.timed.loop import SIDE, serve
from src.export.onnx_cells import build_onnx
from src.weights.author_names import reference_weights
from src.weights.timm_names import to_timm
from src.weights.torch_file import write_safetensors


def main() -> None:
    task = json.loads(sys.argv[1])
    folder, model, kind = Path(task["folder"]), task["model"], task["kind"]
    cell, inputs, net = build(kind, model, task["arguments"], task["batch_size"], "CPU")
    if "weights" in task["write"]:
        write_safetensors(folder / "authors.safetensors", reference_weights(net))
        if model.startswith("tnt"):
            write_safetensors(folder / "timm.safetensors", to_timm(reference_weights(net)))
    if "onnx" in task["write"]:
        model_file = build_onnx(net, inputs[0].shape[1:])
        (folder / "network.onnx").write_bytes(model_file.SerializeToString())
    for name, value in zip(("images", "targets"), inputs, strict=False):
        np.save(folder / f"{name}.npy", value.asnumpy())

    def step() -> np.ndarray:
        outputs = cell(*inputs)
        return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))][0]

    since = time.perf_counter()
    first = step()
    seconds = time.perf_counter() - since
    np.save(folder / f"{task['name']}.npy", first)
    a, b = (ms.Tensor(x) for x in np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32))
    matmul = ops.MatMul()
    serve(step, lambda: matmul(a, b).asnumpy(), version=f"MindSpore {ms.__version__}", first_step_seconds=seconds)


if __name__ == "__main__":
    main()
