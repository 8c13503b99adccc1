"""ONNX files run by ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import UserError, counted
from .onnx_graph import LOGITS_NAME, import_extra


def load_onnx(path: str | Path) -> Callable[..., np.ndarray | tuple[np.ndarray, ...]]:
    """An ONNX file as a function of a batch in the file's own input layout, run by ONNX Runtime on CPU.

    The function returns the logits, or several arrays: the maps of a `FeatureExtractor`, what a detector says. Of a
    detector with two stages it takes several too.

    Raises:
        UserError: `onnxruntime` is not installed, or it cannot load this file; when it is called, another number of
            arrays than the file takes.
    """
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime's errors have only this base
        raise UserError(f"{path} is not an ONNX file that ONNX Runtime {runtime.__version__} can load") from error

    names = [own.name for own in session.get_inputs()]
    has_logits = [output.name for output in session.get_outputs()] == [LOGITS_NAME]

    def run(*inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        if len(inputs) != len(names):
            raise UserError(
                f"{path} takes {', '.join(names)}, and its description speaks of {counted(len(inputs), 'array')}; "
                "export again"
            )
        outputs = session.run(None, dict(zip(names, inputs, strict=True)))
        return outputs[0] if has_logits else tuple(outputs)

    return run
