"""Values from outside as the types that fields ask for; nothing is converted that would be another value then."""

import json
import os
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from unicodedata import category

from .yaml_file import parse_yaml, read_scalar

LONGEST_PATH, LONGEST_NAME = 3500, 255  # bytes; what Linux takes, with room for what is added to a path
PLAIN = "UTF-8 text without control characters"
PATH = f"a path of 1 to {LONGEST_PATH} bytes, names of at most {LONGEST_NAME}"


def to_type(value: Any, hint: Any) -> Any:
    """A value of `parse_yaml` as `hint`: a plain type, None, Any, or a Literal, Union, tuple, list or dict of them.

    A whole number is taken where a float is asked for, and a list where a tuple is.

    Raises:
        TypeError: it is of another type.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        for part in parts:
            try:
                return to_type(value, part)
            except TypeError:
                continue
    elif origin is Literal:
        if any(type(part) is type(value) and part == value for part in parts):
            return value
    elif origin is tuple:
        if isinstance(value, list) and len(value) == len(parts):
            return tuple(to_type(item, part) for item, part in zip(value, parts, strict=True))
    elif origin is list:
        if isinstance(value, list):
            return [to_type(item, parts[0]) for item in value]
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is (origin or hint):
        return value
    raise TypeError


def text_to_type(text: str, hint: Any, where: str) -> Any:
    """The text of an option as `hint`: as it stands where that is text (null is None where it may be), else YAML.

    Args:
        text: what was given.
        hint: see `to_type`.
        where: what the text is, for messages.

    Raises:
        TypeError: it means a value of another type.
        UserError: it cannot be read as YAML.
    """
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if text == "null" and NoneType in parts:
        return None
    is_text = all(part in (str, NoneType) or get_origin(part) is Literal for part in parts)
    return to_type(text if is_text else parse_yaml(text, where), hint)


def type_name(hint: Any, between: str = " or ") -> str:
    """How messages and help call a type."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return between.join(repr(part) for part in parts)
    if origin in (Union, UnionType):
        return between.join(type_name(part, between) for part in parts)
    if origin is tuple:
        return f"[{', '.join(type_name(part, between) for part in parts)}]"
    return {NoneType: "null", Any: "a value"}.get(hint) or (origin or hint).__name__


def as_yaml(value: Any) -> str:
    """A value in a message, as YAML would have it: text in quotes where it would be something else without them."""
    return shortened(value if isinstance(value, str) and _is_text(value) else json.dumps(value, default=str))


def shortened(text: str, longest: int = 80) -> str:
    """Text in a message: on one line, printable, and not long."""
    text = text if text.isprintable() else json.dumps(text)
    return text if len(text) <= longest else f"{text[: longest - 20]} ... {text[-15:]}"


def is_plain(text: str) -> bool:
    """Whether text has no control characters, no line breaks and nothing that is not UTF-8."""
    return not any(category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def is_path(text: str) -> bool:
    """Whether a path can be one as far as its length goes."""
    names = os.fsencode(text).split(b"/")
    return 0 < len(os.fsencode(text)) <= LONGEST_PATH and all(len(name) <= LONGEST_NAME for name in names)


def _is_text(value: str) -> bool:
    try:
        return read_scalar(value) == value
    except ValueError:
        return False
