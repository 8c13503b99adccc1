"""A profile of a few steps of a run."""

from pathlib import Path

import mindspore as ms

PROFILED_STEPS = 5


class StepProfile:
    """Records `PROFILED_STEPS` steps after the first, which compiles; once.

    Args:
        folder: for the profile; None for none.
    """

    def __init__(self, folder: Path | None):
        self._folder, self._profiler, self._steps = folder, None, 0

    def before_step(self, is_first: bool) -> None:
        """Begins the profile where it is due; told whether the step is the first of an epoch in this process."""
        if self._folder is not None and not is_first and self._profiler is None:
            self._profiler = ms.Profiler(output_path=str(self._folder))

    def after_step(self, is_last: bool) -> str | None:
        """Ends the profile where it is complete, or the step the last of an epoch; returns a line for the log then."""
        if self._profiler is None:
            return None
        self._steps += 1
        if self._steps < PROFILED_STEPS and not is_last:
            return None
        self._profiler.analyse()
        line = f"profile of {self._steps} steps in {self._folder}"
        self._folder = self._profiler = None
        return line
