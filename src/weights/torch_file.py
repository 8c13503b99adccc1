"""Weight files without PyTorch: .pth and .pth.tar of `torch.save` and .safetensors into NumPy, and .safetensors back.

The format is recognised by content, never by the file's ending:

- zip: `torch.save` since 1.6. Members NAME/data.pkl (the pickle) and NAME/data/KEY (raw storages, never compressed).
- legacy: `torch.save` up to 1.5. Pickles of a magic number, a protocol number, system facts, the object and the list of
  storage keys, one after another; then per key an int64 element count and the raw elements.
- safetensors: uint64 header size, JSON header, raw elements.

A file is treated as hostile. The pickle is walked opcode by opcode with `pickletools`, which decodes and never imports
or calls anything: a global is only a name, and a name outside `_GLOBALS` refuses the file. Every declared size is
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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import UserError
from ..files.whole_file import whole_file

# Where training scripts put the weights; the first that is there is taken, so averaged (EMA) weights come first.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "net")
# What DataParallel and torch.compile put before every name, alone or one after the other.
PREFIXES = ("module.", "_orig_mod.")

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
# All that a pickle may name. Nothing is imported: `_Pickle._reduce` knows what the functions among these give, and a
# namespace, the options in checkpoints of timm's training script, becomes a `_Namespace`.
_GLOBALS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.Size",
    "torch.device",
    "argparse.Namespace",
    "copyreg._reconstructor",
    "builtins.object",
    *_STORAGES,
    *(f"torch.{kind}" for kind, _, _ in _TYPES),
}
_PYTHON_2 = {"copy_reg": "copyreg", "__builtin__": "builtins"}  # modules that pickles of protocol 2 have by these names
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
        removed_prefix: What every name began with and does no more, out of `PREFIXES`; "" for nothing.
        bfloat16: Names stored as bfloat16, which NumPy lacks; the arrays are float32 with exactly those values.
        ignored: What was left unread: epoch, optimizer, other wrappers, values that are no tensors.
    """

    tensors: dict[str, np.ndarray]
    wrapper: str | None
    available: list[str]
    removed_prefix: str
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
    try:
        with open(path, "rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, key)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give the path of a weight file") from error
    except Exception as error:  # damage can break any step of the parsing
        reason = _short(error) or type(error).__name__
        raise UserError(
            f"{path}: expected a whole weight file, but it is damaged or cut short ({reason}); get it again"
        ) from error


