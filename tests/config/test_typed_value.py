"""Values as the types of fields: taken as they are or refused, never made into something else."""

from typing import Any, Literal

import pytest

from src.config.typed_value import as_yaml, is_path, is_plain, shortened, text_to_type, to_type, type_name
from src.errors import UserError

FITTING = [
    (3, int, 3),
    (3, float, 3.0),
    (0.5, float, 0.5),
    (True, bool, True),
    ("3", str, "3"),
    ("a", Literal["a", "b"], "a"),
    (None, int | None, None),
    ([1, 2], tuple[int, int] | int, (1, 2)),
    ([1, 0.5], tuple[float, float], (1.0, 0.5)),
    (["a"], list[str], ["a"]),
    ({"a": [1]}, dict[str, Any], {"a": [1]}),
]


@pytest.mark.parametrize("value, hint, expected", FITTING)
def test_what_fits(value, hint, expected):
    result = to_type(value, hint)
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize(
    "value, hint",
    [
        ("3", int),
        (3.0, int),
        (True, int),
        (True, float),
        (1, bool),
        ("true", bool),
        (3, str),
        (None, str),
        ("c", Literal["a", "b"]),
        (["a"], Literal["a", "b"]),
        ([1, 2, 3], tuple[int, int]),
        ([1, "2"], tuple[int, int]),
        ("12", tuple[int, int]),
        ("ab", list[str]),
        ([1], list[str]),
        ([], dict[str, Any]),
        ([1.5], int | tuple[int, int] | None),
    ],
)
def test_what_does_not_fit(value, hint):
    with pytest.raises(TypeError):
        to_type(value, hint)


def test_texts_of_options():
    assert text_to_type("010", int, "it") == 10
    assert text_to_type("010", str, "it") == "010"
    assert text_to_type("null", str, "it") == "null"
    assert text_to_type("null", str | None, "it") is None
    assert text_to_type("~", str | None, "it") == "~"
    assert text_to_type("null", Literal["a"] | None, "it") is None
    assert text_to_type("[1, 2]", int | tuple[int, int] | None, "it") == (1, 2)
    assert text_to_type("{a: 010}", dict[str, Any], "it") == {"a": 10}
    assert text_to_type("word", Any, "it") == "word"
    for text in ("1:30", "'4'", "", "4 5", "\u0664"):
        with pytest.raises(TypeError):
            text_to_type(text, int, "it")
    with pytest.raises(UserError, match="it: not valid YAML in line 1"):
        text_to_type("[3,", int, "it")


def test_names_of_types():
    assert type_name(int | tuple[int, int] | None) == "int or [int, int] or null"
    assert type_name(Literal["a", "b"] | None, " | ") == "'a' | 'b' | null"
    assert type_name(dict[str, Any]) == "dict" and type_name(Any) == "a value"


def test_values_in_messages():
    assert [as_yaml(value) for value in ("many", "4", "", "null", None, True, [1, "a"], {"a": 1.0})] == [
        "many",
        '"4"',
        '""',
        '"null"',
        "null",
        "true",
        '[1, "a"]',
        '{"a": 1.0}',
    ]
    for text in ("a\nb", "\x1b[31m", "\udcff", "x" * 10**6, "\u2028"):
        assert as_yaml(text).isprintable() and len(as_yaml(text)) <= 80
        assert shortened(text).isprintable() and len(shortened(text)) <= 80


def test_paths_and_texts():
    assert is_path("a/b") and is_path("x" * 255) and is_path("ü" * 127 + "/x") and is_path("\udcff")
    assert not any(map(is_path, ["", "x" * 256, "ü" * 128, "x/" * 1751]))
    assert is_plain("a b/ü 1") and not any(map(is_plain, ["a\n", "\x00", "\x7f", "\x9b", "\udcff", "\u2028"]))
