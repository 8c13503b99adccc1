"""A progress bar with speed and time left on a terminal; nothing elsewhere, where log lines do the telling."""

import sys

from tqdm import tqdm


class Progress:
    """Counts images. Use as a context manager.

    Args:
        title: what is being done.
        total: images in all.
        done: images done before (a resumed run).
        shown: whether to show anything at all.
    """

    def __init__(self, title: str, total: int, done: int = 0, shown: bool = True):
        self.on_terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(
            desc=title,
            total=total,
            initial=done,
            unit=" images",
            dynamic_ncols=True,
            leave=False,
            disable=not self.on_terminal,
        )

    def advance(self, images: int, note: str = "") -> None:
        """`images` more are done; `note` is shown behind the bar."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(images)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()


def print_line(line: str, to_stderr: bool = False) -> None:
    """Prints a line above the bars that are on the terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    tqdm.write(line, file=stream)
    stream.flush()
