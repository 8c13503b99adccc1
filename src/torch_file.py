"""Weight files without PyTorch: .pth and .pth.tar of `torch.save` and .safetensors into NumPy, and .safetensors back.

The format is recognised by content, never by the file's ending:

- zip: `torch.save` since 1.6. Members NAME/data.pkl (the pickle) and NAME/data/KEY (raw storages, never compressed).
- legacy: `torch.save` up to 1.5. Pickles of a magic number, a protocol number, system facts, the object and the list of
  storage keys, one after another; then per key an int64 element count and the raw elements.
- safetensors: uint64 header size, JSON header, raw elements.

A file is treated as hostile. The pickle is walked opcode by opcode with `pickletools`, which decodes and never imports
or calls anything: a global is only a name, and a name outside `_GLOBALS` refuses the file. Every size a file declares is
compared with the file's real size before memory is taken for it, and pickles, directories and headers have a limit, so
that reading takes little more memory than the arrays that come back (twice their size where strided ones are copied).

The safetensors package is not used: it writes non-contiguous arrays wrongly and has no NumPy type for bfloat16.
"""

import io
import json
import math
import os
import pickletools
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided

from src.errors import UserError

# Where training scripts put the weights; the first that is there is taken, so averaged (EMA) weights come first.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "net")

# NumPy's name ("bfloat16" apart), PyTorch's storage class, safetensors' code.
_TYPES = (
    ("float16", "HalfStorage", "F16"),
    ("bfloat16", "BFloat16Storage", "BF16"),
    ("float32", "FloatStorage", "F32"),
    ("float64", "DoubleStorage", "F64"),
    ("int8", "CharStorage", "I8"),
    ("int16", "ShortStorage", "I16"),
    ("int32", "IntStorage", "I32"),
    ("int64", "LongStorage", "I64"),
    ("uint8", "ByteStorage", "U8"),
    ("bool", "BoolStorage", "BOOL"),
)
_STORAGES = {f"torch.{storage}": kind for kind, storage, _ in _TYPES}
_SAFETENSORS = {code: kind for kind, _, code in _TYPES}
# All that a pickle may name. Nothing is imported: `_Pickle._reduce` knows what the functions among these give.
_GLOBALS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.Size",
    "torch.device",
    *_STORAGES,
    *(f"torch.{kind}" for kind, _, _ in _TYPES),
}
_MAGIC = 0x1950A86A20F9469CFC6C  # opens a legacy file
_LEGACY_PROTOCOL = 1001

# A checkpoint of 700 parameters with optimizer state and EMA is 3,000 tensors: 0.5 MiB and 130,000 opcodes of pickle.
_MAX_PICKLE = 8 << 20  # bytes
_MAX_OPCODES = 500_000
_MAX_DIRECTORY = 4 << 20  # bytes of a zip file's directory
_MAX_HEADER = 2 << 20  # bytes of a safetensors header
_MAX_DIMENSIONS = 32  # NumPy's own
_SLACK = 1 << 20  # bytes that copies may take beyond the file's size

_RESAVE = "in PyTorch, save model.state_dict() alone (torch.save, or safetensors) and read that file"


@dataclass(frozen=True)
class WeightFile:
    """The weights of one file and how they were found.

    Attributes:
        tensors: name -> array, read-only; arrays of one storage share memory.
        wrapper: The entry the weights were taken from, such as "state_dict_ema"; None for a flat file.
        available: All entries that hold weights, the preferred first.
        prefix_stripped: Whether every name began with "module." (DataParallel), which was removed.
        bfloat16: Names stored as bfloat16, which NumPy lacks; the arrays are float32 with exactly those values.
        ignored: What else the file holds and was not read: epoch, optimizer, other wrappers, values that are no tensors.
    """

    tensors: dict[str, np.ndarray]
    wrapper: str | None
    available: list[str]
    prefix_stripped: bool
    bfloat16: list[str]
    ignored: list[str]


