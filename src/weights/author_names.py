"""The authors' PyTorch weights in our networks, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from mindspore import Parameter, Tensor, nn

from ..errors import UserError
from .timm_names import by_author_names

_NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_BATCH_COUNT = "num_batches_tracked"
_MOST_NAMES = 10  # of a kind, in a message


@dataclass
class LoadReport:
    """What became of every array.

    Attributes:
        loaded: the array's name -> parameter name, for every array that filled a parameter.
        unused: the array's name -> why our networks have no place for it.
        absent: the authors' name of a parameter that was filled without an array -> why it needs none.
    """

    loaded: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def reference_names(net: nn.Cell) -> dict[str, Parameter]:
    """The parameters of `net` by the names that they have in the authors' PyTorch networks."""
    names, seen = {}, set()
    for cell_name, cell in net.cells_and_names():
        prefix = f"{cell_name}." if cell_name else ""
        is_norm = isinstance(cell, nn.LayerNorm | nn.BatchNorm2d)
        for attribute, parameter in cell.parameters_and_names(expand=False):
            leaf = attribute.rsplit(".", 1)[-1]
            if id(parameter) not in seen:  # a detector's backbone for portrait images has the same ones
                names[prefix + (_NORM_NAMES[leaf] if is_norm else leaf)] = parameter
                seen.add(id(parameter))
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
        weights: names of a PyTorch state dict, the authors' or those of timm's TNT -> arrays. Batch norm's
            `num_batches_tracked` may be there or not; our running averages do not count batches.

    Returns:
        What became of every array.

    Raises:
        UserError: names are missing or unexpected, or shapes differ (their number, and ten of them); the network is
            unchanged.
    """
    parameters, named, report = reference_names(net), by_author_names(weights), LoadReport()
    unexpected, reshaped = [], []
    for name, value in named.weights.items():
        parameter, file_name = parameters.get(name), named.file_names.get(name, name)
        if parameter is not None and tuple(parameter.shape) != tuple(value.shape):
            reshaped.append(f"{file_name} {tuple(value.shape)} for {tuple(parameter.shape)}")
        elif name in named.absent and parameter is not None:
            report.absent[name] = named.absent[name]
        elif parameter is not None:
            report.loaded[file_name] = parameter.name
        elif name.endswith(f".{_BATCH_COUNT}"):
            report.unused[file_name] = "counts batches; the running averages have a constant momentum"
        else:
            unexpected.append(f"{file_name} {tuple(value.shape)}")
    missing = [f"{name} {tuple(p.shape)}" for name, p in parameters.items() if name not in named.weights]
    if missing or unexpected or reshaped:
        groups = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        found = [f"{len(names)} {kind}: {_listed(names)}" for kind, names in groups.items() if names]
        raise UserError(f"the weights do not fit the network: {'; '.join(found)}")
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(np.asarray(named.weights[name], dtype=np.float32), parameter.dtype))
    return report


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
