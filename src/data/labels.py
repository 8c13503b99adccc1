"""Labels of a checkpoint and of data, matched by name.

Two lists of the same labels need not have the same order: a head may count 0, 1, 2, ... where folders are sorted as
text, 0, 1, 10, 11, 2, ... So a label's number means something only together with its own list. Names are compared as
NFC: some file systems take composed letters apart.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError

NAMED_AT_MOST = 5


@dataclass(frozen=True)
class LabelMatch:
    """How the labels of data belong to a network's outputs.

    Attributes:
        classes: label of each output.
        outputs: for each label of the data, the number of its output.
        lines: what a user should know about it; empty where both lists are equal.
    """

    classes: list[str]
    outputs: list[int]
    lines: list[str]


def are_placeholders(classes: Sequence[str]) -> bool:
    """Whether labels are "0", "1", ..., "N-1" in this order, as in a checkpoint that was made without names."""
    return list(classes) == [str(number) for number in range(len(classes))]


def match_labels(head: Sequence[str], data: Sequence[str], checkpoint: object) -> LabelMatch:
    """Finds the output of each label of `data`.

    Placeholders in `head` take the names of as many other labels, in the data's order.

    Args:
        head: labels of a network's outputs.
        data: labels of a data set; the same, in whatever order, or some of them.
        checkpoint: names the network's file in messages.

    Raises:
        UserError: the head does not have a label of the data, or has it more than once.
    """
    if list(head) == list(data):
        return LabelMatch(list(head), list(range(len(data))), [])
    unknown = unknown_labels(head, data)
    if unknown and are_placeholders(head) and len(head) == len(data):
        line = (
            f"{checkpoint} numbers its {len(head)} labels and does not name them: they are taken to be the data's, in "
            f"their order ({named(data)})"
        )
        return LabelMatch(list(data), list(range(len(data))), [line])
    if unknown:
        raise UserError(
            f"the data has {count_of(unknown)} that {checkpoint} does not know: {named(unknown)}; it knows "
            f"{named(head)}: {_way_out(head)}"
        )
    places = _places(head)
    if doubled := [label for label in data if len(places[_key(label)]) > 1]:
        raise UserError(
            f"{checkpoint} has {count_of(doubled)} of the data more than once: {named(doubled)}; give its labels names "
            "that differ (convert.py --classes FILE), and the data's folders the same names"
        )
    outputs = [places[_key(label)][0] for label in data]
    if doubled := sorted({label for label in data if outputs.count(places[_key(label)][0]) > 1}):
        raise UserError(f"the data has labels that are the same but for how letters are composed: {named(doubled)}")
    if len(outputs) == len(head):
        line = f"the data has the {len(head)} labels of {checkpoint} in another order: matched by name"
    else:
        absent = [label for number, label in enumerate(head) if number not in outputs]
        line = (
            f"the data has {len(outputs)} of the {len(head)} labels of {checkpoint}, matched by name; evaluated over "
            f"all {len(head)} outputs (not in the data: {named(absent)})"
        )
    return LabelMatch(list(head), outputs, [line])


def unknown_labels(known: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Those of `labels` that are not among `known`."""
    keys = {_key(label) for label in known}
    return [label for label in labels if _key(label) not in keys]


def common_labels(head: Sequence[str], labels: Sequence[str]) -> dict[int, int]:
    """Number of each of `labels` that `head` has exactly once -> its number there."""
    places = _places(head)
    found = ((number, places.get(_key(label), [])) for number, label in enumerate(labels))
    return {number: there[0] for number, there in found if len(there) == 1}


def named(labels: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(labels) - NAMED_AT_MOST} more" if len(labels) > NAMED_AT_MOST else ""
    return ", ".join(labels[:NAMED_AT_MOST]) + more


def count_of(labels: Sequence[str]) -> str:
    """'1 label' or '3 labels'."""
    return f"{len(labels)} label{'s' if len(labels) != 1 else ''}"


def _places(head: Sequence[str]) -> dict[str, list[int]]:
    """Label, in one spelling -> its numbers."""
    places: dict[str, list[int]] = {}
    for number, label in enumerate(head):
        places.setdefault(_key(label), []).append(number)
    return places


def _way_out(head: Sequence[str]) -> str:
    if are_placeholders(head):
        return "name them with convert.py --classes FILE where the checkpoint is made, one label a line"
    return "rename the data's classes to the checkpoint's labels, remove them, or train a network on this data"


def _key(label: str) -> str:
    return unicodedata.normalize("NFC", label)