def read_weights(path: str | os.PathLike, key: str | None = None) -> WeightFile:
    """Reads the weights of a .pth, .pth.tar or .safetensors file.

    Args:
        path: The file.
        key: The entry to take where the file wraps its weights; by default the first of `WRAPPERS` that is there.

    Raises:
        UserError: The file is missing, something else, damaged, or its pickle names a global that weights do not need;
            `key` is not in it. One line.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _read(file, size, key)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give the path of a weight file") from error
    except Exception as error:  # damage can break any step of the parsing
        raise UserError(
            f"{path}: expected a whole weight file, but it is damaged or was cut short ({_short(error)}); get the file again"
        ) from error


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes arrays as .safetensors, with the same values bit for bit; the file appears whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        tensors: name -> array of float16/32/64, int8..int64, uint8 or bool, of any strides and byte order.
        metadata: Free text entries of the header.

    Raises:
        UserError: The file cannot be written.
        TypeError: An array's type has no place in the format.
    """
    codes = {kind: code for code, kind in _SAFETENSORS.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    arrays = []
    offset = 0
    # The widest elements first: every array then starts at a multiple of its element size.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        kind = tensor.dtype.newbyteorder("=").name
        if kind not in codes:
            raise TypeError(f"{name}: a safetensors file holds one of {', '.join(codes)}, not {kind}")
        # Not np.ascontiguousarray: that turns a single number into an array of one.
        array = np.asarray(tensor, dtype=tensor.dtype.newbyteorder("<"), order="C")
        header[name] = {"dtype": codes[kind], "shape": array.shape, "data_offsets": [offset, offset + array.nbytes]}
        arrays.append(array)
        offset += array.nbytes
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)

    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(unfinished, "wb") as file:
            file.write(struct.pack("<Q", len(head)) + head)
            for array in arrays:
                file.write(array.data if array.nbytes else b"")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}; give a file in a folder that exists and has space"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------- what kind of file


def _read(file: BinaryIO, size: int, key: str | None) -> WeightFile:
    head = file.read(512)
    if head.startswith(b"PK"):
        content, blocks = _open_zip(file, size)
    elif head.startswith(b"\x80"):
        content, blocks = _open_legacy(file, size)
    elif head[8:9] == b"{":
        content, blocks = _open_safetensors(file, size)
    else:
        raise UserError(f"expected a PyTorch or safetensors weight file, but {_describe(head)}")
    wrapper, available, chosen = _choose(content, key)

    tensors, bfloat16 = _read_tensors(file, size, {n: t for n, t in chosen.items() if _is_weight(n, t)}, blocks)
    prefix_stripped = all(name.startswith("module.") for name in tensors)
    if prefix_stripped:
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
        bfloat16 = [name.removeprefix("module.") for name in bfloat16]
    ignored = [_short(name) for name, value in chosen.items() if not _is_weight(name, value)]
    if wrapper is not None:
        ignored += [_short(name) for name in content if name != wrapper]
    return WeightFile(tensors, wrapper, available, prefix_stripped, bfloat16, ignored)


def _describe(head: bytes) -> str:
    """What a file is that begins with `head` and holds no weights for us, and what to do; completes "expected ..., but"."""
    if not head:
        return "the file is empty; get it again"
    if head[257:262] == b"ustar":
        return f"it is a tar archive (PyTorch before 0.1.10, or a packed folder); unpack it, or {_RESAVE}"
    if _is_mindspore_checkpoint(head):
        return "it is a MindSpore checkpoint already; it is loaded without conversion"
    text = head.decode("latin-1").lstrip()
    if text.startswith("<"):
        return f"it is a web page, {_short(text)}: the download gave a page instead of the file; get it again"
    if all(byte in b"\t\n\r\f" or byte >= 32 for byte in head):
        return f"it is text, {_short(text)}; get the weight file itself"
    return f"it begins with {head[:8].hex(' ')}; give a .pth, .pth.tar or .safetensors file"


def _is_mindspore_checkpoint(head: bytes) -> bool:
    """Protobuf: field 1 (the entry, with its length) holding field 1 (a short ASCII name), then field 2 (the tensor)."""
    end = next((i for i, byte in enumerate(head[1:11], start=2) if byte < 128), 0)  # behind the entry's length
    if not (head.startswith(b"\n") and end and head[end : end + 1] == b"\n" and len(head) > end + 2):
        return False
    name = head[end + 2 : end + 2 + head[end + 1]]
    return name.isascii() and head[end + 2 + len(name) :][:1] in (b"\x12", b"\x1a")


