"""YAML from outside, as version 1.2 reads it, within limits, every mistake told on one line.

PyYAML, which splits the text into events here, would read version 1.1, where 010 is 8, 1:30 is 90, 1e-3 is text and
`no` is false. Scalars are those of the core schema (YAML 1.2.2, section 10.3.2) instead: 010 is 10, 0o17 is 15, 1e-3 is
a number; 1:30, 1_000, yes, no, on, off and dates are text. Tags are refused, and keys are text.
"""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError, shown

LARGEST = 1_000_000  # bytes
DEEPEST = 20  # levels of nesting
MOST_VALUES = 10_000  # keys count too, and what an alias stands for
LONGEST_NUMBER = 100  # characters

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOLEAN = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_yaml(path: Path, role: str = "") -> Any:
    """What a YAML file holds.

    Args:
        path: a UTF-8 file, with or without a byte order mark.
        role: what it is, for the message where it cannot be read: " (base of a.yaml)".

    Raises:
        UserError: it cannot be read, or as `parse_yaml` says.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"{path}{role}: expected a YAML file: it is no regular file")  # a pipe may never end
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"{path}{role}: expected a YAML file: {error.strerror}") from None
    if len(content) > LARGEST:
        raise UserError(f"{path}{role}: expected a YAML file of at most {LARGEST} bytes, got more")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """What a YAML text holds: dictionaries with text as keys, lists, text, numbers, booleans, None.

    Args:
        text: one document.
        where: what the text is, for messages.

    Raises:
        UserError: not valid YAML; too large, too deep, or with aliases that stand for too much or for themselves; a key
            that appears twice or is no text; a number that cannot be kept as it is.
    """
    if len(text) > LARGEST:
        raise UserError(f"{where}: expected YAML of at most {LARGEST} bytes, got more")
    try:
        return _Document(yaml.parse(text, Loader=yaml.SafeLoader)).read()
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{where}: not valid YAML{line}: {str(error.problem)[:200]}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{where}: not valid YAML in line {line}: unacceptable character #x{error.character:04x}"
        ) from None
    except _Unusable as error:
        raise UserError(f"{where}: line {error.line}: {error}") from None
    except (ValueError, OverflowError) as error:  # an escape beyond Unicode
        raise UserError(f"{where}: not valid YAML: {error}") from None


def to_yaml(values: Any) -> str:
    """YAML text with lists on one line; `parse_yaml` and readers of YAML 1.1 read the same values from it."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_scalar(text: str) -> None | bool | int | float | str:
    """What an unquoted scalar means.

    Raises:
        ValueError: a number too long, or one that would become 0 or infinite.
    """
    if _NULL.fullmatch(text):
        return None
    if found := _BOOLEAN.fullmatch(text):
        return found[1] is not None
    is_whole = _WHOLE.fullmatch(text)
    if not is_whole and not _NUMBER.fullmatch(text):
        return text
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"expected numbers of at most {LONGEST_NUMBER} characters, got {len(text)}")
    if is_whole:
        return int(text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else int(text)
    if text.lower().endswith(("inf", "nan")):
        return float(text.replace(".", ""))
    number = float(text)
    is_zero = re.fullmatch("[-+.0]*", re.split("[eE]", text)[0])
    if abs(number) == float("inf") or (number == 0 and not is_zero):
        raise ValueError(f"expected a number between 1e-323 and 1e308, got {text}")
    return number


class _Unusable(ValueError):
    """YAML that is valid but not what is read here."""

    def __init__(self, message: str, event: yaml.Event):
        super().__init__(message)
        self.line = event.start_mark.line + 1


class _Document:
    """Builds the values of one document from its events."""

    def __init__(self, events: Iterator[yaml.Event]):
        self._events = events
        self._num_values = 0
        self._anchored: dict[str, tuple[Any, int]] = {}  # value, and how many it holds
        self._unfinished: set[str] = set()  # anchors of the values around the present one

    def read(self) -> Any:
        next(self._events)  # the stream's start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            return None
        if start.version not in (None, (1, 2)):
            raise _Unusable(f"expected YAML 1.2, got {'.'.join(map(str, start.version))}", start)
        value = self._value(next(self._events), 1)
        next(self._events)  # the document's end
        another = next(self._events)
        if not isinstance(another, yaml.StreamEndEvent):
            raise _Unusable("expected one document, got another", another)
        return value

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            raise _Unusable(f"expected a value without a tag, got {shown(event.tag)}", event)
        if depth > DEEPEST:
            raise _Unusable(f"expected at most {DEEPEST} levels of nesting, got more", event)
        if event.anchor in self._unfinished or event.anchor in self._anchored:
            raise _Unusable(f"expected an anchor once, got another {shown('&' + event.anchor)}", event)
        before = self._num_values
        self._count(1, event)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        else:
            if event.anchor is not None:
                self._unfinished.add(event.anchor)
            is_list = isinstance(event, yaml.SequenceStartEvent)
            value = self._list(depth + 1) if is_list else self._dictionary(depth + 1)
            self._unfinished.discard(event.anchor)
        if event.anchor is not None:
            self._anchored[event.anchor] = value, self._num_values - before
        return value

    def _alias(self, event: yaml.AliasEvent) -> Any:
        alias = shown("*" + event.anchor)
        if event.anchor in self._unfinished:
            raise _Unusable(f"expected an alias of something finished, got {alias} inside what it names", event)
        if event.anchor not in self._anchored:
            raise _Unusable(f"expected an alias of an anchor above it, got {alias}", event)
        value, size = self._anchored[event.anchor]
        self._count(size, event)
        return copy.deepcopy(value)

    def _count(self, size: int, event: yaml.Event) -> None:
        self._num_values += size
        if self._num_values > MOST_VALUES:
            raise _Unusable(f"expected at most {MOST_VALUES} values, those of aliases included, got more", event)

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if event.implicit[0]:  # not quoted
            try:
                return read_scalar(event.value)
            except ValueError as error:
                raise _Unusable(str(error), event) from None
        if any("\ud800" <= character <= "\udfff" for character in event.value):
            raise _Unusable(f"expected text of Unicode, got half a character in {shown(event.value)}", event)
        return event.value

    def _list(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth))
        return values

    def _dictionary(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth)
            if not isinstance(key, str):
                raise _Unusable(f"expected a name as key, got {shown(key)}", event)
            if key in values:
                raise _Unusable(f"{shown(key)} appears twice", event)
            values[key] = self._value(next(self._events), depth)
        return values


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would take for something else, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (list, tuple):
    _Dumper.add_representer(
        _class, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True)
    )
for _tag, _pattern in (("int", _WHOLE), ("float", _NUMBER)):
    _Dumper.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern.pattern})$"), [*"-+.0123456789"]
    )
