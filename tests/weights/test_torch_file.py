"""Files of PyTorch 2.13 (tests/torch_files) and files written here byte by byte: values, wrappers, hostile files."""

import argparse
import copyreg
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.weights import torch_file
from src.weights.torch_file import read_weights, write_safetensors

FOLDER = Path(__file__).parents[1] / "torch_files"
BOTH_FORMATS = ("zip.pth", "legacy.pth.tar")


# --- writers: the opcodes and containers of torch.save, put together by hand ---


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def dict_of(items: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def named(name: str) -> bytes:
    return b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n"


def storage(kind: str, key: str, count: int, *view: bytes) -> bytes:
    return (
        tuple_of(text("storage"), named(f"torch.{kind}Storage"), text(key), text("cuda:0"), number(count), *view) + b"Q"
    )


def tensor(stored: bytes, shape: tuple, strides: tuple, offset: int = 0) -> bytes:
    sizes = [tuple_of(*map(number, numbers)) for numbers in (shape, strides)]
    hooks = named("collections.OrderedDict") + b")R"
    return named("torch._utils._rebuild_tensor_v2") + tuple_of(stored, number(offset), *sizes, b"\x89", hooks) + b"R"


def vector(key: str = "0", count: int = 3) -> bytes:
    return tensor(storage("Float", key, count), (count,), (1,))


def legacy_file(content: bytes, storages: dict[str, np.ndarray], little_endian: bytes = b"\x88") -> bytes:
    system = dict_of({"protocol_version": number(1001), "little_endian": little_endian})
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    magic = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
    pickles = b"".join(b"\x80\x02" + part + b"." for part in (magic, b"M\xe9\x03", system, content, keys))
    return pickles + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())


