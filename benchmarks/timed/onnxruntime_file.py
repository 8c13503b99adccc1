"""An ONNX file under ONNX Runtime in a timed process; see loop.py."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.timed.loop import SIDE, serve


def main() -> None:
    task = json.loads(sys.argv[1])
    folder = Path(task["folder"])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(folder / task["file"]), options, providers=["CPUExecutionProvider"])
    feed = {"images": np.load(folder / "images.npy")}

    def step() -> np.ndarray:
        return session.run(None, feed)[0]

    np.save(folder / f"{task['name']}.npy", step())
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    serve(step, lambda: a @ b, version=f"ONNX Runtime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
