"""Damaged, missing and exchanged files are told in one line."""

import json
from pathlib import Path

import pytest

from src.errors import UserError
from src.exported_file import Sidecar, load_exported, read_key, read_sidecar, sha256_of
from src.model_card import ModelCard

CARD = ModelCard("tnt_ti_patch16_224", {}, ["a", "b"], (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


def write_pair(**changes):
    Path("x.mindir").write_bytes(b"network")
    content = {
        "sha256": sha256_of(Path("x.mindir")),
        "model": CARD.to_dict(),
        "input": {"shape": [None, 3, 32, 32], "dtype": "float32"},
        "output": {"content": "logits"},
        "precision": "float32",
        "encryption": None,
        **changes,
    }
    Path("x.mindir.json").write_text(json.dumps(content))


def test_sidecar():
    write_pair()
    sidecar = read_sidecar("x.mindir")
    assert sidecar == Sidecar(CARD, None, False, "float32", "logits", None)
    write_pair(
        input={"shape": [4, 32, 32, 3], "dtype": "uint8"},
        output={"content": "feature maps"},
        precision="float16",
        encryption="AES-GCM",
    )
    assert read_sidecar("x.mindir") == Sidecar(CARD, 4, True, "float16", "feature maps", "AES-GCM")


def test_key():
    for content, key in ((b"k" * 16, b"k" * 16), (b"k" * 24 + b"\n", b"k" * 24), (b"\n" * 32, b"\n" * 32)):
        Path("key").write_bytes(content)
        assert read_key("key") == key
    Path("key").write_bytes(b"short")
    with pytest.raises(UserError, match="key file key: expected 16, 24 or 32 bytes, got 5"):
        read_key("key")
    with pytest.raises(UserError, match="cannot read key file none: No such file"):
        read_key("none")


def test_sha256_of():
    Path("abc").write_text("abc")
    assert sha256_of(Path("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_missing_files():
    with pytest.raises(UserError, match="model file x.mindir does not exist"):
        read_sidecar("x.mindir")
    write_pair()
    Path("x.mindir.json").unlink()
    with pytest.raises(UserError, match="x.mindir.json does not exist: it holds the labels"):
        read_sidecar("x.mindir")
    with pytest.raises(UserError, match="is no file"):
        read_sidecar(".")


@pytest.mark.parametrize("text", ["", "[]", "{}", "5", '{"model": {}, "input": {"shape": []}, "sha256": ""}'])
def test_damaged_sidecar(text):
    write_pair()
    Path("x.mindir.json").write_text(text)
    with pytest.raises(UserError, match=r"x\.mindir\.json"):
        read_sidecar("x.mindir")


def test_file_of_another_export():
    write_pair()
    Path("x.mindir").write_bytes(b"networ")
    with pytest.raises(UserError, match="x.mindir is damaged, or not the file that x.mindir.json describes"):
        read_sidecar("x.mindir")


def test_not_a_mindir_file():
    Path("x.mindir").write_bytes(b"network")
    with pytest.raises(UserError, match="x.mindir is not a MINDIR file"):
        load_exported("x.mindir")
    with pytest.raises(UserError, match="x.mindir is not a MINDIR file encrypted with this key"):
        load_exported("x.mindir", b"k" * 16)
    with pytest.raises(UserError, match="x.air cannot be run here"):
        load_exported("x.air")
