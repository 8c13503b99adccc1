"""Whether the processes of a run were started alike, and stay alike.

Hosts that are given different configurations, data or versions would train together without a word, each in its own
way. So at the start all compare what decides the run, item by item.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

import mindspore as ms
import numpy as np
from mindspore import Parameter

from ..config import Config, flat_values
from ..devices.ranks import Exchange
from ..devices.versions import source_digest
from ..errors import UserError

OF_THE_HOST = {
    "output", "data.root", "data.train_list", "data.val_list", "data.classes", "data.workers", "init_from",
}  # fmt: skip
"""Keys that may differ: paths and processes of a host."""

SHOWN, SENT = 60, 2000  # characters of a value in a message, and on their way there


def check_same_start(exchange: Exchange, config: Config, facts: Mapping[str, Any]) -> None:
    """Compares the configuration, the project's source, versions, and the data between ranks.

    Args:
        exchange: with the other ranks.
        config: of the run.
        facts: of the data, see `Task.facts`.

    Raises:
        UserError: on every rank, where anything differs on any; names the first difference.
    """
    if exchange.ranks.count == 1:
        return
    items = {
        "the project's source": source_digest(),
        "MindSpore": ms.__version__,
        "NumPy": np.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{key: value for key, value in flat_values(config) if key not in OF_THE_HOST},
        **facts,
    }
    check_same(exchange, items)


def check_same(exchange: Exchange, items: Mapping[str, Any]) -> None:
    """Compares values between ranks.

    Args:
        exchange: with the other ranks.
        items: name -> value that JSON can hold; the source, which decides what the others are, is the first.

    Raises:
        UserError: on every rank, where anything differs on any; names the first difference and its values.
    """
    texts = {name: json.dumps(value, default=str, sort_keys=True) for name, value in items.items()}
    first = next(iter(texts))
    for names in ([first], list(texts)):  # the second only where everybody has the same names
        own = [_number(name + texts[name]) for name in names]
        told = exchange.gather(own)
        different = np.flatnonzero((told != told[0]).any(axis=0))
        if len(different):
            name = names[different[0]]
            rank = int(np.flatnonzero(told[:, different[0]] != told[0, different[0]])[0])
            values = _gather_texts(exchange, texts[name])
            one, other = _where_they_differ(values[0], values[rank])
            raise UserError(
                f"the processes of this run were started differently: {name} is {one} on rank 0 and {other} on rank "
                f"{rank}; start all of them with the same configuration, data and versions"
            )


def check_same_weights(exchange: Exchange, parameters: Iterable[Parameter], step: int) -> None:
    """Compares the weights between ranks, to the bit.

    Args:
        exchange: with the other ranks.
        parameters: which all ranks have alike.
        step: after which they are compared, for the message.

    Raises:
        UserError: on every rank, where they differ.
    """
    if exchange.ranks.count == 1:
        return
    checksum = 0
    for parameter in parameters:
        checksum = crc32(np.ascontiguousarray(parameter.asnumpy()), checksum)
    told = exchange.gather([checksum])[:, 0]
    if np.ptp(told):
        rank = int(np.flatnonzero(told != told[0])[0])
        raise UserError(
            f"after step {step} the weights of rank {rank} are not those of rank 0: they no longer train one network. "
            "Nothing of it was saved; resume, and check the device and the links of that rank if it happens again"
        )


def _number(text: str) -> float:
    """48 bits, which a float64 holds exactly."""
    return float(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big"))


def _gather_texts(exchange: Exchange, text: str) -> list[str]:
    """Everybody's text, of which no more than `SENT` characters travel."""
    codes = [ord(character) for character in text[:SENT]]
    length = int(exchange.gather([len(codes)]).max())
    told = exchange.gather(codes + [0] * (length - len(codes)))
    return ["".join(chr(int(code)) for code in row if code) for row in told]


def _where_they_differ(one: str, other: str) -> tuple[str, str]:
    """Both texts, or where they are long what is around their first difference."""
    if max(len(one), len(other)) <= SHOWN:
        return one, other
    same = next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
    begin = max(same - SHOWN // 2, 0)
    cut = [text[begin : begin + SHOWN] for text in (one, other)]
    return tuple(
        "..." * (begin > 0) + part + "..." * (begin + SHOWN < len(text))
        for part, text in zip(cut, (one, other), strict=True)
    )