def _short(value: object) -> str:
    """One printable line of at most 80 characters: texts of a file may hold anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)[:400]).split())[:80]


# -------------------------------------------------------------------------------------------------- inside of a pickle


@dataclass(frozen=True)
class _Global:
    """A name out of `_GLOBALS`."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """`count` elements of a block, from element `first` on; the block holds `total`."""

    key: str
    kind: str
    total: int
    first: int
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A strided view of a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


@dataclass(frozen=True)
class _Block:
    """Where the elements of a storage lie in the file."""

    offset: int
    size: int  # bytes
    crc: int | None = None


class _Pickle:
    """Walks the opcodes that `torch.save` writes (protocols 2 to 5). Anything else is damage: ValueError, IndexError, ..."""

    def __init__(self, data: bytes):
        self.stream = io.BytesIO(data)
        self.storages: dict[str, _Storage] = {}
        self._steps = 0

    def load(self) -> Any:
        """The object of the next pickle in the stream: dicts, lists, tuples, numbers, texts, `_Tensor`, `_Global`."""
        stack: list[Any] = []
        marked: list[list[Any]] = []  # the stacks below each open mark
        memo: dict[int, Any] = {}
        for opcode, arg, _ in pickletools.genops(self.stream):
            self._count(1)
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "NONE":
                    stack.append(None)
                case "NEWTRUE":
                    stack.append(True)
                case "NEWFALSE":
                    stack.append(False)
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                    stack.append(arg)
                case "SHORT_BINSTRING" | "BINSTRING" | "SHORT_BINUNICODE" | "BINUNICODE" | "BINUNICODE8":
                    stack.append(arg)
                case "SHORT_BINBYTES" | "BINBYTES":
                    stack.append(arg)
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    length = int(opcode.name[-1])
                    stack[-length:] = [tuple(stack[-length:])]
                case "MARK":
                    marked.append(stack)
                    stack = []
                case "TUPLE":
                    items, stack = stack, marked.pop()
                    stack.append(tuple(items))
                case "APPEND":
                    item = stack.pop()
                    self._extend(stack[-1], [item])
                case "APPENDS":
                    items, stack = stack, marked.pop()
                    self._extend(stack[-1], items)
                case "SETITEM":
                    name, value = stack[-2:]
                    del stack[-2:]
                    self._update(stack[-1], [(name, value)])
                case "SETITEMS":
                    items, stack = stack, marked.pop()
                    self._update(stack[-1], zip(items[::2], items[1::2], strict=True))
                case "BINPUT" | "LONG_BINPUT":
                    memo[arg] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[arg])
                case "GLOBAL":
                    stack.append(self._global(arg.replace(" ", ".", 1), whole=_builds_the_whole(stack, marked)))
                case "STACK_GLOBAL":
                    module, name = stack[-2:]
                    del stack[-2:]
                    stack.append(self._global(f"{module}.{name}", whole=_builds_the_whole(stack, marked)))
                case "BINPERSID":
                    stack.append(self._storage(stack.pop()))
                case "REDUCE":
                    function, args = stack[-2:]
                    stack[-2:] = [self._reduce(function, args)]
                case "BUILD":  # attributes of an OrderedDict, such as _metadata of a state dict: not needed
                    stack.pop()
                case _:
                    raise ValueError(f"the pickle has the opcode {opcode.name}")
        raise ValueError("the pickle has no end")

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MAX_OPCODES:
            raise UserError(f"its pickle has more than {_MAX_OPCODES} steps, which is no list of weights; {_RESAVE}")

    def _global(self, name: str, whole: bool) -> _Global:
        if name in _GLOBALS:
            return _Global(name)
        if whole or name.startswith(("torch.nn.", "__torch__.")):
            raise UserError(
                f"expected a dict of tensors, but the file is a whole pickled object made by {_short(name)!r}, "
                f"which would need its code to be run: refused, nothing was executed; {_RESAVE}"
            )
        raise UserError(
            f"its pickle names {_short(name)!r}, which weights do not need: refused, nothing was executed; "
            f"if you trust the file, {_RESAVE}"
        )

    def _extend(self, target: Any, items: list) -> None:
        if type(target) is not list:
            raise ValueError("the pickle appends to something that is no list")
        target.extend(items)

    def _update(self, target: Any, items: Any) -> None:
        if type(target) is not dict:
            raise ValueError("the pickle sets an item of something that is no dict")
        for name, value in items:
            if not isinstance(name, str | int | float | None):  # the hash of a deeply nested tuple ends the process
                raise ValueError("the pickle has a dict whose keys are neither texts nor numbers")
            target[name] = value

    def _storage(self, arg: Any) -> _Storage:
        """`arg`: ("storage", type, key, device, elements) and in legacy files a view, (key, first, elements) or None."""
        match arg:
            case ("storage", _Global(name), str(key), _, int(total), *view) if name in _STORAGES and total >= 0:
                storage = _Storage(key, _STORAGES[name], total, 0, total)
            case _:
                raise ValueError("the pickle names a storage of an unknown form")
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {_short(key)} is declared twice, differently")
        match view:
            case [] | [None]:
                return storage
            case [(_, int(first), int(count))] if 0 <= first and 0 <= count and first + count <= total:
                return _Storage(key, storage.kind, total, first, count)
        raise ValueError(f"a view of storage {_short(key)} lies outside of it")

    def _reduce(self, function: Any, args: Any) -> Any:
        match function, args:
            case _Global("collections.OrderedDict"), ():
                return {}
            case _Global("collections.OrderedDict"), (list(pairs),):  # as Python 2 writes it
                self._count(len(pairs))
                items: dict = {}
                self._update(items, pairs)
                return items
            case (
                _Global("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2"),
                (_Storage() as storage, int(offset), tuple(shape), tuple(strides), *_),
            ):
                return _Tensor(storage, offset, shape, strides)
            case (
                _Global("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state"),
                (_Tensor() as tensor, *_),
            ):
                return tensor
            case _Global("torch.Size"), (tuple(shape),):
                return shape
            case _Global("torch.device") as device, _:
                return device
        raise ValueError("the pickle calls something that does not build a tensor")


def _builds_the_whole(stack: list, marked: list[list]) -> bool:
    """Whether the global that comes now makes the top-level object; legacy files announce a module's class by "module"."""
    return not stack and not marked or stack[:1] == ["module"]


