"""MindSpore's .ckpt format, read and written without MindSpore.

A file is a protobuf message (proto2; field numbers on the left) and then, perhaps, a checksum:

    Checkpoint    1  value           one for each tensor
    Value         1  tag             the tensor's name
                  2  tensor          3, the table of a MapParameter, is refused
    TensorProto   1  dims            int64, repeated; none for a scalar, [0] for a text and for scalars of old versions
                  2  tensor_type     a name out of `_TYPES`; "str" for a text, which is stored as UTF-32
                  3  tensor_content  little-endian

A tensor of more than 512 MiB is cut into several values with the same tag, type and dims, one behind the other. The
checksum is "crc_num" and the CRC32 of all before as ten bytes, the highest first.

A file is treated as hostile. What MindSpore writes is read, and nothing else: fields in this order, each of them once,
every length exactly as long as what it is the length of, dims that are the content's. A length is compared with what is
left of the file before memory is taken for it, so that reading takes as much memory as the arrays that come back.
"""

import binascii
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import TemporaryError, UserError, shown, writing_error
from ..memory import check_fits

# MindSpore's names and NumPy's, which lacks bfloat16.
_TYPES = {
    "Bool": "bool",
    "Int8": "int8",
    "Int16": "int16",
    "Int32": "int32",
    "Int64": "int64",
    "UInt8": "uint8",
    "UInt16": "uint16",
    "UInt32": "uint32",
    "UInt64": "uint64",
    "Float16": "float16",
    "Float32": "float32",
    "Float64": "float64",
    "BFloat16": "bfloat16",
}
_TYPE_NAMES = {kind: name for name, kind in _TYPES.items()}
_TEXT = "str"

_CHECKSUM, _CHECKSUM_SIZE = b"crc_num", 10
_SLICE = 2**29  # bytes
_PART = 2**24  # bytes that are read or written at once

_MOST_TENSORS = 100_000
_LONGEST_NAME = 1000  # bytes
_LONGEST_TYPE = 32  # bytes
_LONGEST_TEXT = 2**28  # bytes
_MOST_DIMENSIONS = 32  # NumPy's own

_VALUE, _TAG, _TENSOR, _MAP_TENSOR, _DIM, _TYPE, _CONTENT = 0x0A, 0x0A, 0x12, 0x1A, 0x08, 0x12, 0x1A
"""Field number and wire type (0 a number, 2 something with its length) in one byte."""


class DamagedCheckpointError(UserError):
    """The file is not what was written."""


class _Damage(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True)
class CheckpointFile:
    """The content of a file.

    Attributes:
        arrays: by name, in the file's order, each with memory of its own. Those stored as bfloat16, which NumPy lacks,
            are float32 with exactly those values.
        texts: by name.
        has_checksum: whether the file has one; if so, it is right.
    """

    arrays: dict[str, np.ndarray]
    texts: dict[str, str]
    has_checksum: bool


