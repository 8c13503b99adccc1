"""ONNX files run by ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UserError
from .onnx_graph import INPUT_NAME, LOGITS_NAME, import_extra


def load_onnx(path: str | Path) -> Callable[[np.ndarray], np.ndarray | tuple[np.ndarray, ...]]:
    """An ONNX file as a function of a batch in the file's own input layout, run by ONNX Runtime on CPU.

    The function returns the logits, or the maps of a `FeatureExtractor`.

    Raises:
        UserError: `onnxruntime` is not installed, or it cannot load this file.
    """
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime's errors have only this base
        raise UserError(f"{path} is not an ONNX file that ONNX Runtime {runtime.__version__} can load") from error

    has_logits = [output.name for output in session.get_outputs()] == [LOGITS_NAME]

    def run(images: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        outputs = session.run(None, {INPUT_NAME: images})
        return outputs[0] if has_logits else tuple(outputs)

    return run