# ------------------------------------------------------------------------------------------------------- three formats


def _open_zip(file: BinaryIO, size: int) -> tuple[Any, dict[str, _Block]]:
    members = _zip_members(file, size)
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UserError(
            "expected a zip file of torch.save, with one data.pkl in it, "
            f"but it holds {_short(', '.join(members)) or 'nothing'}; give the weight file itself"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in members:
        raise UserError(f"expected a dict of tensors, but the file is a TorchScript program; {_RESAVE}")
    if f"{prefix}byteorder" in members:
        order = _read_block(file, members[f"{prefix}byteorder"], limit=16)
        if order != b"little":
            raise UserError(
                f"expected little-endian weights, but they are {_short(order)}; {_RESAVE} on another machine"
            )
    content = _Pickle(_read_block(file, members[pickles[0]], limit=_MAX_PICKLE)).load()
    folder = f"{prefix}data/"
    return content, {name.removeprefix(folder): block for name, block in members.items() if name.startswith(folder)}


def _zip_members(file: BinaryIO, size: int) -> dict[str, _Block]:
    """Where each member lies. (`zipfile` takes 15 times a directory's size in memory before one can look at it.)"""
    tail = min(size, 22 + 20 + 56)
    file.seek(size - tail)
    end = file.read(tail).rjust(22 + 20 + 56, b"\0")
    sign, _, _, _, count, length, start, comment = struct.unpack("<4s4H2LH", end[-22:])
    if sign != b"PK\5\6" or comment:
        raise ValueError("the directory that ends a zip file of torch.save is missing")
    if end[-42:-38] == b"PK\6\7":  # zip64: the same in 64 bits, which PyTorch always writes
        sign, _, _, _, _, _, _, count, length, start = struct.unpack("<4sQ2H2L4Q", end[:56])
        if sign != b"PK\6\6":
            raise ValueError("the 64-bit directory of the zip file is missing")
    if start + length > size or length > _MAX_DIRECTORY:
        raise ValueError(f"its directory is declared as {length} bytes at {start} of {size}")
    file.seek(start)
    directory = file.read(length)
    members: dict[str, _Block] = {}
    at = 0
    for _ in range(count):
        (
            sign,
            _,
            _,
            flags,
            method,
            _,
            _,
            crc,
            packed,
            unpacked,
            name_length,
            extra_length,
            comment_length,
            _,
            _,
            _,
            offset,
        ) = struct.unpack_from("<4s6H3L5H2L", directory, at)
        at += 46
        name = directory[at : at + name_length].decode("latin-1")
        extra = directory[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length + comment_length
        unpacked, packed, offset = _zip64_values(extra, unpacked, packed, offset)
        if sign != b"PK\1\2" or name in members:
            raise ValueError("its zip directory is inconsistent")
        if flags & 1 or method != 0 or packed != unpacked:
            raise UserError(
                f"expected stored members, as torch.save writes them, but {_short(name)!r} is compressed or encrypted; "
                "give the file as PyTorch wrote it"
            )
        file.seek(offset)
        sign, name_length, extra_length = struct.unpack("<4s22x2H", file.read(30))
        offset += 30 + name_length + extra_length
        if sign != b"PK\3\4" or offset + unpacked > size:
            raise ValueError(f"{_short(name)} is declared as {unpacked} bytes at {offset} of {size}")
        members[name] = _Block(offset, unpacked, crc)
    return members


def _zip64_values(extra: bytes, *values: int) -> list[int]:
    """The 64-bit values of those that are given as 0xFFFFFFFF, out of a member's extra field 1, in this order."""
    wide: list[int] = []
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<2H", extra)
        if tag == 1:
            wide = list(struct.unpack_from(f"<{length // 8}Q", extra, 4))
        extra = extra[4 + length :]
    return [wide.pop(0) if value == 0xFFFFFFFF else value for value in values]


def _open_legacy(file: BinaryIO, size: int) -> tuple[Any, dict[str, _Block]]:
    file.seek(0)
    pickles = _Pickle(file.read(min(size, _MAX_PICKLE)))
    if pickles.load() != _MAGIC:
        raise UserError(f"expected a file of torch.save, but it is another Python pickle; {_RESAVE}")
    protocol, system = pickles.load(), pickles.load()
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise UserError(f"expected protocol {_LEGACY_PROTOCOL} of torch.save, got {_short(protocol)}; {_RESAVE}")
    if system.get("little_endian") is not True:
        raise UserError(f"expected little-endian weights, but they are big-endian; {_RESAVE} on another machine")
    content, keys = pickles.load(), pickles.load()
    blocks = {}
    offset = pickles.stream.tell()
    for key in keys:
        storage = pickles.storages[key]
        file.seek(offset)
        (count,) = struct.unpack("<q", file.read(8))
        block = _Block(offset + 8, count * _stored_type(storage.kind).itemsize)
        offset = block.offset + block.size
        if count != storage.total or offset > size:
            raise ValueError(
                f"storage {_short(key)} is declared as {storage.total} and as {count} elements at {block.offset} of {size}"
            )
        blocks[key] = block
    return content, blocks


def _open_safetensors(file: BinaryIO, size: int) -> tuple[dict[str, _Tensor], dict[str, _Block]]:
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    data = 8 + length
    if data > size or length > _MAX_HEADER:
        raise ValueError(f"the safetensors header is declared as {length} bytes of {size}, at most {_MAX_HEADER}")
    header = json.loads(file.read(length), object_pairs_hook=_unique)
    header.pop("__metadata__", None)
    content, blocks = {}, {}
    end = 0  # of the entries so far: they lie one behind the other, without gap or overlap
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (first, last) = tuple(entry["shape"]), entry["data_offsets"]
        kind = _SAFETENSORS.get(entry["dtype"])
        if kind is None:
            raise UserError(
                f"expected elements of type {', '.join(_SAFETENSORS)}, but {_short(name)!r} is {_short(entry['dtype'])}; "
                "save it as F32"
            )
        _check_integers(first, last, *shape)
        count = math.prod(shape)
        if first != end or last - first != count * _stored_type(kind).itemsize:
            raise ValueError(f"{_short(name)} of shape {_short(list(shape))} is declared at bytes {first} to {last}")
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        content[name] = _Tensor(_Storage(name, kind, count, 0, count), 0, shape, strides)
        blocks[name] = _Block(data + first, last - first)
        end = last
    if data + end != size:
        raise ValueError(f"the safetensors header declares {data + end} bytes, the file has {size}")
    return {name: content[name] for name in header}, blocks


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a name comes twice in the safetensors header")
    return items


# ------------------------------------------------------------------------------------------ from the content to arrays


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, _Tensor)


def _choose(content: Any, key: str | None) -> tuple[str | None, list[str], dict]:
    """The entry that holds the weights (None: `content` itself does), all entries that do, and the weights."""
    if not isinstance(content, dict):
        raise UserError(
            f"expected a dict of tensors, got {'a tensor' if isinstance(content, _Tensor) else 'something else'}; {_RESAVE}"
        )
    wrapped = [
        name
        for name, entry in content.items()
        if isinstance(name, str) and isinstance(entry, dict) and any(_is_weight(*item) for item in entry.items())
    ]
    known = [name for name in WRAPPERS if name in wrapped]
    available = known + [name for name in wrapped if name not in known]
    flat = any(_is_weight(*item) for item in content.items()) and not known
    listed = ", ".join(_short(name) for name in available)
    if key is not None:
        if key not in available:
            holds = f"weights under {listed}" if available else "weights directly" if flat else "no weights"
            raise UserError(
                f"expected weights under the key {key!r}, but the file holds {holds}; choose one, or give no key"
            )
        return key, available, content[key]
    if flat:
        return None, available, content
    if known:
        return known[0], available, content[known[0]]
    if available:
        raise UserError(
            f"expected weights under one of {', '.join(WRAPPERS)}, but they are under {listed}; give one as key"
        )
    raise UserError(
        f"expected tensors, but the file holds none, only {_short(', '.join(map(str, content))) or 'nothing'}; {_RESAVE}"
    )


def _stored_type(kind: str) -> np.dtype:
    """The NumPy type that holds the raw elements: bfloat16 as its bits, truth values as bytes (any but 0 is true)."""
    return np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(kind, kind)).newbyteorder("<")


