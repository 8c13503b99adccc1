"""Values of a checkpoint into the parameters of a network and of its training, strictly."""

from collections.abc import Iterable, Mapping

import numpy as np
from mindspore import Parameter, Tensor, nn

from ..errors import UserError
from .checkpoint import Checkpoint


def load_weights(net: nn.Cell, checkpoint: Checkpoint) -> None:
    """Fills every parameter of `net`.

    Raises:
        UserError: the checkpoint misses parameters, has others, or others' shapes or types; `net` is unchanged.
    """
    _fill({p.name: p for p in net.get_parameters()}, checkpoint.weights, f"{checkpoint.path} does not fit this network")


def load_state(parameters: Iterable[Parameter], checkpoint: Checkpoint) -> None:
    """Fills the parameters that training has besides the network's.

    Raises:
        UserError: the checkpoint was not saved for resuming, or for another run.
    """
    if not checkpoint.state:
        raise UserError(f"{checkpoint.path} holds weights only and cannot be resumed from; resume from a last.ckpt")
    if missing := {"step", "steps_per_epoch"} - checkpoint.progress.keys():
        raise UserError(f"{checkpoint.path} does not say its {min(missing)} and cannot be resumed from")
    _fill({p.name: p for p in parameters}, checkpoint.state, f"{checkpoint.path} is of another run")


def _fill(parameters: Mapping[str, Parameter], values: Mapping[str, np.ndarray], problem: str) -> None:
    missing = [name for name in parameters if name not in values]
    unexpected = [name for name in values if name not in parameters]
    shared = [name for name in parameters if name in values]
    reshaped = [
        f"{name} {values[name].shape} for {tuple(parameters[name].shape)}"
        for name in shared
        if values[name].shape != tuple(parameters[name].shape)
    ]
    retyped = [
        f"{name} {values[name].dtype} for {str(parameters[name].dtype).lower()}"
        for name in shared
        if values[name].dtype.kind != _kind_of(parameters[name])
    ]
    if missing or unexpected or reshaped or retyped:
        kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped, "of another type": retyped}
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in kinds.items()
            if names
        ]
        raise UserError(f"{problem}: of {len(parameters)} parameters " + ", ".join(parts))
    for name in shared:
        parameters[name].set_data(Tensor(values[name], parameters[name].dtype))


def _kind_of(parameter: Parameter) -> str:
    """The kind of its type, as `numpy.dtype.kind` says it."""
    name = str(parameter.dtype).rstrip("0123456789_").lower()
    return {"float": "f", "bfloat": "f", "int": "i", "uint": "u", "bool": "b"}.get(name, name)
