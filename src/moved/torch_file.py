"""Former name of `weights.torch_file`."""

import warnings

from .weights.torch_file import *  # noqa: F403

warnings.warn("src.torch_file is src.weights.torch_file now", DeprecationWarning, stacklevel=2)