def read_checkpoint_file(path: str | os.PathLike) -> CheckpointFile:
    """Reads and verifies a file.

    Raises:
        DamagedCheckpointError: it is damaged, or of another kind.
        UserError: no such file, or one that cannot be read here and now.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(f"checkpoint {path} does not exist" if not os.path.exists(path) else f"{path} is not a file")
    size = 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            check_fits(size, f"the checkpoint {path}", "use a machine with more")
            return _read(file, size)
    except _Damage as damage:
        raise DamagedCheckpointError(
            f"{path} is not a readable MindSpore checkpoint: it is truncated, damaged or of another kind ({damage}); "
            "convert.py makes checkpoints of PyTorch files"
        ) from None
    except OSError as error:
        raise writing_error(f"cannot read the checkpoint {path}: {error.strerror or error}", error) from error
    except MemoryError as error:
        raise TemporaryError(
            f"cannot read the checkpoint {path}: its {size:,} bytes do not fit into the memory that is free; "
            "stop other programs, or use a machine with more"
        ) from error


def write_checkpoint_file(file: BinaryIO, entries: Iterable[tuple[str, np.ndarray | str]]) -> None:
    """Writes what `read_checkpoint_file` and MindSpore read, with a checksum.

    Args:
        file: open for writing.
        entries: names, each once, with arrays of the types above, bfloat16 by that name among them, or texts.

    Raises:
        OSError: it cannot be written.
    """
    checksum = 0
    for name, value in entries:
        array, dims = (np.array(value), (0,)) if isinstance(value, str) else (value, value.shape)
        kind = _TEXT if isinstance(value, str) else _TYPE_NAMES[value.dtype.name]
        content = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        for first in range(0, len(content), _SLICE) or [0]:
            part = content[first : first + _SLICE]
            for piece in (_header(name, kind, dims, len(part)), *_parts(part)):
                checksum = binascii.crc32(piece, checksum)
                file.write(piece)
    file.write(_CHECKSUM + checksum.to_bytes(_CHECKSUM_SIZE, "big"))


def _header(name: str, kind: str, dims: Sequence[int], length: int) -> bytes:
    """What stands before the bytes of a tensor or slice, of which there are `length`."""
    tag = _field(_TAG, name.encode())
    tensor = b"".join(bytes([_DIM]) + _varint(size) for size in dims)
    tensor += _field(_TYPE, kind.encode()) + bytes([_CONTENT]) + _varint(length)
    tag += bytes([_TENSOR]) + _varint(len(tensor) + length)
    return bytes([_VALUE]) + _varint(len(tag) + len(tensor) + length) + tag + tensor


def _parts(content: memoryview) -> Iterator[memoryview]:
    return (content[first : first + _PART] for first in range(0, len(content), _PART))


class _Stream:
    """Reads forward.

    Attributes:
        left: bytes up to the end.
        checksum: of what was read.
    """

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size, self.left, self.checksum = file, size, size, 0

    def damage(self, problem: str) -> _Damage:
        """`problem`, with the place where it is."""
        return _Damage(f"{problem} at byte {self._size - self.left}")

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise self.damage(f"{count} bytes are expected, {self.left} are left")
        data = self._file.read(count)
        self._count(data, count)
        return data

    def fill(self, content: np.ndarray) -> None:
        """Reads as many bytes as `content` has."""
        for part in _parts(memoryview(content)):
            self._count(part[: self._file.readinto(part)], len(part))

    def key(self, *expected: int) -> int:
        """The next field's key, which is one of `expected`."""
        key = self.take(1)[0]
        if key not in expected:
            raise self.damage(f"there is no field {' or '.join(map(hex, expected))}")
        return key

    def number(self) -> int:
        """The next varint: seven bits in a byte, the lowest first, the top bit set where more follow."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if value >= 2**64 or (shift and not byte):  # or longer than need be
                    break
                return value
        raise self.damage("there is no whole number")

    def length(self, longest: int) -> int:
        """The next varint, as the length of a field."""
        if (length := self.number()) > longest:
            raise self.damage(f"a field has {length} bytes, where at most {longest} can be,")
        return length

    def length_up_to(self, end: int) -> int:
        """The length of a field after which `end` bytes are left."""
        if (length := self.number()) != self.left - end:
            raise self.damage(f"a field has {length} bytes, where {self.left - end} are left of what it is in,")
        return length

    def text(self, longest: int) -> str:
        """The next field, after its key, as a name."""
        try:
            text = self.take(self.length(longest)).decode()
        except UnicodeDecodeError:
            text = ""
        if not text or not text.isprintable():
            raise self.damage("there is no name")
        return text

    def _count(self, data: bytes | memoryview, expected: int) -> None:
        if len(data) != expected:
            raise self.damage("the file became shorter")
        self.checksum = binascii.crc32(data, self.checksum)
        self.left -= expected


class _Header(NamedTuple):
    """What stands before each slice of a tensor."""

    name: str
    kind: str
    dims: tuple[int, ...]

    def __str__(self) -> str:
        return f"{shown(self.name)}, {self.kind} of shape {shown(self.dims)}"


def _read(file: BinaryIO, size: int) -> CheckpointFile:
    checksum, size = _find_checksum(file, size)
    stream = _Stream(file, size)
    arrays: dict[str, np.ndarray] = {}
    texts: dict[str, str] = {}
    while stream.left:
        header, content = _read_tensor(stream)
        if header.name in arrays or header.name in texts:
            raise _Damage(f"{shown(header.name)} comes twice")
        if header.kind == _TEXT:
            texts[header.name] = _to_text(header, content)
        else:
            arrays[header.name] = _to_array(header, content)
        if len(arrays) + len(texts) > _MOST_TENSORS:
            raise _Damage(f"it has more than {_MOST_TENSORS} tensors")
    if not arrays and not texts:
        raise _Damage("it holds nothing")
    if checksum not in (None, stream.checksum):
        raise _Damage("its checksum is of another content")
    return CheckpointFile(arrays, texts, checksum is not None)


def _find_checksum(file: BinaryIO, size: int) -> tuple[int | None, int]:
    """The checksum, None where the file has none, and the number of bytes before it."""
    end = size - len(_CHECKSUM) - _CHECKSUM_SIZE
    if end < 0:
        return None, size
    file.seek(end)
    is_there, value = file.read(len(_CHECKSUM)) == _CHECKSUM, int.from_bytes(file.read(_CHECKSUM_SIZE), "big")
    file.seek(0)
    return (value, end) if is_there else (None, size)


def _read_tensor(stream: _Stream) -> tuple[_Header, np.ndarray]:
    """The next tensor, all slices of it, as bytes."""
    header, length = _read_header(stream)
    size = _size_of(header, length)
    if size > stream.left:
        raise _Damage(f"{header}, takes {size} bytes, {stream.left} are left")
    content, filled = np.empty(size, np.uint8), 0
    while True:
        stream.fill(content[filled : filled + length])
        filled += length
        if filled == size:
            return header, content
        following, length = _read_header(stream) if stream.left else (None, 0)
        if following != header or not 0 < length <= size - filled:
            raise _Damage(f"{header}, takes {size} bytes, and the slices of it have others")


def _read_header(stream: _Stream) -> tuple[_Header, int]:
    """What comes before the bytes of a tensor or slice, and how many these are."""
    stream.key(_VALUE)
    length = stream.length(stream.left)
    end = stream.left - length
    stream.key(_TAG)
    name = stream.text(_LONGEST_NAME)
    if stream.key(_TENSOR, _MAP_TENSOR) == _MAP_TENSOR:
        raise _Damage(f"{shown(name)} is a MapParameter, which is not read here")
    stream.length_up_to(end)
    dims = []
    while stream.key(_DIM, _TYPE) == _DIM:
        size = stream.number()
        dims.append(size if size < 2**63 else size - 2**64)
        if len(dims) > _MOST_DIMENSIONS:
            raise _Damage(f"{shown(name)} has more than {_MOST_DIMENSIONS} dimensions")
    kind = stream.text(_LONGEST_TYPE)
    if kind not in (*_TYPES, _TEXT):
        raise _Damage(f"{shown(name)} is of type {shown(kind)}, which is not read here")
    stream.key(_CONTENT)
    return _Header(name, kind, tuple(dims)), stream.length_up_to(end)


def _item_size(header: _Header) -> int:
    return 2 if header.kind == "BFloat16" else np.dtype(_TYPES[header.kind]).itemsize


def _size_of(header: _Header, length: int) -> int:
    """The bytes of all slices of a tensor, of which the first has `length`."""
    if header.kind == _TEXT:
        if header.dims != (0,) or length % 4 or not 0 < length <= _LONGEST_TEXT:
            raise _Damage(f"{header}, is no text of at most {_LONGEST_TEXT} bytes")
        return length
    item_size = _item_size(header)
    if header.dims == (0,):  # a scalar of old versions
        size = item_size if length else 0
    else:
        size = prod(header.dims) * item_size
    if min(header.dims, default=0) < 0 or prod(filter(None, header.dims)) * item_size >= 2**63:
        raise _Damage(f"{header}, is of a shape that cannot be")
    if length > size or (size and not length):
        raise _Damage(f"{header}, takes {size} bytes, and {length} are there")
    return size


def _to_text(header: _Header, content: np.ndarray) -> str:
    try:
        return content.tobytes().decode("utf-32-le", "surrogatepass").rstrip("\0")
    except UnicodeDecodeError:
        raise _Damage(f"{header}, is no text") from None


def _to_array(header: _Header, content: np.ndarray) -> np.ndarray:
    shape = () if header.dims == (0,) and content.size else header.dims
    if header.kind == "BFloat16":  # the upper half of a float32
        return (content.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if header.kind == "Bool" and content.size and content.max() > 1:
        raise _Damage(f"{header}, has a value that is neither 0 nor 1")
    return content.view(_TYPES[header.kind]).reshape(shape)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _field(key: int, data: bytes) -> bytes:
    return bytes([key]) + _varint(len(data)) + data
