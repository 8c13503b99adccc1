"""YAML from outside: the scalars of version 1.2, limits, and one line for whatever is wrong."""

import math
import time
from pathlib import Path

import pytest
import yaml

from src.config.yaml_file import LARGEST, MOST_VALUES, parse_yaml, read_yaml, to_yaml
from src.errors import UserError

# YAML 1.2.2, section 10.3.2, and what version 1.1 takes for something else
SCALARS = [
    ("null", None),
    ("~", None),
    ("", None),
    ("NULL", None),
    ("nUll", "nUll"),
    ("true", True),
    ("FALSE", False),
    ("tRUE", "tRUE"),
    ("yes", "yes"),
    ("off", "off"),
    ("0", 0),
    ("-0", 0),
    ("010", 10),
    ("0o17", 15),
    ("0o18", "0o18"),
    ("-0o17", "-0o17"),
    ("0x1f", 31),
    ("0X1F", "0X1F"),
    ("0b11", "0b11"),
    ("+12", 12),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("1:30.5", "1:30.5"),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5e-3", -0.0005),
    ("1e3", 1000.0),
    ("12e03", 12000.0),
    ("e3", "e3"),
    (".", "."),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("inf", "inf"),
    ("nan", "nan"),
    ("2024-01-01", "2024-01-01"),
    ("<<", "<<"),
    ("=", "="),
    ("\u0663", "\u0663"),
    ("'4'", "4"),
    ('"null"', "null"),
    (">-\n  4", "4"),
]


@pytest.mark.parametrize("text, value", SCALARS)
def test_scalars(text, value):
    read = parse_yaml(f"key: {text}\n", "it")["key"]
    assert read == value and type(read) is type(value)


def test_not_a_number():
    assert all(math.isnan(parse_yaml(text, "it")) for text in (".nan", ".NaN", ".NAN"))


@pytest.mark.parametrize(
    "value", [value for _, value in SCALARS] + ["a: b", "- a", "#", " a ", "é", "a\nb", "\x1b", 1e-8]
)
def test_what_is_written_is_read_back_by_either_version(value):
    tree = {"key": value, "list": [value, [value]], "text of any kind": str(value)}
    text = to_yaml({**tree, "list": (value, (value,))})
    assert parse_yaml(text, "it") == tree == yaml.safe_load(text)
    assert "&" not in to_yaml([tree, tree])


def test_aliases():
    assert parse_yaml("a: &x [1, &y 2]\nb: *x\nc: [*y, *x]", "it") == {"a": [1, 2], "b": [1, 2], "c": [2, [1, 2]]}
    tree = parse_yaml("a: &x {n: 1}\nb: *x", "it")
    assert tree["a"] is not tree["b"]


NINE_LEVELS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: &a [*a]", "line 1: expected an alias of something finished, got '*a' inside what it names"),
        ("a: &a\n  b: {c: *a}", "line 2: expected an alias of something finished, got '*a' inside what it names"),
        ("a: *b", "line 1: expected an alias of an anchor above it, got '*b'"),
        ("[&a 1, &a 2]", "line 1: expected an anchor once, got another '&a'"),
        (NINE_LEVELS, f"line 5: expected at most {MOST_VALUES} values, those of aliases included, got more"),
        ("- 1\n" * 20_000, f"line {MOST_VALUES}: expected at most {MOST_VALUES} values, those of aliases included"),
        ("[" * 50_000, "line 1: expected at most 20 levels of nesting, got more"),
        ("{a: " * 50_000, "line 1: expected at most 20 levels of nesting, got more"),
        ("- " * 50_000, "line 1: expected at most 20 levels of nesting, got more"),
        ("? " * 50_000, "line 1: expected at most 20 levels of nesting, got more"),
        ("a: 1" + 400 * "0", "line 1: expected numbers of at most 100 characters, got 401"),
        ("a: 1e309", "line 1: expected a number between 1e-323 and 1e308, got 1e309"),
        ("a: 0.1e-400", "line 1: expected a number between 1e-323 and 1e308, got 0.1e-400"),
        ("a: 1\n1: 2", "line 2: expected a name as key, got 1"),
        ("true: 2", "line 1: expected a name as key, got True"),
        ("[a]: 2", "line 1: expected a name as key, got ['a']"),
        ("a: 1\nb: {c: 1, c: 2}", "line 2: 'c' appears twice"),
        ("a: !!int 3", "line 1: expected a value without a tag, got 'tag:yaml.org,2002:int'"),
        ("a: !x {}", "line 1: expected a value without a tag, got '!x'"),
        ("a: 1\n---\nb: 1", "line 2: expected one document, got another"),
        ("%YAML 1.1\n---\na: 010", "line 1: expected YAML 1.2, got 1.1"),
        ('a: "\\ud800"', "line 1: expected text of Unicode, got half a character in '\\ud800'"),
        ('a: "\\U99999999"', "not valid YAML: "),
        ('a: "\\U00110000"', "not valid YAML: "),
        ("a:\n  - \x07", "not valid YAML in line 2: unacceptable character #x0007"),
        ("a: \udcff", "not valid YAML in line 1: unacceptable character #xdcff"),
        ("a: 1\n b: 2", "not valid YAML in line 2: mapping values are not allowed here"),
        ("a: [", "not valid YAML in line 1: "),
        ("a: !" + "b" * 5000 + "!c 1", "not valid YAML in line 1: found undefined tag handle"),
        ("#" * LARGEST + "#", f"expected YAML of at most {LARGEST} bytes, got more"),
    ],
)
def test_one_line_at_once_for_whatever_is_wrong(text, message):
    begin = time.perf_counter()
    with pytest.raises(UserError) as error:
        parse_yaml(text, "a.yaml")
    assert str(error.value).startswith(f"a.yaml: {message}")
    assert str(error.value).isprintable() and len(str(error.value)) < 300
    assert time.perf_counter() - begin < 2


def test_files(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf[a, \xc3\xbc]")
    assert read_yaml(path) == ["a", "ü"]
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(UserError, match=f"a.yaml: expected a YAML file of at most {LARGEST} bytes, got more"):
        read_yaml(path)
    with pytest.raises(UserError, match=r"b.yaml \(base of a.yaml\): expected a YAML file: No such file"):
        read_yaml(tmp_path / "b.yaml", " (base of a.yaml)")
    with pytest.raises(UserError, match="null: expected a YAML file: it is no regular file"):
        read_yaml(Path("/dev/null"))
