"""Where this machine keeps what can be made again."""

from pathlib import Path

from src.files.cache_folder import cache_folder


def test_the_users_cache(monkeypatch):
    monkeypatch.setenv("HOME", "/home/she")
    for value, expected in (("/fast", "/fast/tnt-mindspore"), ("", "/home/she/.cache/tnt-mindspore")):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == Path(expected)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/she/.cache/tnt-mindspore")