def _read_tensors(
    file: BinaryIO, size: int, tensors: dict[str, _Tensor], blocks: dict[str, _Block]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays, and the names of those that are bfloat16. Reads each storage once, and only those that are used."""
    elements: dict[str, np.ndarray] = {}
    arrays: dict[str, np.ndarray] = {}
    bfloat16 = []
    left = {"storages": size, "copies": size + _SLACK}  # bytes that a file of this size may still ask for

    def spend(what: str, nbytes: int) -> None:
        left[what] -= nbytes
        if left[what] < 0:
            raise ValueError(f"its {what} take more bytes than the file has")

    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.key not in elements:
            block = blocks[storage.key]
            if block.size != storage.total * _stored_type(storage.kind).itemsize:
                raise ValueError(
                    f"storage {_short(storage.key)} has {block.size} bytes for {storage.total} {storage.kind}"
                )
            spend("storages", block.size)
            raw = np.frombuffer(_read_block(file, block, limit=size), _stored_type(storage.kind))
            elements[storage.key] = _decode(raw, storage.kind)
        view = _view(elements[storage.key][storage.first : storage.first + storage.count], tensor)
        if not view.flags.c_contiguous:
            spend("copies", view.nbytes)
            view = view.copy()
        view.flags.writeable = False
        arrays[name] = view
        if storage.kind == "bfloat16":
            bfloat16.append(name)
    return arrays, bfloat16


def _read_block(file: BinaryIO, block: _Block, limit: int) -> bytes:
    if block.size > limit:
        raise ValueError(f"a part of {block.size} bytes is larger than {limit}")
    file.seek(block.offset)
    data = file.read(block.size)
    if len(data) != block.size:
        raise ValueError("the file ends inside of its weights")
    if block.crc is not None and zlib.crc32(data) != block.crc:
        raise ValueError("a checksum differs")
    return data


def _decode(raw: np.ndarray, kind: str) -> np.ndarray:
    if kind == "bfloat16":  # the upper half of a float32
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind == "bool":
        return raw != 0
    return raw.astype(raw.dtype.newbyteorder("="), copy=False)


def _view(elements: np.ndarray, tensor: _Tensor) -> np.ndarray:
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    _check_integers(offset, *shape, *strides)
    if len(shape) != len(strides):
        raise ValueError("a tensor has another number of sizes than of strides")
    if 0 in shape:
        return np.empty(shape, elements.dtype)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if last >= len(elements):
        raise ValueError(f"a tensor reaches element {last} of a storage of {len(elements)}")
    return as_strided(elements[offset:], shape, [stride * elements.itemsize for stride in strides])


def _check_integers(*values: Any) -> None:
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("a size or an offset is no whole number from 0 on")
