"""The authors' PyTorch weights in our networks, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from mindspore import Parameter, Tensor, nn

from ..errors import UserError

_NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_BATCH_COUNT = "num_batches_tracked"


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


def reference_weights(net: nn.Cell) -> dict[str, np.ndarray]:
    """What `net` would have as a PyTorch state dict of the authors' network.

    The same values bit for bit, by the authors' names. Batch norm's `num_batches_tracked` is 0: we do not count, and
    with a constant momentum nothing depends on it.
    """
    weights = {name: parameter.asnumpy() for name, parameter in reference_names(net).items()}
    for name, cell in net.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            weights[f"{name}.{_BATCH_COUNT}"] = np.array(0, np.int64)
    return weights


def load_reference_weights(net: nn.Cell, weights: Mapping[str, np.ndarray]) -> LoadReport:
    """Fills `net` from the authors' arrays, strictly: every parameter is filled and every array is used.

    Arrays for another image size are fitted by `resize_weights` before.

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
    unexpected, reshaped = [], []
    for name, value in weights.items():
        parameter = parameters.get(name)
        if parameter is not None and tuple(parameter.shape) == tuple(value.shape):
            report.loaded[name] = parameter.name
        elif parameter is not None:
            reshaped.append(f"{name} {tuple(value.shape)} for {tuple(parameter.shape)}")
        elif name.endswith(f".{_BATCH_COUNT}"):
            report.unused[name] = "counts batches; the running averages have a constant momentum"
        else:
            unexpected.append(f"{name} {tuple(value.shape)}")
    missing = [f"{name} {tuple(p.shape)}" for name, p in parameters.items() if name not in weights]
    if missing or unexpected or reshaped:
        groups = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        found = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in groups.items() if names]
        raise UserError(f"the weights do not fit the network: {'; '.join(found)}")
    for name in report.loaded:
        parameter = parameters[name]
        parameter.set_data(Tensor(np.asarray(weights[name], dtype=np.float32), parameter.dtype))
    return report
