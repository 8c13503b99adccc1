"""Labels of a checkpoint and of data, matched by name.

Two lists of the same labels need not have the same order: a head may count 0, 1, 2, ... where folders are sorted as
text, 0, 1, 10, 11, 2, ... So a label's number means something only together with its own list. Names are compared as
NFC: some file systems take composed letters apart.

A label may begin with the id of a WordNet synset, "n02012849 crane", or be the id alone, as ImageNet's folders are.
Of two labels with ids the ids decide, whatever follows them; where one has none, the names do.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError, counted
from .imagenet import imagenet_labels

NAMED_AT_MOST = 5

_WITH_ID = re.compile(r"(n\d{8})(?: (.*))?", re.ASCII | re.DOTALL)


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
    find = _Places(head).find
    places = [find(label) for label in data]
    unknown = [label for label, there in zip(data, places, strict=True) if not there]
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
    if doubled := [label for label, there in zip(data, places, strict=True) if len(there) > 1]:
        same = [head[number] for there in places if len(there) > 1 for number in there]
        raise UserError(
            f"{checkpoint} has {count_of(doubled)} of the data more than once: {named(doubled)}; "
            + (
                f"name the data's by their ids ({named(same)})"
                if all(map(_WITH_ID.fullmatch, same))
                else "give its labels names that differ (convert.py --classes FILE), and the data's folders the same "
                "names"
            )
        )
    outputs = [there[0] for there in places]
    times = Counter(outputs)
    if doubled := sorted({label for label, output in zip(data, outputs, strict=True) if times[output] > 1}):
        raise UserError(f"the data has labels that are one and the same of {checkpoint}: {named(doubled)}")
    how = "WordNet id" if all(map(_WITH_ID.fullmatch, data)) and all(map(_WITH_ID.fullmatch, head)) else "name"
    if outputs == list(range(len(head))):
        line = f"the data has the {len(head)} labels of {checkpoint}, spelled otherwise: matched by {how}"
    elif len(outputs) == len(head):
        line = f"the data has the {len(head)} labels of {checkpoint} in another order: matched by {how}"
    else:
        there = set(outputs)
        absent = [label for number, label in enumerate(head) if number not in there]
        line = (
            f"the data has {len(outputs)} of the {len(head)} labels of {checkpoint}, matched by {how}; evaluated over "
            f"all {len(head)} outputs (not in the data: {named(absent)})"
        )
    return LabelMatch(list(head), outputs, [line])


def unknown_labels(known: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Those of `labels` that are not among `known`."""
    find = _Places(known).find
    return [label for label in labels if not find(label)]


def common_labels(head: Sequence[str], labels: Sequence[str]) -> dict[int, int]:
    """Number of each of `labels` that `head` has exactly once -> its number there."""
    find = _Places(head).find
    found = ((number, find(label)) for number, label in enumerate(labels))
    return {number: there[0] for number, there in found if len(there) == 1}


def named(labels: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(labels) - NAMED_AT_MOST} more" if len(labels) > NAMED_AT_MOST else ""
    return ", ".join(labels[:NAMED_AT_MOST]) + more


def count_of(labels: Sequence[str]) -> str:
    """'1 label' or '3 labels'."""
    return counted(len(labels), "label")


def labels_of(labels: Sequence[str]) -> str:
    """How many, and the first of them."""
    return f"{count_of(labels)}: {named(labels)}"


def one_spelling(label: str) -> str:
    """The same for all ways to compose its letters."""
    return unicodedata.normalize("NFC", label)


class _Places:
    """Where labels are in a list."""

    def __init__(self, head: Sequence[str]) -> None:
        self._labels: dict[str, list[int]] = {}
        self._ids: dict[str, list[int]] = {}
        self._names: dict[str, list[int]] = {}  # of labels with an id
        for number, label in enumerate(head):
            label = one_spelling(label)
            self._labels.setdefault(label, []).append(number)
            if found := _WITH_ID.fullmatch(label):
                self._ids.setdefault(found[1], []).append(number)
                if found[2]:
                    self._names.setdefault(found[2], []).append(number)

    def find(self, label: str) -> list[int]:
        """The numbers of the labels that are the same as `label`, none where it is unknown."""
        label = one_spelling(label)
        if label in self._labels:
            return self._labels[label]
        if found := _WITH_ID.fullmatch(label):
            return self._ids.get(found[1]) or self._labels.get(found[2], [])
        return self._names.get(label, [])


def _way_out(head: Sequence[str]) -> str:
    if are_placeholders(head):
        return "name them with convert.py --classes FILE where the checkpoint is made, one label a line"
    if list(head) == imagenet_labels():
        return (
            "where these are ImageNet's, name the data's classes by their ids (n01440764); where the checkpoint is for "
            "others, name those with convert.py --classes FILE"
        )
    return "rename the data's classes to the checkpoint's labels, remove them, or train a network on this data"