def zip_file(content: bytes, storages: dict[str, np.ndarray], others: dict | None = None, **options) -> bytes:
    """By Python's zipfile: a directory of 32 bits and no alignment, unlike PyTorch's."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        archive.writestr("tnt/data.pkl", b"\x80\x02" + content + b".")
        for key, array in storages.items():
            archive.writestr(f"tnt/data/{key}", array.tobytes())
        for name, data in (others or {}).items():
            archive.writestr(f"tnt/{name}", data)
    return file.getvalue()


def safetensors_file(header: dict | bytes, data: bytes) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


THREE = {"0": np.array([1, 2, 3], np.float32)}
WRITERS = pytest.mark.parametrize("write", [zip_file, legacy_file])


@pytest.fixture
def read(tmp_path):
    def read(data: bytes, key: str | None = None):
        path = tmp_path / "weights"
        path.write_bytes(data)
        return read_weights(path, key)

    return read


def refused(read, data: bytes, key: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        read(data, key)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable() and len(message) < 600
    return message


# --- files written by PyTorch ---


@pytest.mark.parametrize("ending", BOTH_FORMATS)
def test_every_type_and_layout_that_pytorch_wrote(ending):
    grid = np.arange(24, dtype=np.float32).reshape(4, 6) / 8
    expected = {
        "float16": np.array([0.5, -65504.0, 6e-8], np.float16),
        "bfloat16": np.array([0x3F80, 0xC020, 0x7F62, 0x3F81], np.uint32).reshape(2, 2),  # the upper 16 bits
        "float32": grid,
        "float64": np.array([0.1, -1e300]),
        "int8": np.array([-128, 127], np.int8),
        "int16": np.array([-32768, 32767], np.int16),
        "int32": np.array([-(2**31), 2**31 - 1], np.int32),
        "int64": np.array([-(2**63), 2**63 - 1], np.int64),
        "uint8": np.array([0, 255], np.uint8),
        "bool": np.array([True, False, True]),
        "number": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "transposed": grid.T,
        "corner": grid[1:3, 2:5],
        "every_third": grid.reshape(-1)[1::3],
        "last_row": grid[3],
        "expanded": np.array([[1, 1, 1], [2, 2, 2]], np.float32),
        "parameter": np.array([1.5, 2.5], np.float32),
    }
    expected["bfloat16"] = (expected["bfloat16"] << 16).view(np.float32)
    weights = read_weights(FOLDER / f"types_{ending}")
    assert list(weights.tensors) == list(expected)
    for name, array in weights.tensors.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name, strict=True)
        assert array.flags.c_contiguous
    assert (weights.wrapper, weights.available, weights.ignored) == (None, [], [])
    assert weights.bfloat16 == ["bfloat16"] and weights.removed_prefix == ""


@pytest.mark.parametrize("ending", BOTH_FORMATS)
def test_training_checkpoint_gives_the_averaged_weights(ending):
    weights = read_weights(FOLDER / f"checkpoint_{ending}")
    assert weights.wrapper == "state_dict_ema" and weights.available == ["state_dict_ema", "state_dict"]
    assert weights.removed_prefix == "module."
    assert weights.ignored == "epoch arch state_dict optimizer version metric shape dtype device".split()
    np.testing.assert_array_equal(weights.tensors["0.weight"], [[0, 0.5], [1, 1.5], [2, 2.5]])
    assert weights.tensors["1.num_batches_tracked"].dtype == np.int64

    plain = read_weights(FOLDER / f"checkpoint_{ending}", key="state_dict")
    assert plain.wrapper == "state_dict" and "state_dict_ema" in plain.ignored
    np.testing.assert_array_equal(plain.tensors["0.weight"], [[0, 1], [2, 3], [4, 5]])
    assert len(plain.tensors) == 7

    with pytest.raises(UserError, match="'ema', but they are under state_dict_ema, state_dict;"):
        read_weights(FOLDER / f"checkpoint_{ending}", key="ema")


def test_whole_module_is_refused_with_that_reason():
    with pytest.raises(
        UserError, match=r"one whole pickled object made by 'torch\.nn\.modules\.linear\.Linear'.*state_dict"
    ):
        read_weights(FOLDER / "module_zip.pth")


# --- files written here ---


def test_format_is_told_by_content(read):
    for data in (
        zip_file(vector().join([b"}" + text("w"), b"s"]), THREE),
        legacy_file(dict_of({"w": vector()}), THREE),
    ):
        np.testing.assert_array_equal(read(data).tensors["w"], [1, 2, 3])  # the name has no ending at all


def test_legacy_file_of_python_2(read):
    """OrderedDict is given its pairs, texts are byte strings, a storage may be a view (2 elements after the first)."""
    view = storage("Float", "root", 3, tuple_of(text("view"), number(1), number(2)))
    pair = b"](" + b"U\x01w" + tensor(view, (2,), (1,)) + b"e"
    content = named("collections.OrderedDict") + tuple_of(b"](" + pair + b"e") + b"R"
    weights = read(legacy_file(content, {"root": THREE["0"]}))
    np.testing.assert_array_equal(weights.tensors["w"], np.array([2, 3], np.float32), strict=True)


@WRITERS
def test_every_bfloat16_is_exact(read, write):
    bits = np.arange(2**16, dtype=np.uint16)
    content = dict_of({"w": tensor(storage("BFloat16", "0", 2**16), (2**16,), (1,))})
    weights = read(write(content, {"0": bits}))
    assert weights.bfloat16 == ["w"]
    np.testing.assert_array_equal(weights.tensors["w"].view(np.uint32), bits.astype(np.uint32) << 16)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_of_every_pickle_protocol(read, protocol):
    """Python's own pickler around hand-written weights: its framing, memo and text opcodes all pass."""
    facts = {"epoch": 3, "names": ["a", ("b", 1, 2, 3)], "rate": 0.5, "none": None, "big": 2**40}
    content = pickle.dumps(facts, protocol)[:-1] + text("net") + dict_of({"w": vector()}) + b"s"
    weights = read(zip_file(content, THREE))
    assert weights.wrapper == "net" and weights.ignored == list(facts)


@pytest.mark.parametrize("names", [["state_dict", "state_dict_ema"], ["model", "model_ema"], ["net", "model"], ["net"]])
def test_wrappers(read, names):
    entries = {name: dict_of({"w": vector(str(i))}) for i, name in enumerate(names)}
    arrays = {str(i): np.full(3, i, np.float32) for i in range(len(names))}
    weights = read(zip_file(dict_of({"epoch": number(1), **entries}), arrays))
    assert weights.wrapper == names[-1]  # the later ones in these lists are preferred
    np.testing.assert_array_equal(weights.tensors["w"], arrays[str(len(names) - 1)])
    np.testing.assert_array_equal(read(zip_file(dict_of(entries), arrays), key=names[0]).tensors["w"], arrays["0"])


