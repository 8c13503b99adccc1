"""Former name of `weights.author_names`."""

import warnings

from .weights.author_names import *  # noqa: F403

warnings.warn("src.convert is src.weights.author_names now", DeprecationWarning, stacklevel=2)