def write_safetensors(
    path: str | os.PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes arrays as .safetensors, with the same values bit for bit; the file appears whole or not at all.

    Args:
        path: The file; an existing one is replaced, and so is what a link leads to.
        tensors: name -> array of float16/32/64, int8..int64, uint8 or bool, of any strides and byte order.
        metadata: Free text entries of the header.

    Raises:
        UserError: The file cannot be written.
        TypeError: An array's type has no place in the format.
    """
    codes = {kind: code for kind, _, code in _TYPES}
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    arrays = []
    offset = 0
    # The widest elements first: every array then starts at a multiple of its element size.
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        kind = tensor.dtype.newbyteorder("=").name
        if kind not in codes:
            raise TypeError(f"{name}: a safetensors file holds one of {', '.join(codes)}, not {kind}")
        span = [offset, offset := offset + tensor.nbytes]
        header[name] = {"dtype": codes[kind], "shape": tensor.shape, "data_offsets": span}
        arrays.append(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False))
    head = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    head += b" " * (-len(head) % 8)

    try:
        with whole_file(path) as file:
            file.write(struct.pack("<Q", len(head)) + head)
            for array in arrays:
                file.write(array.tobytes())  # row-major, whatever the strides
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}; give a file in a folder that exists and has space"
        ) from error


# --- what kind of file ---


def _read(file: BinaryIO, size: int, key: str | None) -> WeightFile:
    head = file.read(512)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        content, blocks = _open_zip(file, size)
    elif head[8:9] == b"{" and not _is_text(head):  # before pickles: the header's size may begin with their \x80
        content, blocks = _open_safetensors(file, size)
    elif head.startswith(b"\x80"):
        content, blocks = _open_legacy(file, size)
    else:
        raise UserError(f"expected a PyTorch or safetensors weight file, but {_describe(head)}")

    wrapper, available, chosen = _choose(content, key)
    weights = {name: value for name, value in chosen.items() if _is_weight(name, value)}
    ignored = [_short(name) for name in chosen if name not in weights]
    if wrapper is not None:
        ignored += [_short(name) for name in content if name != wrapper]
    removed_prefix = _common_prefix(weights)
    weights = {name.removeprefix(removed_prefix): value for name, value in weights.items()}
    bfloat16 = [name for name, tensor in weights.items() if tensor.storage.kind == "bfloat16"]
    return WeightFile(_read_tensors(file, size, weights, blocks), wrapper, available, removed_prefix, bfloat16, ignored)


def _common_prefix(names: Iterable[str]) -> str:
    """The longest row of `PREFIXES` that all names begin with."""
    prefix = ""
    while longer := [prefix + each for each in PREFIXES if all(name.startswith(prefix + each) for name in names)]:
        (prefix,) = longer
    return prefix


def _describe(head: bytes) -> str:
    """What a file beginning with `head` is, when it is none of ours, and what to do."""
    if not head:
        return "the file is empty; get it again"
    if head[257:262] == b"ustar":
        return f"it is a tar archive (PyTorch before 0.1.10, or a packed folder); unpack it, or {_RESAVE}"
    if _is_mindspore_checkpoint(head):
        return "it is a MindSpore checkpoint already; it is loaded without conversion"
    text = head.decode("latin-1").lstrip("\xef\xbb\xbf \t\r\n")
    if text.startswith("<"):
        return f"it is a web page ({_short(text)}): the download gave a page, not the file; get it again"
    if _is_text(head):
        return f"it is text ({_short(text)}); give the weight file itself"
    return f"it begins with {head[:8].hex(' ')}; give a .pth, .pth.tar or .safetensors file"


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def _is_mindspore_checkpoint(head: bytes) -> bool:
    """Protobuf: field 1 (an entry, with its length) that holds field 1 (a short name), then field 2 or 3 (a tensor)."""
    entry = 1 + next((i for i, byte in enumerate(head[1:11], start=1) if byte < 128), 0)  # where the length ends
    if entry == 1 or head[0] != 10 or len(head) < entry + 2 or head[entry] != 10:
        return False
    after_name = entry + 2 + head[entry + 1]
    return head[after_name : after_name + 1] in (b"\x12", b"\x1a")


def _short(value: object) -> str:
    """One printable line of at most 80 characters: texts out of a file may hold anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)[:400]).split())[:80]


# --- pickles ---