def test_wrapper_of_another_name_must_be_chosen(read):
    data = zip_file(dict_of({"student": dict_of({"w": vector()})}), THREE)
    assert "but they are under student; give a key" in refused(read, data)
    assert read(data, key="student").wrapper == "student"


def test_key_of_a_flat_file(read):
    data = zip_file(dict_of({"w": vector()}), THREE)
    assert "'net', but they are not under any key" in refused(read, data, key="net")


def test_prefix_is_stripped_only_where_every_name_has_it(read):
    mixed = read(zip_file(dict_of({"module.a": vector(), "b": vector()}), THREE))
    assert list(mixed.tensors) == ["module.a", "b"] and mixed.removed_prefix == ""
    every = read(zip_file(dict_of({"module.a": vector(), "module.b": vector(), "epoch": number(1)}), THREE))
    assert list(every.tensors) == ["a", "b"] and every.removed_prefix == "module." and every.ignored == ["epoch"]
    partly = read(zip_file(dict_of({"module._orig_mod.a": vector(), "module.b": vector()}), THREE))
    assert list(partly.tensors) == ["_orig_mod.a", "b"] and partly.removed_prefix == "module."


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_data_parallel_and_compile(prefix, read):
    weights = read(
        zip_file(dict_of({"state_dict": dict_of({f"{prefix}module_a": vector(), f"{prefix}b": vector()})}), THREE)
    )
    assert list(weights.tensors) == ["module_a", "b"] and weights.removed_prefix == prefix


# --- options of a training script beside the weights ---


class AsOlderPythonsDo(pickle.Pickler):
    """Writes a namespace as protocols 0 and 1 have it, by `copyreg._reconstructor`."""

    def reducer_override(self, value):
        if type(value) is argparse.Namespace:
            return copyreg._reconstructor, (argparse.Namespace, object, None), vars(value)
        return NotImplemented


def with_options(protocol: int, kind: type = pickle.Pickler) -> bytes:
    """A checkpoint whose options Python itself pickled; the weights are put in their place as text."""
    options = argparse.Namespace(model="tnt", lr=5e-4, epochs=300, aug=None, amp=True, mean=(0.5, 0.5), opt={"eps": 1})
    options.betas = [0.9, argparse.Namespace(inner=1)]
    file = io.BytesIO()
    kind(file, protocol).dump({"args": options, "state_dict": {"w": "weight"}, "again": options})
    weight = [b"X\x06\x00\x00\x00weight", b"\x8c\x06weight"][protocol > 3]
    data = re.sub(rb"(?s)\x95.{8}", b"", file.getvalue()) if protocol > 3 else file.getvalue()  # sizes of frames
    assert data.count(weight) == 1
    return data[2:-1].replace(weight, vector())


@pytest.mark.parametrize("kind", [pickle.Pickler, AsOlderPythonsDo])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@WRITERS
def test_options_are_plain_data(read, write, protocol, kind):
    data = write(with_options(protocol, kind), THREE)
    assert b"argparse" in data and (b"_reconstructor" in data) == (kind is AsOlderPythonsDo)
    with nothing_executed():
        weights = read(data)
    assert weights.wrapper == "state_dict" and weights.ignored == ["args", "again"]
    np.testing.assert_array_equal(weights.tensors["w"], [1, 2, 3])


def test_attributes_of_options():
    content = torch_file._Pickle(b"\x80\x02" + with_options(2) + b".").load()
    attributes = content["args"].attributes
    assert list(attributes) == "model lr epochs aug amp mean opt betas".split() and content["again"] is content["args"]
    assert (attributes["lr"], attributes["aug"], attributes["mean"]) == (5e-4, None, (0.5, 0.5))
    assert attributes["betas"][1].attributes == {"inner": 1}


def test_options_alone_are_no_weights(read):
    message = refused(read, zip_file(pickle.dumps(argparse.Namespace(a=1), 2)[2:-1], {}))
    assert "expected a dict of tensors, got a namespace" in message


