"""Damaged, missing and exchanged files are told in one line."""

import json
from pathlib import Path

import pytest

from src.errors import UserError
from src.export.exported_file import Sidecar, load_exported, read_key, read_sidecar, sha256_of
from src.weights.model_card import ModelCard

CARD = ModelCard("tnt_ti_patch16_224", {}, ["a", "b"], (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 0.9)


def write_pair(**changes):
    Path("x.mindir").write_bytes(b"network")
    content = {
        "sha256": sha256_of(Path("x.mindir")),
        "model": CARD.to_dict(),
        "input": {"layout": "NCHW", "shape": [None, 3, 32, 32], "dtype": "float32", "normalized": True},
        "output": {"content": "logits"},
        "precision": "float32",
        "encryption": None,
        **changes,
    }
    Path("x.mindir.json").write_text(json.dumps(content))
    return content


def test_sidecar():
    sha256 = write_pair()["sha256"]
    sidecar = read_sidecar("x.mindir")
    assert sidecar == Sidecar(CARD, None, False, "float32", "logits", None, sha256)
    write_pair(
        input={"layout": "NHWC", "shape": [4, 32, 32, 3], "dtype": "uint8", "normalized": False},
        output={"content": "feature maps"},
        precision="float16",
        encryption="AES-GCM",
    )
    assert read_sidecar("x.mindir") == Sidecar(CARD, 4, True, "float16", "feature maps", "AES-GCM", sha256)


def test_a_sidecar_with_a_byte_order_mark():
    write_pair()
    Path("x.mindir.json").write_bytes(b"\xef\xbb\xbf" + Path("x.mindir.json").read_bytes())
    assert read_sidecar("x.mindir").card == CARD


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


INPUT = {"layout": "NCHW", "shape": [None, 3, 32, 32], "dtype": "float32", "normalized": True}


def given(**changes):
    return {"input": {**INPUT, **changes}}


@pytest.mark.parametrize(
    "changes,reason",
    [
        (given(shape=[0, 3, 32, 32]), "batch_size: expected a whole number from 1 to 65536, or null, got 0"),
        (given(shape=[65537, 3, 32, 32]), "batch_size: expected .*, got 65537"),
        (given(shape=[True, 3, 32, 32]), "batch_size: expected .*, got True"),
        (given(shape=["4", 3, 32, 32]), "batch_size: expected .*, got '4'"),
        (given(shape=[[[]], 3, 32, 32]), "batch_size: expected .*"),
        (given(shape=[4, 3, 32, 64]), r"input.shape: expected \[batch, 3, 32, 32\], got \[4, 3, 32, 64\]"),
        (given(shape=[]), r"input.shape: expected \[batch, 3, 32, 32\], got \[\]"),
        (given(shape=None), "input.shape: expected .* got None"),
        (given(dtype="uint8"), "layout, dtype and normalized of the input: expected .*'NCHW', 'float32', T"),
        (given(layout=["NCHW"]), "layout, dtype and normalized of the input: expected "),
        (given(normalized=False), "layout, dtype and normalized of the input: expected "),
        ({"input": {"shape": [4, 3, 32, 32]}}, "expected input.layout, which is missing"),
        ({"input": 5}, "expected input.layout, which is missing"),
        ({"output": []}, "expected output.content, which is missing"),
        ({"output": {"content": "pictures"}}, "content: expected logits or feature maps, got 'pictures'"),
        ({"precision": "float64"}, "precision: expected one of float32, float16, int8, got 'float64'"),
        ({"precision": {}}, "precision: expected one of float32, float16, int8, got {}"),
        ({"encryption": "ROT13"}, "encryption: expected AES-GCM or null, got 'ROT13'"),
        ({"encryption": False}, "encryption: expected AES-GCM or null, got False"),
        ({"sha256": "0" * 63}, "sha256: expected 64 digits of 0-9 and a-f, got "),
        ({"sha256": None}, "sha256: expected 64 digits of 0-9 and a-f, got None"),
        ({"model": None}, "expected names and values, got None"),
        ({"model": {**CARD.to_dict(), "crop_pct": 2}}, "crop_pct: expected a number from 0.1 to 1, got 2"),
    ],
)  # fmt: skip
def test_sidecar_that_cannot_be_used(changes, reason):
    write_pair(**changes)
    with pytest.raises(UserError, match=rf"^x\.mindir\.json: its description of the network cannot be used: {reason}"):
        read_sidecar("x.mindir")


def test_batch_that_no_machine_holds():
    card = {**CARD.to_dict(), "image_size": [4096, 4096]}
    write_pair(model=card, input={**INPUT, "shape": [65536, 3, 4096, 4096]})
    with pytest.raises(
        UserError, match="used: batch_size 65536: images of 3 channels and 4096 x 4096 pixels would take "
    ):
        read_sidecar("x.mindir")


@pytest.mark.parametrize(
    "text,reason",
    [
        (b"\xff", "is damaged or was not written by export.py \\('utf-8' codec"),
        (b"[" * 100_000, "is damaged or was not written by export.py \\(it is nested too deeply"),
        (b'{"model": NaN}', "is damaged or was not written by export.py \\(NaN is not JSON"),
        (b'{"model": 1, "model": 2}', "is damaged or was not written by export.py \\('model' comes twice"),
        (b"9" * 5000, "is damaged or was not written by export.py "),
        (b" " * 2**26 + b"5", "expected at most 67108864 bytes, got more"),
    ],
)
def test_sidecar_that_is_no_json(text, reason):
    write_pair()
    Path("x.mindir.json").write_bytes(text)
    with pytest.raises(UserError, match=reason) as found:
        read_sidecar("x.mindir")
    assert "\n" not in str(found.value)


def test_sidecar_with_a_byte_order_mark():
    """As editors on Windows leave it."""
    write_pair()
    path = Path("x.mindir.json")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_sidecar("x.mindir").card == CARD


def test_files_that_cannot_be_read(monkeypatch):
    write_pair()

    def fail(path):
        raise PermissionError(13, "Permission denied", "x.mindir")

    monkeypatch.setattr("src.export.exported_file.sha256_of", fail)
    with pytest.raises(UserError, match="cannot read x.mindir: Permission denied") as found:
        read_sidecar("x.mindir")
    assert found.value.exit_code == 2
    with pytest.raises(UserError, match="does not exist"):
        read_sidecar("x/" * 3000)


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
