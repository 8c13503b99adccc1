"""Mutations of bytes, of texts and of JSON, and whether a value is what a JSON text says."""

import copy
import json
import math
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    255,
    256,
    65_536,
    65_537,
    10**6,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**63,
    2**64,
    10**400,
)
ODD_VALUES = (
    *NUMBERS, None, True, False, 0.5, -0.5, 1e-9, 1e-300, 1e308, -1e308, math.nan, math.inf, -math.inf, 1.0, 32.0, -0.0,
    "", "a", "tnt", "\n", "\x1b[31m", "\udc80", "é狗", "a" * 2000, "0.9", "NaN", "None", "__class__",
    [], [None], [[]], {}, {"": None}, {"a": {"b": []}}, [0] * 1000, [1, 2], [1.5] * 3, ["a"] * 3,
)  # fmt: skip
ODD_TEXTS = (
    "NaN",
    "-Infinity",
    "1e999",
    "-1e-999",
    "010",
    "0x10",
    "1_000",
    "'a'",
    "\ufeff",
    "\0",
    "//",
    ",",
    "}",
    "[",
    '"',
)
DEPTHS = (20, 200, 900, 100_000)


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """Bits flipped, bytes put in, left out, doubled or moved, or the end cut off."""
    data, size = bytearray(content), len(content)
    first = random.randrange(size + 1)
    last = min(size, first + random.choice((1, 2, 4, 8, 100)))
    match random.randrange(7):
        case 0 | 1:
            for _ in range(random.choice((1, 1, 2, 5))):
                data[random.randrange(size)] ^= 1 << random.randrange(8)
        case 2:
            data[first:first] = random.randbytes(random.choice((1, 2, 10, 1000)))
        case 3:
            del data[first:last]
        case 4:
            data[first:first] = data[first:last]
        case 5:
            part = data[first:last]
            del data[first:last]
            second = random.randrange(len(data) + 1)
            data[second:second] = part
        case 6:
            del data[first:]
    return bytes(data)


def mutate_json(value: Any, random: Random) -> Any:
    """A copy with values replaced, put in, left out, doubled or exchanged, in one to three places."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holders = list(_holders(value))
        if not holders:
            return value
        holder = random.choice(holders)
        key = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
        match random.randrange(10):
            case 0 | 1 | 2 | 3:
                holder[key] = copy.deepcopy(random.choice(ODD_VALUES))
            case 4:
                holder[key] = _near(holder[key], random)
            case 5:
                del holder[key]
            case 6:
                other = random.choice(holders)
                keys = list(other) if isinstance(other, dict) else range(len(other))
                if len(keys):
                    holder[key] = copy.deepcopy(other[random.choice(keys)])
            case 7:
                if isinstance(holder, list):
                    holder.insert(key, copy.deepcopy(holder[key]))
                else:
                    holder[_misspelt(key, random)] = holder.pop(key)
            case 8:
                if isinstance(holder, list):
                    random.shuffle(holder)
                else:
                    holder[random.choice((_misspelt(key, random), "more", ""))] = random.choice(ODD_VALUES)
            case 9:
                holder[key] = _nested(random.choice(DEPTHS[:2]), random)
    return value


def mutate_text(text: str, random: Random) -> str:
    """JSON text that is none any more, or that says the same thing twice or in odd numbers."""
    place = random.randrange(len(text))
    digits = [index for index, character in enumerate(text) if character.isdigit()]
    match random.randrange(8):
        case 0:
            return text[:place] + random.choice(ODD_TEXTS) + text[place:]
        case 1 if digits:
            place = random.choice(digits)
            more = random.choice(("9" * 5000, "9" * 400, "e999", "e-999", ".0", "e0", "0", "-", ".", "5" * 30))
            return text[: place + 1] + more + text[place + 1 :]
        case 2:
            deep = random.choice(DEPTHS)
            inner = random.choice(("[", '{"a":'))
            return text[:place] + inner * deep + text[place:]
        case 3:
            names = [index for index in range(len(text)) if text.startswith('": ', index)]
            name = random.choice(names)
            first = text.rindex('"', 0, name)
            again = random.choice(("null", "1", "[]", '"a"'))
            return f"{text[:first]}{text[first : name + 1]}: {again}, {text[first:]}"
        case 4:
            last = min(len(text), place + random.choice((1, 2, 10)))
            return text[:place] + text[last:]
        case 5:
            return text[:place] + chr(random.choice((0, 9, 10, 34, 92, 0x85, 0x2028, 0xDC80, 0x1F600))) + text[place:]
        case 6:
            return text[:place]
        case _:
            return text[:place] + random.choice(text) + text[place + 1 :]


def is_stated(found: Any, text: str) -> bool:
    """Whether `found` (with tuples for lists) is what a JSON text says: by kind and digits, with each name once."""
    try:
        return _is_same(found, json.loads(text, parse_float=Decimal, object_pairs_hook=_Pairs))
    except (ValueError, RecursionError):
        return False


class _Pairs(list):
    """Names and values of an object, as they stand in the text."""


def _is_same(found: Any, stated: Any) -> bool:
    if isinstance(stated, _Pairs):
        names = [name for name, _ in stated]
        return (
            isinstance(found, dict)
            and len(found) == len(names)
            and found.keys() == set(names)
            and all(_is_same(found[name], value) for name, value in stated)
        )
    if isinstance(stated, list):
        return isinstance(found, list | tuple) and len(found) == len(stated) and all(map(_is_same, found, stated))
    if isinstance(stated, Decimal):
        kept = type(found) is float and math.isfinite(found) and found == float(stated)
        return kept and (found != 0 or stated == 0)
    return type(found) is type(stated) and found == stated


def _holders(value: Any) -> list[Any]:
    """All lists and dictionaries that hold something, the outermost first."""
    found = [value] if isinstance(value, list | dict) and value else []
    for item in (value.values() if isinstance(value, dict) else value) if found else ():
        found += _holders(item)
    return found


def _near(value: Any, random: Random) -> Any:
    if isinstance(value, bool) or value is None:
        return random.choice((True, False, None, 0, 1))
    if isinstance(value, int | float):
        changes: list[Callable[[Any], Any]] = [
            lambda v: v + 1,
            lambda v: v - 1,
            lambda v: -v,
            lambda v: v * random.choice((2, 10, 1000)),
            float,
            str,
            lambda v: v / 2,
            lambda v: [v],
        ]
        try:
            return random.choice(changes)(value)
        except (OverflowError, ValueError):
            return 0
    if isinstance(value, str):
        return random.choice((value + value, value[:-1], value.upper(), [value], value + "\n", value + "\0", [*value]))
    return random.choice((str(value)[:100], [value], {"a": value}, list(value)))


def _misspelt(name: str, random: Random) -> str:
    return random.choice((name + "_", name[:-1], name.upper(), name + "\n", "a" * 300))


def _nested(depth: int, random: Random) -> Any:
    value: Any = 1
    is_list = random.random() < 0.5
    for _ in range(depth):
        value = [value] if is_list else {"a": value}
    return value
