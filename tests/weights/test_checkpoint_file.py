"""The .ckpt format against MindSpore, which wrote and reads it, and files that lie about themselves."""

import binascii
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from src.errors import TemporaryError, UserError
from src.weights import checkpoint_file
from src.weights.checkpoint_file import DamagedCheckpointError, read_checkpoint_file, write_checkpoint_file

VALUES = np.full((2, 3), 0.0153, np.float32)
RAW = VALUES.tobytes()


def number(value):
    data = bytearray()
    while value > 127:
        data.append(value % 128 + 128)
        value //= 128
    return bytes([*data, value])


def field(key, content):
    return bytes([key]) + number(len(content)) + content


def value(name="a", dims=(2, 3), kind="Float32", content=RAW, before=b"", after=b""):
    """A tensor as checkpoint.proto has it; negative dims as protobuf writes them."""
    tensor = b"".join(b"\x08" + number(size % 2**64) for size in dims)
    tensor += field(0x12, kind.encode()) + field(0x1A, content)
    return field(0x0A, field(0x0A, name.encode()) + field(0x12, before + tensor + after))


def write(*parts):
    content = b"".join(parts)
    Path("x.ckpt").write_bytes(content + b"crc_num" + binascii.crc32(content).to_bytes(10, "big"))


def parameters():
    kinds = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
    arrays = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    arrays |= {"bool": np.array([True, False]), "scalar": np.float32(1.5), "one": np.zeros(1, np.float32)}
    return {name: Parameter(Tensor(array), name=name) for name, array in arrays.items()}


def test_reads_and_writes_what_mindspore_does():
    written = parameters()
    entries = [{"name": name, "data": parameter} for name, parameter in written.items()]
    entries.append({"name": "half", "data": Parameter(Tensor([0.1, -2.5, 3e38], ms.bfloat16), name="half")})
    ms.save_checkpoint(entries, "theirs.ckpt", append_dict={"text": "Bär 狗 🐕"}, crc_check=True)
    content = read_checkpoint_file("theirs.ckpt")
    assert content.has_checksum and content.texts == {"text": "Bär 狗 🐕"}
    assert list(content.arrays) == [*written, "half"]
    for name, parameter in written.items():
        array = parameter.asnumpy()
        assert content.arrays[name].dtype == array.dtype and content.arrays[name].shape == array.shape
        np.testing.assert_array_equal(content.arrays[name], array)
    half = content.arrays["half"]
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, [0.10009765625, -2.5, float(Tensor(3e38, ms.bfloat16).astype(ms.float32))])

    with open("ours.ckpt", "wb") as file:
        write_checkpoint_file(
            file, [*((entry["name"], entry["data"].asnumpy()) for entry in entries), ("text", "Bär 狗 🐕")]
        )
    assert Path("ours.ckpt").read_bytes() == Path("theirs.ckpt").read_bytes()


def test_no_checksum():
    ms.save_checkpoint(list({"name": n, "data": p} for n, p in parameters().items()), "theirs.ckpt")
    content = read_checkpoint_file("theirs.ckpt")
    assert not content.has_checksum and list(content.arrays) == list(parameters())