@pytest.mark.parametrize(
    "args",
    [
        named("argparse.Namespace") + b"K\x01\x85\x81",  # made with an argument
        named("collections.OrderedDict") + b")\x81",  # another class
        named("copyreg._reconstructor") + named("collections.OrderedDict") + named("builtins.object") + b"N\x87R",
        named("builtins.object") + b")R",
        named("argparse.Namespace") + b")\x81K\x01b",  # attributes that are no dict
        named("argparse.Namespace") + b")\x81" + text("a") + b"K\x01s",  # an item of a namespace
    ],
)
@WRITERS
def test_options_of_another_form_are_damage(read, write, args):
    assert "damaged" in refused(read, write(dict_of({"args": args, "state_dict": dict_of({"w": vector()})}), THREE))


def test_arrays_cannot_be_changed():
    """Tensors that share a storage share memory: a change to one would be a change to another."""
    for name, array in read_weights(FOLDER / "types_zip.pth").tensors.items():
        assert not array.flags.writeable, name


def test_missing_and_unusable_storages_are_named(read):
    assert "storage 7 is missing" in refused(read, zip_file(dict_of({"w": vector("7")}), THREE))
    tuple_for_a_key = legacy_file(b"}", {"0": THREE["0"]}).replace(text("0"), b")\x85")
    assert "the list of storages holds something that is no text" in refused(read, tuple_for_a_key)


def test_zip_file_with_64_bit_entries(read, monkeypatch):
    """As files above 4 GiB have them: sizes and offsets in an extra field."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    data = zip_file(dict_of({"w": vector()}), THREE)
    assert data.count(struct.pack("<2L", 2**32 - 1, 2**32 - 1)) >= 2
    np.testing.assert_array_equal(read(data).tensors["w"], [1, 2, 3])


def test_unused_storages_are_not_read(read):
    """Optimizer state trebles a file; a damaged byte in it (see the checksum test) does no harm to the weights."""
    data = zip_file(
        dict_of({"net": dict_of({"w": vector()}), "optimizer": vector("1")}), THREE | {"1": np.full(3, 99, "f4")}
    )
    damaged = data.replace(np.full(3, 99, "f4").tobytes(), np.full(3, 98, "f4").tobytes())
    assert damaged != data and list(read(damaged).tensors) == ["w"]


# --- safetensors ---


def test_safetensors_byte_by_byte(read):
    header = {
        "__metadata__": {"format": "pt"},
        "module.b": {"dtype": "BF16", "shape": [2], "data_offsets": [8, 12]},
        "module.a": {"dtype": "I32", "shape": [1, 2], "data_offsets": [0, 8]},
        "module.none": {"dtype": "F32", "shape": [0, 5], "data_offsets": [12, 12]},
        "module.one": {"dtype": "BOOL", "shape": [], "data_offsets": [12, 13]},
    }
    weights = read(safetensors_file(header, struct.pack("<2i2H?", 5, -6, 0x3F80, 0xC020, True)))
    assert list(weights.tensors) == ["b", "a", "none", "one"] and weights.bfloat16 == ["b"]
    assert weights.removed_prefix == "module."
    np.testing.assert_array_equal(weights.tensors["a"], np.array([[5, -6]], np.int32), strict=True)
    np.testing.assert_array_equal(weights.tensors["b"], np.array([1, -2.5], np.float32), strict=True)
    np.testing.assert_array_equal(weights.tensors["none"], np.zeros((0, 5), np.float32), strict=True)
    np.testing.assert_array_equal(weights.tensors["one"], np.array(True), strict=True)


def test_safetensors_header_whose_size_begins_like_a_pickle(read):
    """The size of the header comes first: 128 is the byte that opens a pickle, which one header in 32 has."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode().ljust(128)
    assert read(safetensors_file(head, b"7")).tensors["w"] == 55


