"""The authors' PyTorch weights in our networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from mindspore import Parameter, Tensor, nn

from src.errors import UserError

_NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


@dataclass
class LoadReport:
    """What became of every array.

    Attributes:
        loaded: reference name -> parameter name, for every array that filled a parameter.
        unused: reference name -> why our networks have no place for it.
    """

    loaded: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


def reference_names(net: nn.Cell) -> dict[str, Parameter]:
    """The parameters of `net` by the names that they have in the authors' PyTorch networks."""
    names = {}
    for cell_name, cell in net.cells_and_names():
        prefix = f"{cell_name}." if cell_name else ""
        is_norm = isinstance(cell, nn.LayerNorm | nn.BatchNorm2d)
        for attribute, parameter in cell.parameters_and_names(expand=False):
            leaf = attribute.rsplit(".", 1)[-1]
            names[prefix + (_NORM_NAMES[leaf] if is_norm else leaf)] = parameter
    return names


def load_reference_weights(net: nn.Cell, weights: Mapping[str, np.ndarray]) -> LoadReport:
    """Fills `net` from the authors' arrays, strictly: every parameter is filled and every array is used.

    Args:
        net: a network of `create_model`.
        weights: PyTorch state-dict names -> arrays. Batch norm's `num_batches_tracked` may be there or not; our
            running averages do not count batches.

    Returns:
        What became of every array.

    Raises:
        UserError: names are missing or unexpected, or shapes differ; all are listed and the network is unchanged.
    """
    parameters = reference_names(net)
    report = LoadReport()
    problems = []
    for name, value in weights.items():
        parameter = parameters.get(name)
        if parameter is not None and tuple(parameter.shape) == tuple(value.shape):
            report.loaded[name] = parameter.name
        elif parameter is not None:
            problems.append(f"{name}: expected shape {tuple(parameter.shape)}, got {tuple(value.shape)}")
        elif name.endswith(".num_batches_tracked"):
            report.unused[name] = "counts batches; the running averages have a constant momentum"
        else:
            problems.append(f"{name}: unexpected, the network has no such parameter")
    problems += [f"{name}: missing" for name in parameters if name not in weights]
    if problems:
        raise UserError("these weights do not fit the network:\n  " + "\n  ".join(problems))
    for name in report.loaded:
        parameter = parameters[name]
        parameter.set_data(Tensor(np.asarray(weights[name], dtype=np.float32), parameter.dtype))
    return report