def test_slices(monkeypatch):
    """Of 512 MiB there; of 1 KiB here."""
    arrays = {"a": np.arange(700, dtype=np.float32), "b": VALUES, "c": np.ones((2, 256), np.float32)}
    monkeypatch.setattr(ms.train.serialization, "SLICE_SIZE", 1)
    entries = [{"name": name, "data": Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, "theirs.ckpt", crc_check=True)
    assert Path("theirs.ckpt").read_bytes().count(b"Float32") == 3 + 1 + 2
    content = read_checkpoint_file("theirs.ckpt")
    assert list(content.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(content.arrays[name], array)


def test_slices_that_we_write(monkeypatch):
    monkeypatch.setattr(checkpoint_file, "_SLICE", 20)
    with open("x.ckpt", "wb") as file:
        write_checkpoint_file(file, [("a", VALUES), ("b", np.arange(10, dtype=np.int16))])
    assert Path("x.ckpt").read_bytes().count(b"Float32") == 2
    content, theirs = read_checkpoint_file("x.ckpt"), ms.load_checkpoint("x.ckpt")
    for name, array in {"a": VALUES, "b": np.arange(10)}.items():
        np.testing.assert_array_equal(content.arrays[name], array)
        np.testing.assert_array_equal(theirs[name].asnumpy(), array)


def test_parts(monkeypatch):
    """What is larger is read and written part by part; the parts here have 5 bytes."""
    monkeypatch.setattr(checkpoint_file, "_PART", 5)
    write(value())
    np.testing.assert_array_equal(read_checkpoint_file("x.ckpt").arrays["a"], VALUES)
    with open("y.ckpt", "wb") as file:
        write_checkpoint_file(file, [("a", VALUES)])
    assert Path("y.ckpt").read_bytes() == Path("x.ckpt").read_bytes()


def test_odd_shapes():
    write(
        value("old scalar", [0], content=RAW[:4]),
        value("none", [0], content=b""),
        value("no rows", [0, 3], content=b""),
    )
    arrays = read_checkpoint_file("x.ckpt").arrays
    assert {name: array.shape for name, array in arrays.items()} == {"old scalar": (), "none": (0,), "no rows": (0, 3)}
    assert arrays["old scalar"] == np.float32(0.0153)


def text(content, dims=(0,)):
    return value("t", dims, "str", content)


LIES = {
    "content longer": (value(content=RAW + b"\1" * 100_000), "takes 24 bytes, and 100024 are there"),
    "content shorter": (value(content=RAW[:8]), r"'a', Float32 of shape \(2, 3\), takes 24 bytes, 8 are left"),
    "content shorter, more behind": (value(content=RAW[:8]) + value("b"), "takes 24 bytes, and the slices"),
    "content empty": (value(content=b"") + value("b"), "takes 24 bytes, and 0 are there"),
    "another type": (value(kind="Float64") + value("b"), "takes 48 bytes, and the slices of it have others"),
    "unknown type": (value(kind="Float33"), "'a' is of type 'Float33', which is not read here"),
    "quantised": (value(kind="Int4"), "'a' is of type 'Int4', which is not read here"),
    "no type": (value(kind=""), "there is no name"),
    "dims negative": (value(dims=[-1]), r"of shape \(-1,\), is of a shape that cannot be"),
    "dims negative twice": (value(dims=[-2, -3]), r"of shape \(-2, -3\), is of a shape that cannot be"),
    "dims large": (value(dims=[2**30, 2**30]), "takes 4611686018427387904 bytes, 24 are left"),
    "dims huge": (value(dims=[2**62, 2**62]), "cannot be"),
    "dims huge and none": (value(dims=[0, 2**62], content=b""), "cannot be"),
    "dims many": (value(dims=[1] * 33, content=RAW[:4]), "has more than 32 dimensions"),
    "dims left out": (value(dims=[]), "takes 4 bytes, and 24 are there"),
    "twice": (value() + value("b") + value(), "'a' comes twice"),
    "twice in a row": (value() + value(), "'a' comes twice"),
    "slices of two types": (value(content=RAW[:8]) + value(kind="Int32", content=RAW[8:]), "the slices of it"),
    "slices too long": (value(content=RAW[:8]) + value(content=RAW), "the slices of it have others"),
    "slices too short": (value(content=RAW[:8]) + value(content=RAW[:8]), "takes 24 bytes, and the slices"),
    "slices empty": (value(content=RAW[:8]) + value(content=b"") * 3, "the slices of it have others"),
    "slices in between": (value(content=RAW[:8]) + value("b") + value(content=RAW[8:]), "the slices of it have others"),
    "name empty": (value(name=""), "there is no name"),
    "name long": (value(name="a" * 1001), "a field has 1001 bytes, where at most 1000 can be"),
    "name with a line break": (value(name="a\nb"), "there is no name"),
    "name that is no text": (value().replace(b"\x01a", b"\x01\xff", 1), "there is no name"),
    "fields swapped": (value(before=field(0x12, b"Float32")), "there is no field"),
    "type twice": (value(after=field(0x12, b"Int32")), "a field has 24 bytes, where 31 are left of what it is in"),
    "field unknown": (value(before=field(0x22, b"x")), "there is no field 0x8 or 0x12"),
    "dims packed": (value(dims=[], before=field(0x0A, b"\2\3")), "there is no field 0x8 or 0x12"),
    "no tensor": (field(0x0A, field(0x0A, b"a")), "bytes are expected, 0 are left"),
    "map": (field(0x0A, field(0x0A, b"a") + field(0x1A, b"")), "'a' is a MapParameter"),
    "bytes behind": (value() + b"\0", "there is no field 0xa"),
    "number without end": (b"\x0a" + b"\xff" * 12, "there is no whole number"),
    "number of 70 bits": (b"\x0a" + b"\xff" * 9 + b"\x7f" + value(), "there is no whole number"),
    "number longer than need be": (
        value().replace(b"\x08\x02", b"\x08\x82\0").replace(b"\n+", b"\n,"),
        "no whole number|left",
    ),
    "bool of 2": (value(dims=[2], kind="Bool", content=b"\1\2"), "has a value that is neither 0 nor 1"),
    "text of 3 bytes": (text(b"abc"), "is no text"),
    "text empty": (text(b""), "is no text"),
    "text beyond Unicode": (text(b"\xff\xff\xff\xff"), "is no text"),
    "text with dims": (text(b"a\0\0\0", [1]), "is no text"),
    "nothing": (b"", "it holds nothing"),
}


@pytest.mark.parametrize("lie", LIES)
def test_files_that_lie_are_refused(lie):
    content, reason = LIES[lie]
    write(content)
    with pytest.raises(DamagedCheckpointError, match=reason) as found:
        read_checkpoint_file("x.ckpt")
    assert str(found.value).startswith("x.ckpt is not a readable MindSpore checkpoint: ")
    assert "\n" not in str(found.value) and found.value.exit_code == 2


def test_the_field_maker_of_these_tests_makes_what_is_read():
    write(value(), value("b", [], "Int64", bytes(8)))
    content = read_checkpoint_file("x.ckpt")
    np.testing.assert_array_equal(content.arrays["a"], VALUES)
    assert content.arrays["b"] == 0 and content.arrays["b"].dtype == np.int64


def test_every_cut_and_every_flipped_bit_is_found():
    write(value(), value("b", [], "Int64", bytes(8)))
    whole = Path("x.ckpt").read_bytes()
    damaged = [whole[:size] for size in range(len(whole)) if size != len(whole) - 17]
    damaged = [part for part in damaged if part != value()]  # a cut between two tensors is a file without a checksum
    damaged += [
        whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :] for i in range(len(whole)) for bit in range(8)
    ]
    for content in damaged:
        Path("x.ckpt").write_bytes(content)
        with pytest.raises(DamagedCheckpointError):
            read_checkpoint_file("x.ckpt")


def test_as_many_tensors_as_are_read(monkeypatch):
    monkeypatch.setattr(checkpoint_file, "_MOST_TENSORS", 3)
    write(*(value(str(index)) for index in range(3)))
    assert len(read_checkpoint_file("x.ckpt").arrays) == 3
    write(*(value(str(index)) for index in range(4)))
    with pytest.raises(DamagedCheckpointError, match="more than 3 tensors"):
        read_checkpoint_file("x.ckpt")


def test_no_memory_now_is_not_damage(monkeypatch):
    write(value())

    def fail(*args):
        raise MemoryError

    monkeypatch.setattr("src.weights.checkpoint_file.np.empty", fail)
    with pytest.raises(
        TemporaryError, match="cannot read the checkpoint x.ckpt: its 63 bytes do not fit into the memory"
    ):
        read_checkpoint_file("x.ckpt")


def test_more_than_the_machine_has(monkeypatch):
    write(value())
    monkeypatch.setattr("src.memory.machine_memory", lambda: 20)
    with pytest.raises(UserError, match="the checkpoint x.ckpt would take at least 0.0 GB of memory") as found:
        read_checkpoint_file("x.ckpt")
    assert found.value.exit_code == 2


@pytest.mark.parametrize("number,code", [(13, 2), (5, 75)])
def test_files_that_cannot_be_read(monkeypatch, number, code):
    """Permission denied stays; an error of the disk may pass."""
    write(value())

    def fail(*args):
        raise OSError(number, "no")

    monkeypatch.setattr("src.weights.checkpoint_file._read", fail)
    with pytest.raises(UserError, match="cannot read the checkpoint x.ckpt: no") as found:
        read_checkpoint_file("x.ckpt")
    assert found.value.exit_code == code


def test_names_that_cannot_be():
    for path in ("a" * 300, "a\0b", "x/" * 3000):
        with pytest.raises(UserError, match="does not exist"):
            read_checkpoint_file(path)


def test_needs_no_mindspore():
    write(value())
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from src.weights.checkpoint_file import read_checkpoint_file;"
        "print(read_checkpoint_file('x.ckpt').arrays['a'].shape, 'mindspore' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program, root], capture_output=True, text=True, check=True)
    assert done.stdout == "(2, 3) False\n"
