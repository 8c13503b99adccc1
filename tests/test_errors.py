"""Exit codes of what goes wrong, and values in messages."""

import errno
import os

import pytest

from src.errors import TemporaryError, UserError, counted, nearest, shown, writing_error


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "EBUSY", "EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "ESTALE"])
def test_what_may_pass_by_itself(name):
    number = getattr(errno, name)
    error = writing_error("cannot write x", OSError(number, os.strerror(number)))
    assert isinstance(error, TemporaryError) and error.exit_code == 75


@pytest.mark.parametrize(
    "name",
    ["ENAMETOOLONG", "ELOOP", "EROFS", "EACCES", "EPERM", "ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "EINVAL", "EFBIG"],
)
def test_what_stays(name):
    number = getattr(errno, name)
    error = writing_error("cannot write x", OSError(number, os.strerror(number)))
    assert type(error) is UserError and error.exit_code == 2


def test_errors_without_a_number():
    assert writing_error("", RuntimeError("MindSpore: no space left")).exit_code == 75
    assert writing_error("", OSError("MindSpore: no space left")).exit_code == 75
    assert writing_error("", ValueError("embedded null byte")).exit_code == 2
    assert writing_error("", UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")).exit_code == 2


def test_values_in_messages():
    assert shown("a\n\x1b[31m\udcff") == r"'a\n\x1b[31m\udcff'"
    for value in ("x" * 10**6, 10**3000, 10**5000, ["x" * 1000] * 100, {"x" * 1000: 1}, [[[[[[[[[[1]]]]]]]]]]):
        assert len(shown(value)) < 800 and shown(value).isprintable()
    assert shown(10**5000) == "a number of thousands of digits"
    nested = []
    for _ in range(10_000):
        nested = [nested]
    assert shown(nested) == "[[[[[[[...]]]]]]]"


def test_nearest_of_a_very_long_name():
    assert nearest("x" * 10**6, ["depth", "depths"]) == "known: depth, depths"
    assert nearest("dept", ["depth", "qkv"]) == "did you mean depth?"


def test_numbers_of_things():
    assert [counted(number, "image") for number in (0, 1, 2, 1437)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,437 images",
    ]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
