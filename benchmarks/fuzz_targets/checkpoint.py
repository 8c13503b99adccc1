"""Checkpoints: their protobuf message field by field, and their bytes, most with the checksum made right again."""

import binascii
import io
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from mindspore.train.checkpoint_pb2 import Checkpoint

from benchmarks.fuzz_targets.mutation import NUMBERS, mutate_bytes
from benchmarks.fuzz_targets.target import SilentChange
from src.weights.checkpoint_file import read_checkpoint_file, write_checkpoint_file

TYPES = (
    *("Bool", "Int8", "Int32", "Int64", "UInt8", "Float16", "Float32", "Float64", "BFloat16", "str"),
    *("Complex64", "", "x"),
)
NUMPY = {"BFloat16": "<u2", "str": "<u4"}  # as they lie in the file


@dataclass(frozen=True)
class Entry:
    """A value of the message; `wrong` is added to the lengths of value, tag, tensor, type and content."""

    name: bytes
    kind: str
    dims: tuple[int, ...]
    content: bytes
    wrong: tuple[int, ...] = (0,) * 5
    order: tuple[int, ...] = (0, 1)
    more: bytes = b""

    def to_bytes(self) -> bytes:
        value, tag, tensor, kind, content = self.wrong
        fields = b"".join(b"\x08" + _varint(size) for size in self.dims)
        fields += b"\x12" + _with_length(self.kind.encode(), kind) + b"\x1a" + _with_length(self.content, content)
        parts = (b"\x0a" + _with_length(self.name, tag), b"\x12" + _with_length(fields, tensor))
        return b"\x0a" + _with_length(b"".join(parts[index] for index in self.order) + self.more, value)


class Checkpoints:
    """Mutants: the bytes of a file."""

    def __init__(self, folder: Path):
        self.path = folder / "net.ckpt"
        random = np.random.default_rng(0)
        arrays: list[tuple[str, Any]] = [
            ("head.weight", random.normal(size=(3, 4)).astype(np.float32)),
            ("head.bias", random.normal(size=3).astype(np.float32)),
            ("step", np.array(7, np.int32)),
            ("norm.gamma", random.normal(size=2).astype(np.float64)),
            ("metadata", "{}"),
        ]
        file = io.BytesIO()
        write_checkpoint_file(file, arrays)
        self.original = file.getvalue()
        message = Checkpoint.FromString(self.original[:-17])
        self.entries = [
            Entry(v.tag.encode(), v.tensor.tensor_type, tuple(v.tensor.dims), v.tensor.tensor_content)
            for v in message.value
        ]

    def draw(self, random: Random) -> bytes:
        kind = random.random()
        if kind < 0.05:
            return mutate_bytes(self.original, random)
        if kind < 0.3:
            body = mutate_bytes(self.original[:-17], random)
        else:
            body = self._mutate_message(random)
        if kind > 0.97:
            return body  # without a checksum
        return body + b"crc_num" + binascii.crc32(body).to_bytes(10, "big")

    def _mutate_message(self, random: Random) -> bytes:
        entries = list(self.entries)
        for _ in range(random.choice((1, 1, 2))):
            place = random.randrange(len(entries))
            if random.random() < 0.2:
                match random.randrange(4):
                    case 0:
                        entries.insert(random.randrange(len(entries) + 1), entries[place])
                    case 1 if len(entries) > 1:
                        del entries[place]
                    case 2:
                        random.shuffle(entries)
                    case _:
                        half = len(entries[place].content) // 2
                        parts = [replace(entries[place], content=entries[place].content[s]) for s in _halves(half)]
                        entries[place : place + 1] = parts
            else:
                entries[place] = _mutate_entry(entries[place], random)
        return b"".join(entry.to_bytes() for entry in entries)

    def read(self, mutant: bytes) -> None:
        self.path.write_bytes(mutant)
        found = read_checkpoint_file(self.path)
        body = mutant[:-17] if mutant[-17:-10] == b"crc_num" else mutant
        stated: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
        for value in Checkpoint.FromString(body).value:  # as MindSpore parses it
            tensor = value.tensor
            _, _, before = stated.get(value.tag, (None, None, b""))
            stated[value.tag] = tensor.tensor_type, tuple(tensor.dims), before + tensor.tensor_content
        if list(stated) != [*found.arrays, *found.texts] and set(stated) != {*found.arrays, *found.texts}:
            raise SilentChange("names differ from those in the file")
        for name, (kind, dims, content) in stated.items():
            if kind == "str":
                same = found.texts[name] == content.decode("utf-32-le", "surrogatepass").rstrip("\0")
            else:
                array = found.arrays[name]
                shape = () if dims == (0,) and content else dims
                same = array.shape == shape and array.size == prod(shape) and _bytes_of(array, kind) == content
            if not same:
                raise SilentChange(f"{name} is not what the file says")


def _mutate_entry(entry: Entry, random: Random) -> Entry:
    match random.randrange(9):
        case 0:
            dims = list(entry.dims)
            if dims and random.random() < 0.7:
                dims[random.randrange(len(dims))] = random.choice((*NUMBERS, -3))
            else:
                dims.insert(0, random.choice((1, 0, -1, 2**62)))
            return replace(entry, dims=tuple(dims))
        case 1:
            return replace(entry, kind=random.choice(TYPES))
        case 2:
            more = random.randbytes(random.choice((1, 4, 8, 100, 100_000 if random.random() < 0.02 else 12)))
            return replace(entry, content=entry.content + more)
        case 3:
            return replace(entry, content=entry.content[: random.randrange(len(entry.content) + 1)])
        case 4:
            wrong = list(entry.wrong)
            wrong[random.randrange(5)] = random.choice((1, -1, 2, 8, 1000, 2**31, 2**62))
            return replace(entry, wrong=tuple(wrong))
        case 5:
            return replace(entry, order=random.choice(((1, 0), (0,), (1,), (0, 0, 1), (0, 1, 1))))
        case 6:
            name = random.choice((b"", b"\xff", b"a" * 2000, b"head.bias", b"\n", entry.name + b"x"))
            return replace(entry, name=name)
        case 7:
            return replace(entry, more=random.choice((b"\x08\x01", b"\x20\x00", b"\x1a\x00", random.randbytes(3))))
        case _:
            return replace(entry, content=mutate_bytes(entry.content or b"\0", random))


def _bytes_of(array: np.ndarray, kind: str) -> bytes:
    if kind == "BFloat16":
        return (array.reshape(-1).view(np.uint32) >> 16).astype(NUMPY[kind]).tobytes()
    return array.tobytes()


def _halves(half: int) -> tuple[slice, slice]:
    return slice(0, half), slice(half, None)


def _varint(value: int) -> bytes:
    value %= 2**64
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _with_length(data: bytes, wrong: int) -> bytes:
    return _varint(len(data) + wrong) + data