def test_safetensors_round_trip_and_the_package_agrees(tmp_path):
    rng = np.random.default_rng(0)
    kinds = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"]
    tensors = {kind: rng.integers(0, 2, (3, 5)).astype(kind) for kind in kinds}
    tensors["transposed"] = rng.normal(size=(4, 3)).astype(np.float32).T
    tensors["number"] = np.array(7)
    tensors["empty"] = np.zeros((0, 3), np.float16)
    tensors["nan"] = np.array([0x7FC12345], np.uint32).view(np.float32)
    tensors["big_endian"] = np.array([1, 2], ">i4")
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, tensors, {"format": "pt"})
    for arrays in (read_weights(path).tensors, safetensors.numpy.load_file(path)):
        assert arrays.keys() == tensors.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, tensors[name], err_msg=name)
            assert array.dtype == tensors[name].dtype.newbyteorder("=") and array.shape == tensors[name].shape
    assert read_weights(path).tensors["nan"].view(np.uint32) == 0x7FC12345
    assert json.loads(path.read_bytes()[8:].split(b" ")[0].split(b"}}")[0] + b"}}")["__metadata__"] == {"format": "pt"}


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, {"a": np.zeros(2)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        write_safetensors(path, {"a": np.ones(2)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_writing_into_a_missing_folder_and_an_impossible_type(tmp_path):
    with pytest.raises(UserError, match="No such file or directory; give a file in a folder that exists"):
        write_safetensors(tmp_path / "none" / "a.safetensors", {"a": np.zeros(2)})
    with pytest.raises(TypeError, match="a: .* not complex128"):
        write_safetensors(tmp_path / "a.safetensors", {"a": np.zeros(2, complex)})
    assert os.listdir(tmp_path) == []


# --- other files ---

MINDSPORE = b"\x0a\x24\x0a\x09cls_token\x12\x17\x08\x01\x12\x07Float32\x1a\x08" + bytes(10)
TAR = b"sys_info".ljust(257, b"\0") + b"ustar\x0000" + bytes(600)
GOOD_ZIP = zip_file(dict_of({"w": vector()}), THREE)
GOOD_LEGACY = legacy_file(dict_of({"w": vector()}), THREE)
GOOD_SAFETENSORS = safetensors_file(
    {"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}, THREE["0"].tobytes()
)
OTHER = {
    "empty": (b"", "the file is empty"),
    "page": (
        b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>\x1b[31m" + bytes(99),
        "it is a web page (<!DOCTYPE html> <html> [31m)",
    ),
    "text": (b"version https://git-lfs.github.com/spec/v1\noid 5\n", "it is text (version https://git-lfs"),
    "json": (b'{"error":{"code": 404}}', "it is text"),
    "brace": (b'{"err": {"code": 404}}', "it is text"),
    "mindspore": (MINDSPORE, "a MindSpore checkpoint already"),
    "tar": (TAR, "PyTorch before 0.1.10"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(50), "it begins with 89 50 4e 47"),
    "array archive": (None, "with one data.pkl in it, but it holds a.npy"),
    "plain pickle": (pickle.dumps({"a": 1}), "another Python pickle"),
    "compressed": (
        zip_file(dict_of({"w": vector()}), THREE, compression=zipfile.ZIP_DEFLATED),
        "this one is compressed",
    ),
    "program": (
        zip_file(b"}", {}, {"constants.pkl": b""}, compression=zipfile.ZIP_DEFLATED),
        "is a TorchScript program",
    ),
    "big-endian zip": (zip_file(dict_of({"w": vector()}), THREE, {"byteorder": b"big"}), "big-endian"),
    "big-endian legacy": (legacy_file(dict_of({"w": vector()}), THREE, little_endian=b"\x89"), "big-endian"),
    "a tensor": (zip_file(vector(), THREE), "expected a dict of tensors, got a tensor"),
    "a list": (zip_file(b"]", {}), "expected a dict of tensors, got a list"),
    "no tensors": (zip_file(dict_of({"epoch": number(1)}), {}), "it holds no tensors, only epoch"),
    "no safetensors": (safetensors_file({}, b""), "it holds no tensors, only nothing"),
    "complex": (
        zip_file(dict_of({"w": tensor(storage("ComplexFloat", "0", 1), (1,), (1,))}), THREE),
        "ComplexFloatStorage",
    ),
    "float8": (
        safetensors_file({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"0"),
        "'w' is F8_E4M3; save it as F32",
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_no_weight_file_is_said(read, name):
    data, phrase = OTHER[name]
    if data is None:
        file = io.BytesIO()
        np.savez(file, a=np.zeros(2))
        data = file.getvalue()
    assert phrase in refused(read, data)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="none.pth: cannot be read: No such file or directory; give the path"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_weights(tmp_path)


@pytest.mark.parametrize("data", [GOOD_ZIP, GOOD_LEGACY, GOOD_SAFETENSORS], ids=["zip", "legacy", "safetensors"])
def test_every_truncation_is_refused(read, data):
    for length in range(len(data)):
        refused(read, data[:length])
    assert "damaged or cut short" in refused(read, data[:-1])


def test_flipped_weight_in_a_zip_file_is_noticed(read):
    whole = THREE["0"].tobytes()
    assert GOOD_ZIP.count(whole) == 1
    assert "a checksum differs" in refused(read, GOOD_ZIP.replace(whole, b"\x01" + whole[1:]))


# --- hostile files ---

AUDITED = (
    "exec",
    "compile",
    "import",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "pickle.find_class",
)
_events: list[str] | None = None


def _note(event, args):
    if _events is not None and event in AUDITED:
        _events.append(event)


sys.addaudithook(_note)


@contextmanager
def nothing_executed():
    """No code of a file may run: the interpreter reports no execution, import or lookup of a global meanwhile."""
    global _events
    _events = []
    try:
        yield
        assert _events == []
    finally:
        _events = None


class Evil:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ["posix.system", "eval", "getattr"])
def test_malicious_pickle_is_refused_by_name_and_not_run(read, tmp_path, name, protocol):
    canary = tmp_path / "canary"
    evil = {
        "posix.system": Evil(os.system, f"touch {canary}"),
        "eval": Evil(eval, f"open({str(canary)!r}, 'w')"),
        "getattr": Evil(getattr, Evil(getattr, Evil(__import__, "os"), "path"), "join"),
    }[name]
    dumped = pickle.dumps(evil, protocol)[:-1]
    inside = dict_of({"w": vector(), "evil": b""}).removesuffix(b"u") + dumped + b"u"
    variants = [zip_file(dumped, {}), zip_file(inside, THREE), legacy_file(dumped, {}), legacy_file(inside, THREE)]
    for data in [*variants, pickle.dumps(evil, protocol)]:
        path = tmp_path / "weights"
        path.write_bytes(data)
        with nothing_executed(), pytest.raises(UserError) as caught:
            read_weights(path)
        assert name in str(caught.value) and "nothing was executed" in str(caught.value)
    assert not canary.exists()
    eval(f"open({str(canary)!r}, 'w')").close()  # the same text does write the file when it is run
    assert canary.exists()


def test_the_audit_sees_what_pickle_would_do():
    with pytest.raises(AssertionError), nothing_executed():
        pickle.loads(pickle.dumps(Evil(eval, "1 + 1")))


@pytest.mark.parametrize(
    "name", ["types.SimpleNamespace", "numpy.core.multiarray.scalar", "torch._utils._rebuild_qtensor", "os.x\x1b[2J"]
)
@WRITERS
def test_any_other_global_is_refused_by_name(read, write, name):
    message = refused(
        read, write(dict_of({"state_dict": dict_of({"w": vector()}), "args": named(name) + b")R"}), THREE)
    )
    assert f"its pickle names '{name.replace(chr(27), ' ')}', which weights do not need" in message
    assert "save model.state_dict() alone" in message


def test_whole_module_of_ones_own_in_a_legacy_file(read):
    module = tuple_of(text("module"), named("__main__.Net"), text("net.py"), text("class Net: ...")) + b"Q)\x81}b"
    assert "one whole pickled object made by '__main__.Net'" in refused(read, legacy_file(module, {}))


def strided(shape: tuple, strides: tuple, offset: int) -> bytes:
    """A file with a tensor that reaches just beyond a storage of three elements."""
    return zip_file(dict_of({"w": tensor(storage("Float", "0", 3), shape, strides, offset)}), THREE)


HUGE = 2**62
LYING = {
    "one element too many": strided((4,), (1,), 0),
    "one element too far": strided((3,), (1,), 1),
    "a number behind the end": strided((), (), 3),
    "rows that overlap the end": strided((2, 2), (2, 1), 0),
    "tensor larger than its storage": zip_file(dict_of({"w": tensor(storage("Float", "0", 3), (HUGE,), (1,))}), THREE),
    "one element repeated": zip_file(dict_of({"w": tensor(storage("Float", "0", 3), (10**5, 10**5), (0, 0))}), THREE),
    "storage larger than its member": zip_file(dict_of({"w": tensor(storage("Float", "0", HUGE), (3,), (1,))}), THREE),
    "storage larger than its file": legacy_file(dict_of({"w": vector(count=HUGE)}), THREE),
    "element count in the stream": legacy_file(dict_of({"w": vector()}), THREE).replace(
        struct.pack("<q", 3) + THREE["0"].tobytes(), struct.pack("<q", HUGE) + THREE["0"].tobytes()
    ),
    "text of 2 GiB": legacy_file(b"X\xff\xff\xff\x7fabc", {}),
    "bytes of 2**60": zip_file(b"\x8e" + struct.pack("<Q", 2**60), {}),
    "bytearray of 2**60": zip_file(b"\x96" + struct.pack("<Q", 2**60), {}),
    "integer of 2 GiB": zip_file(b"\x8b\xff\xff\xff\x7f\x01", {}),
    "memo index": zip_file(b"}r\xff\xff\xff\x7f0", {}),
    "member size": GOOD_ZIP.replace(struct.pack("<2L", 12, 12), struct.pack("<2L", 2**31, 2**31)),
    "member without its header": GOOD_ZIP.replace(b"PK\3\4", b"PK\3\5", 2).replace(b"PK\3\5", b"PK\3\4", 1),
    "two members of one name": zip_file(dict_of({"w": vector()}), THREE | {"1": THREE["0"]}).replace(
        b"data/1", b"data/0"
    ),
    "zip directory": GOOD_ZIP[:-10] + struct.pack("<L", 2**28) + GOOD_ZIP[-6:],
    "safetensors header": struct.pack("<Q", 2**28) + b"{}" + bytes(100),
    "safetensors header of 3 MiB": safetensors_file(b"{" + b" " * (3 << 20) + b"}", b""),
    "safetensors shape": safetensors_file({"w": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 12]}}, bytes(12)),
    "safetensors span": safetensors_file({"w": {"dtype": "U8", "shape": [HUGE], "data_offsets": [0, HUGE]}}, bytes(12)),
    "safetensors overlap": safetensors_file(
        {name: {"dtype": "U8", "shape": [12], "data_offsets": [0, 12]} for name in "ab"}, bytes(12)
    ),
    "safetensors gap": safetensors_file({"w": {"dtype": "U8", "shape": [11], "data_offsets": [1, 12]}}, bytes(12)),
    "safetensors rest": safetensors_file({"w": {"dtype": "U8", "shape": [11], "data_offsets": [0, 11]}}, bytes(12)),
    "safetensors name twice": safetensors_file(
        b'{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"0",
    ),
    "safetensors size that is no number": safetensors_file(
        {"w": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"0"
    ),
    "safetensors dimensions": safetensors_file(
        {"w": {"dtype": "U8", "shape": [1] * 9999, "data_offsets": [0, 1]}}, b"0"
    ),
    "safetensors nesting": safetensors_file(b"{" + b'"a":{' * 10**5, b""),
    "negative offset": zip_file(dict_of({"w": tensor(storage("Float", "0", 3), (1,), (1,), offset=-1)}), THREE),
    "negative stride": zip_file(dict_of({"w": tensor(storage("Float", "0", 3), (3,), (-1,), offset=2)}), THREE),
    "view outside": legacy_file(
        dict_of({"w": tensor(storage("Float", "0", 3, tuple_of(text("v"), number(2), number(2))), (2,), (1,))}), THREE
    ),
    "key that is a tuple": zip_file(b"})\x85K\x01s", {}),  # hashing one of 400,000 levels ends the process
    "name of a million tuples": zip_file(b")" + b"q\x00h\x00\x86" * 20 + text("x") + b"\x93", {}),
    "end without a start": zip_file(b"tttt", {}),
}


@contextmanager
def memory(limit: int):
    """Fails when Python or NumPy ask for more bytes than `limit` at a time, whether they use them or not."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", LYING)
def test_lying_file_is_refused_without_taking_memory(read, name):
    data = LYING[name]
    with memory(limit=80 * len(data) + 2**20):
        assert "damaged or cut short" in refused(read, data)


def test_long_zip_directory_is_refused(read):
    """5 MiB of entries, each of which would take several times its length in memory."""
    entry = struct.pack("<4s4x2H4x3L3H8xL", b"PK\1\2", 0, 0, 0, 0, 0, 4, 0, 0, 0)
    directory = b"".join(entry + b"%04x" % i for i in range(2**16)) + bytes(2 << 20)
    data = b"PK\3\4" + bytes(26) + directory + struct.pack("<4s6xHLLH", b"PK\5\6", 2**16 - 1, len(directory), 30, 0)
    with memory(limit=2**20):
        assert "the zip directory is declared as" in refused(read, data)


def test_members_that_share_their_bytes(read):
    """A zip directory may place a hundred members on the same bytes: 400 MB out of a file of 4."""
    array = np.zeros(2**20, np.float32)
    content = dict_of({f"w{i}": vector(str(i), array.size) for i in range(100)})
    file = io.BytesIO(zip_file(content, {"0": array}))
    with zipfile.ZipFile(file, "a") as archive:
        first = archive.getinfo("tnt/data/0")
        for i in range(1, 100):
            member = zipfile.ZipInfo(f"tnt/data/{i}")
            member.header_offset, member.CRC = first.header_offset, first.CRC
            member.file_size = member.compress_size = first.file_size
            archive.filelist.append(member)
            archive.NameToInfo[member.filename] = member
        archive._didModify = True
    with memory(limit=3 * array.nbytes):
        assert "larger than the file" in refused(read, file.getvalue())


@pytest.mark.parametrize("content", [b"}" * 2**20, b")" + b"\x85" * 2**20], ids=["dicts", "tuple in tuple"])
def test_endless_pickle_is_refused(read, content):
    """A byte makes an object of 64 bytes: the number of steps is limited, and so is the memory."""
    assert "steps, too many" in refused(read, zip_file(content, {}))


def test_long_pickle_is_refused(read):
    data = zip_file(b"X" + struct.pack("<I", 9 << 20) + b"a" * (9 << 20), {})
    with memory(limit=2**20):
        assert "at most 8388608 are possible" in refused(read, data)


def test_pairs_given_again_and_again(read):
    """Python 2's OrderedDict copies its pairs: 1,000 pairs, 1,000 times."""
    pairs = b"](" + b"".join(b"](" + text(f"{i:04}") + b"Ne" for i in range(1000)) + b"eq\x00"
    content = pairs + named("collections.OrderedDict") + b"q\x01" + b"h\x01h\x00\x85R" * 1000
    assert "steps, too many" in refused(read, zip_file(content, {}))


# --- random damage ---

REAL = [FOLDER / f"{name}_{ending}" for name in ("types", "checkpoint") for ending in BOTH_FORMATS]
VALID = [path.read_bytes() for path in REAL] + [GOOD_ZIP, GOOD_LEGACY, GOOD_SAFETENSORS]


@st.composite
def damaged(draw) -> bytes:
    """A valid file after one to four changes; many land in the pickle, so that some put opcodes into it."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["replace", "opcodes", "splice", "remove", "lose the end"])):
            case "replace":
                data[at : at + 8] = draw(st.binary(min_size=1, max_size=8))
            case "opcodes":
                data[at:at] = draw(st.lists(st.sampled_from(b"(0Ntu}]aesqhQRbc.\x85\x86\x94"), max_size=4))
            case "splice":
                other = draw(st.sampled_from(VALID))
                start = draw(st.integers(0, len(other)))
                data[at:end] = other[start : start + draw(st.integers(0, 200))]
            case "remove":
                del data[at:end]
            case "lose the end":
                del data[at:]
    return bytes(data)


@given(data=damaged())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_damage_gives_weights_or_one_clear_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    with nothing_executed(), memory(limit=20 * len(data) + 2**20):
        try:
            weights = read_weights(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()
        else:
            assert weights.tensors
            assert all(isinstance(n, str) and isinstance(a, np.ndarray) for n, a in weights.tensors.items())
            assert sum(array.nbytes for array in weights.tensors.values()) < 20 * len(data) + 2**20


def test_neither_pytorch_nor_mindspore_is_imported():
    code = "import sys, src.weights.torch_file; assert not {'torch', 'mindspore', 'safetensors'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