@dataclass(frozen=True)
class _Global:
    """A name out of `_GLOBALS`."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """`count` elements from element `first` on, out of a block of `total`."""

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
    """Where the elements of a storage lie in the file, in bytes."""

    offset: int
    size: int
    crc: int | None = None
    stored: bool = True  # as it is: neither compressed nor encrypted


@dataclass
class _Namespace:
    """An `argparse.Namespace`."""

    attributes: dict[str, Any]


class _Pickle:
    """Walks the opcodes that `torch.save` writes (protocols 2 to 5); others are damage, any exception."""

    def __init__(self, data: bytes):
        self.stream = io.BytesIO(data)
        self.storages: dict[str, _Storage] = {}
        self._steps = 0

    def load(self) -> Any:
        """The object of the next pickle: dicts, lists, tuples, numbers, texts, `_Tensor` and `_Global`."""
        stack: list[Any] = []
        below: list[list[Any]] = []  # the stack under each open mark
        memo: dict[int, Any] = {}
        for opcode, arg, _ in pickletools.genops(self.stream):
            self._count(1)
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}[opcode.name])
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "SHORT_BINBYTES" | "BINBYTES":
                    stack.append(arg)
                case "SHORT_BINUNICODE" | "BINUNICODE" | "BINUNICODE8" | "SHORT_BINSTRING" | "BINSTRING":
                    stack.append(arg)
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    length = int(opcode.name[-1])
                    stack[-length:] = [tuple(stack[-length:])]
                case "MARK":
                    below.append(stack)
                    stack = []
                case "TUPLE":
                    items, stack = stack, below.pop()
                    stack.append(tuple(items))
                case "APPEND":
                    item = stack.pop()
                    _extend(stack[-1], [item])
                case "APPENDS":
                    items, stack = stack, below.pop()
                    _extend(stack[-1], items)
                case "SETITEM":
                    name, value = stack.pop(-2), stack.pop()
                    _update(stack[-1], [(name, value)])
                case "SETITEMS":
                    items, stack = stack, below.pop()
                    _update(stack[-1], zip(items[::2], items[1::2], strict=True))
                case "BINPUT" | "LONG_BINPUT":
                    memo[arg] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[arg])
                case "GLOBAL":
                    stack.append(_global(arg.replace(" ", ".", 1), _makes_the_whole(stack, below)))
                case "STACK_GLOBAL":
                    parts = stack.pop(-2), stack.pop()
                    stack.append(_global(".".join(parts), _makes_the_whole(stack, below)))  # TypeError unless texts
                case "BINPERSID":
                    stack.append(self._storage(stack.pop()))
                case "REDUCE":
                    function, args = stack.pop(-2), stack.pop()
                    stack.append(self._reduce(function, args))
                case "NEWOBJ":
                    kind, args = stack.pop(-2), stack.pop()
                    stack.append(self._new(kind, args))
                case "BUILD":
                    state = stack.pop()
                    if isinstance(stack[-1], _Namespace):  # others, such as a state dict's _metadata, are not needed
                        _update(stack[-1].attributes, self._attributes(state))
                case _:
                    raise ValueError(f"the pickle has the opcode {opcode.name}")
        raise ValueError("the pickle has no end")

    def _count(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MAX_OPCODES:
            raise UserError(f"its pickle takes more than {_MAX_OPCODES} steps, too many for weights; {_RESAVE}")

    def _storage(self, arg: Any) -> _Storage:
        """The storage of ("storage", type, key, device, elements), plus a view in legacy files: (key, first, count)."""
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
            case [(_, int(first), int(count))] if first >= 0 and count >= 0 and first + count <= total:
                return _Storage(key, storage.kind, total, first, count)
        raise ValueError(f"a view of storage {_short(key)} lies outside of it")

    def _reduce(self, function: Any, args: Any) -> Any:
        """What calling `function` would give; nothing is called."""
        match function, args:
            case _Global("collections.OrderedDict"), ():
                return {}
            case _Global("collections.OrderedDict"), (list(pairs),):  # as Python 2 writes it
                self._count(len(pairs))
                items: dict = {}
                _update(items, pairs)
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
            case _Global("copyreg._reconstructor"), (kind, _Global("builtins.object"), None):
                return self._new(kind, ())
            case _Global("argparse.Namespace"), ():
                return self._new(function, args)
        raise ValueError("the pickle calls something that does not build a tensor")

    def _new(self, kind: Any, args: Any) -> _Namespace:
        if kind != _Global("argparse.Namespace") or args != ():
            raise ValueError("the pickle makes something that is no namespace")
        return _Namespace({})

    def _attributes(self, state: Any) -> Iterable[tuple[Any, Any]]:
        if type(state) is not dict:
            raise ValueError("the pickle sets attributes that are no dict")
        self._count(len(state))  # one dict may be set many times
        return state.items()


def _global(name: str, makes_the_whole: bool) -> _Global:
    module, _, member = name.partition(".")
    known = f"{_PYTHON_2.get(module, module)}.{member}"
    if known in _GLOBALS:
        return _Global(known)
    if makes_the_whole or name.startswith(("torch.nn.", "__torch__.")):
        raise UserError(
            f"expected a dict of tensors, but the file is one whole pickled object made by {_short(name)!r}, "
            f"which would need code to be run: refused, nothing was executed; {_RESAVE}"
        )
    raise UserError(
        f"its pickle names {_short(name)!r}, which weights do not need: refused, nothing was executed; "
        f"if you trust the file, {_RESAVE}"
    )


def _makes_the_whole(stack: list, below: list[list]) -> bool:
    """Whether a global that comes now makes the top-level object (legacy files announce a class by "module")."""
    return not (stack or below) or stack[:1] == ["module"]


def _extend(target: Any, items: list) -> None:
    if type(target) is not list:
        raise ValueError("the pickle appends to something that is no list")
    target.extend(items)


def _update(target: Any, items: Iterable[tuple[Any, Any]]) -> None:
    if type(target) is not dict:
        raise ValueError("the pickle sets an item of something that is no dict")
    for name, value in items:
        if not isinstance(name, str | int | float | None):  # hashing a deeply nested tuple would end the process
            raise ValueError("the pickle has a dict whose keys are neither texts nor numbers")
        target[name] = value


# --- the three formats: what the file holds, with `_Tensor` for tensors, and where their elements lie ---


def _open_zip(file: BinaryIO, size: int) -> tuple[Any, dict[str, _Block]]:
    members = _zip_members(file, size)
    pickles = [name for name in members if name.endswith("data.pkl")]
    if len(pickles) != 1:
        raise UserError(
            f"expected a zip file of torch.save, with one data.pkl in it, but it holds {_listed(members)}; "
            "give the weight file itself"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in members:
        raise UserError(f"expected a dict of tensors, but the file is a TorchScript program; {_RESAVE}")
    order = members.get(f"{prefix}byteorder")  # absent in older files
    if order and _read_block(file, order, limit=16) != b"little":
        raise UserError(f"expected little-endian weights, got big-endian ones; {_RESAVE} on a common machine")
    content = _Pickle(_read_block(file, members[pickles[0]], limit=_MAX_PICKLE)).load()
    folder = f"{prefix}data/"
    return content, {name.removeprefix(folder): block for name, block in members.items() if name.startswith(folder)}


def _zip_members(file: BinaryIO, size: int) -> dict[str, _Block]:
    """Where each member lies. (`zipfile` takes 15 times a directory's size in memory before one can look at it.)"""
    file.seek(max(0, size - 98))
    tail = file.read(98).rjust(98, b"\0")  # 56 bytes of 64-bit directory end, 20 that point to it, 22 of directory end
    mark, count, length, start, comment = struct.unpack("<4s6xHLLH", tail[76:])
    if mark != b"PK\5\6" or comment:
        raise ValueError("the directory at the end of the zip file is missing")
    if tail[56:60] == b"PK\6\7":
        mark, count, length, start = struct.unpack("<4s28x3Q", tail[:56])
        if mark != b"PK\6\6":
            raise ValueError("the 64-bit directory at the end of the zip file is missing")
    if start + length > size or length > _MAX_DIRECTORY:
        raise ValueError(f"the zip directory is declared as {length} bytes at {start} of {size}")
    file.seek(start)
    directory = file.read(length)
    members: dict[str, _Block] = {}
    at = 0
    for _ in range(count):
        entry = struct.unpack_from("<4s4x2H4x3L3H8xL", directory, at)
        mark, flags, method, crc, packed, unpacked, name_length, extra_length, comment_length, offset = entry
        name_end = at + 46 + name_length
        name = directory[at + 46 : name_end].decode("latin-1")
        extra = directory[name_end : name_end + extra_length]
        at = name_end + extra_length + comment_length
        unpacked, packed, offset = _zip64_values(extra, unpacked, packed, offset)
        if mark != b"PK\1\2" or name in members or offset > size:
            raise ValueError("the zip directory is inconsistent")
        file.seek(offset)
        mark, name_length, extra_length = struct.unpack("<4s22x2H", file.read(30))
        offset += 30 + name_length + extra_length
        if mark != b"PK\3\4" or offset + packed > size:
            raise ValueError(f"{_short(name)} is declared as {packed} bytes at {offset} of {size}")
        members[name] = _Block(offset, packed, crc, stored=method == 0 and packed == unpacked and not flags & 1)
    return members


def _zip64_values(extra: bytes, *values: int) -> list[int]:
    """`values`, those that are 0xFFFFFFFF replaced by the 64-bit ones of a member's extra field 1, in this order."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            wide = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    return [wide.pop(0) if value == 0xFFFFFFFF else value for value in values]


def _open_legacy(file: BinaryIO, size: int) -> tuple[Any, dict[str, _Block]]:
    file.seek(0)
    pickles = _Pickle(file.read(min(size, _MAX_PICKLE)))
    if pickles.load() != _MAGIC:
        raise UserError(f"expected a file of torch.save, but it is another Python pickle; {_RESAVE}")
    protocol, system = pickles.load(), pickles.load()
    if protocol != _LEGACY_PROTOCOL:
        raise UserError(f"expected protocol {_LEGACY_PROTOCOL} of torch.save, got another; {_RESAVE}")
    if system["little_endian"] is not True:
        raise UserError(f"expected little-endian weights, got big-endian ones; {_RESAVE} on a common machine")
    content, keys = pickles.load(), pickles.load()
    blocks = {}
    end = pickles.stream.tell()
    for key in keys:
        if not isinstance(key, str):
            raise ValueError("the list of storages holds something that is no text")
        storage = pickles.storages[key]
        file.seek(end)
        (count,) = struct.unpack("<q", file.read(8))
        blocks[key] = _Block(end + 8, storage.total * _stored_type(storage.kind).itemsize)
        end = blocks[key].offset + blocks[key].size
        if count != storage.total or end > size:
            raise ValueError(f"storage {_short(key)}: {count} of {storage.total} elements, up to byte {end} of {size}")
    return content, blocks


def _open_safetensors(file: BinaryIO, size: int) -> tuple[dict[str, _Tensor], dict[str, _Block]]:
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    data = 8 + length
    if data > size or length > _MAX_HEADER:
        raise ValueError(f"the header is declared as {length} bytes of {size}, {_MAX_HEADER} are possible")
    header = json.loads(file.read(length), object_pairs_hook=_unique)
    header.pop("__metadata__", None)
    content, blocks = {}, {}
    end = 0  # of the entries so far: they lie one behind the other, without gap or overlap
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        shape, (first, last) = tuple(entry["shape"]), entry["data_offsets"]
        if entry["dtype"] not in _SAFETENSORS:
            known = ", ".join(_SAFETENSORS)
            raise UserError(
                f"expected one of {known}, but {_short(name)!r} is {_short(entry['dtype'])}; save it as F32"
            )
        kind = _SAFETENSORS[entry["dtype"]]
        _check_sizes(shape, first, last)
        count = math.prod(shape)
        if first != end or last - first != count * _stored_type(kind).itemsize:
            raise ValueError(f"{_short(name)} of shape {_short(list(shape))} is declared at bytes {first} to {last}")
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        content[name] = _Tensor(_Storage(name, kind, count, 0, count), 0, shape, strides)
        blocks[name] = _Block(data + first, last - first)
        end = last
    if data + end != size:
        raise ValueError(f"the header declares {data + end} bytes, the file has {size}")
    return {name: content[name] for name in header}, blocks


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise ValueError("a name comes twice in the header")
    return items


# --- from the content to arrays ---


def _choose(content: Any, key: str | None) -> tuple[str | None, list[str], dict]:
    """The entry that holds the weights (None: `content` itself does), all entries that do, and the weights."""
    if not isinstance(content, dict):
        raise UserError(f"expected a dict of tensors, got a {type(content).__name__.strip('_').lower()}; {_RESAVE}")
    wrapped = [name for name, entry in content.items() if isinstance(name, str) and _holds_weights(entry)]
    known = [name for name in WRAPPERS if name in wrapped]
    available = known + [name for name in wrapped if name not in known]
    if key is not None and key not in available:
        there = f"under {_listed(available)}" if available else "not under any key"
        raise UserError(f"expected weights under the key {key!r}, but they are {there}; choose another key, or none")
    if key is None and not known and _holds_weights(content):
        return None, available, content
    if key is None and not known and available:
        raise UserError(
            f"expected weights under {', '.join(WRAPPERS)}, but they are under {_listed(available)}; give a key"
        )
    if not available:
        raise UserError(f"expected a dict of tensors, but it holds no tensors, only {_listed(content)}; {_RESAVE}")
    wrapper = known[0] if key is None else key
    return wrapper, available, content[wrapper]


def _holds_weights(entry: Any) -> bool:
    return isinstance(entry, dict) and any(_is_weight(name, value) for name, value in entry.items())


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, _Tensor)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join([_short(name) for name in names][:8]) or "nothing"


def _read_tensors(
    file: BinaryIO, size: int, tensors: dict[str, _Tensor], blocks: dict[str, _Block]
) -> dict[str, np.ndarray]:
    """The arrays. Only storages that are used are read, each once; contiguous tensors are views of them."""
    elements: dict[str, np.ndarray] = {}
    arrays: dict[str, np.ndarray] = {}
    read = copied = 0
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.key not in blocks:
            raise ValueError(f"storage {_short(storage.key)} is missing")
        if storage.key not in elements:
            block = blocks[storage.key]
            if block.size != storage.total * _stored_type(storage.kind).itemsize:
                raise ValueError(
                    f"storage {_short(storage.key)} has {block.size} bytes for {storage.total} {storage.kind}"
                )
            read += block.size
            if read > size:  # parts of the file that overlap
                raise ValueError("its storages are larger than the file")
            raw = np.frombuffer(_read_block(file, block, limit=size), _stored_type(storage.kind))
            elements[storage.key] = _decode(raw, storage.kind)
        array = _view(elements[storage.key][storage.first : storage.first + storage.count], tensor)
        if not array.flags.c_contiguous:
            copied += array.nbytes
            if copied > size + _SLACK:  # few elements repeated by stride 0
                raise ValueError("its strided tensors are larger than the file")
            array = array.copy()
        array.flags.writeable = False
        arrays[name] = array
    return arrays


def _read_block(file: BinaryIO, block: _Block, limit: int) -> bytes:
    if not block.stored:
        raise UserError(
            "expected a zip file of torch.save, which compresses and encrypts nothing, but this one is compressed or "
            "encrypted; give the file as PyTorch wrote it"
        )
    if block.size > limit:
        raise ValueError(f"a part has {block.size} bytes, at most {limit} are possible")
    file.seek(block.offset)
    data = file.read(block.size)
    if block.crc is not None and zlib.crc32(data) != block.crc:
        raise ValueError("a checksum differs")
    return data


def _stored_type(kind: str) -> np.dtype:
    """The NumPy type that holds the raw elements: bfloat16 as its bits, truth values as bytes (any but 0 is true)."""
    return np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(kind, kind)).newbyteorder("<")


def _decode(raw: np.ndarray, kind: str) -> np.ndarray:
    if kind == "bfloat16":  # the upper half of a float32
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind == "bool":
        return raw != 0
    return raw.astype(raw.dtype.newbyteorder("="), copy=False)


def _view(elements: np.ndarray, tensor: _Tensor) -> np.ndarray:
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    _check_sizes(shape, offset, *strides)
    if 0 in shape:
        return np.empty(shape, elements.dtype)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if last >= len(elements):
        raise ValueError(f"a tensor reaches element {last} of a storage of {len(elements)}")
    return as_strided(elements[offset:], shape, [stride * elements.itemsize for stride in strides])


def _check_sizes(shape: tuple, *numbers: Any) -> None:
    """Raises ValueError unless all are whole numbers from 0 on."""
    if len(shape) > _MAX_DIMENSIONS or not all(type(number) is int and number >= 0 for number in (*shape, *numbers)):
        raise ValueError("a size or an offset is no possible number")
