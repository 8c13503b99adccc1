"""Which classes count, in which order, and their labels, as a text file says it (`data.classes`).

A line is the name of a class folder, or of a class in a list of images, or that and a label, with a tab or a comma
between them: 'n02012849' or 'n02012849,crane'. The first tab divides a line, where there is none the first comma, so
that the label of a folder with a comma in its name stands after a tab.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import UserError, printable, shown
from ..files.text_lines import read_lines
from .labels import named, one_spelling

_CONTENT = "one class folder a line, or a folder, a tab or comma, and its label"
LONGEST_LABEL = 1000


@dataclass(frozen=True)
class ClassList:
    """Classes in label order.

    Attributes:
        names: of the classes where the data lies: of folders, or in a list of images.
        labels: what they are called in checkpoints and reports.
        path: of the file; None where it is the data that says which classes there are.
    """

    names: list[str]
    labels: list[str]
    path: Path | None = None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {one_spelling(name): number for number, name in enumerate(self.names)}

    def number_of(self, name: str) -> int | None:
        """The label's number of a class; None where it is not among them."""
        return self._numbers.get(one_spelling(name))

    def check_are_there(self, names: Sequence[str], where: object) -> None:
        """Raises UserError unless all classes are among `names`, which are those of the data in `where`."""
        there = {one_spelling(name) for name in names}
        if missing := [printable(name) for name in self.names if one_spelling(name) not in there]:
            raise UserError(
                f"{self.path} names {len(missing)} of its {len(self.names)} classes that {where} does not have: "
                f"{named(missing)}; there are {named([printable(name) for name in names])}: correct the file"
            )


def read_class_list(path: str | Path) -> ClassList:
    """The classes that a file names.

    Raises:
        UserError: it cannot be read, or a line is empty, has an empty part or names a class or label again.
    """
    path = Path(path)
    names: list[str] = []
    labels: list[str] = []
    first: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_lines(path, _CONTENT), start=1):
        name, mark, label = line.partition("\t" if "\t" in line else ",")
        name, label = name.strip(), label.strip() if mark else name.strip()
        for kind, text in (("class", name), ("label", label)):
            if not text or not text.isprintable() or len(text) > LONGEST_LABEL:
                raise UserError(f"{path}: line {number} is {shown(line)}: expected {_CONTENT}")
            if (earlier := first.setdefault((kind, one_spelling(text)), number)) != number:
                raise UserError(f"{path}: lines {earlier} and {number} both have the {kind} {shown(text)}: remove one")
        names.append(name)
        labels.append(label)
    return ClassList(names, labels, path)
