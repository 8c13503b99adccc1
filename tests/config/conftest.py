"""What the tests of configurations share."""

import pytest


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file below a temporary folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    return write
