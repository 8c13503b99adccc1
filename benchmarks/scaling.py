"""Data-parallel training on paper: python benchmarks/scaling.py --models 'tnt_*' --rate tnt_s_patch16_224=73.25

Prints what a step sends, how long that takes at given link speeds, from which batch per device on the computation hides
it, and how fast the storage must deliver images. Everything is calculated from the networks' sizes, the rates of one
device that are given, and the assumptions of docs/scaling.md; nothing is measured on a cluster.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.terminal.command import run_command  # first: it quiets MindSpore's log before MindSpore is imported

from src.complexity.count import count  # isort: skip
from src.errors import UserError, nearest
from src.layers.norm import BatchNorm2d
from src.models import create_model, get_variant, list_models

PUBLISHED_RATE = {"tnt_s_patch16_224": 586 / 8}
"""Images a second and device in training: the readme of mindspore-ai/models' TNT, eight Ascend 910."""

DEVICES = (8, 64, 512)
LINKS = (1.25, 12.5, 25.0, 150.0)
"""GB/s: line rates of 10, 100 and 200 Gbit/s networks, and of a V100's NVLinks in one direction."""

OVERLAP = 2 / 3
LATENCY = 50e-6
IMAGE_BYTES = 115_000
"""ImageNet-1k's archive of training images, 147.9 GB, over 1,281,167 of them."""

NORM_ALL_REDUCES = 4
"""Of a synchronised batch norm: mean and variance in the forward pass, and their gradients in the backward pass."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network, as far as they decide what it sends.

    Attributes:
        model: one of `list_models()`.
        trainable: numbers in all gradients.
        tensors: gradients.
        norms: batch norms.
        norm_channels: of all batch norms together.
        multiply_adds: of one image in the forward pass.
    """

    model: str
    trainable: int
    tensors: int
    norms: int
    norm_channels: int
    multiply_adds: int


def sizes_of(model: str) -> Sizes:
    """Builds the network in its published form and counts."""
    net = create_model(model)
    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, BatchNorm2d)]
    cost = count(net)
    return Sizes(
        model=model,
        trainable=cost.trainable,
        tensors=len(net.trainable_params()),
        norms=len(norms),
        norm_channels=sum(norm.gamma.size for norm in norms),
        multiply_adds=cost.total,
    )


def ring_bytes(payload: float, devices: int) -> float:
    """What each device sends, and receives as much, in a ring all-reduce of `payload` bytes.

    n - 1 messages of payload / n to sum up, and n - 1 to spread the sums.
    """
    return 2 * (devices - 1) / devices * payload


def all_reduce_seconds(payload: float, devices: int, speed: float, messages: int, latency: float) -> float:
    """Time of `messages` ring all-reduces of `payload` bytes together, one after the other.

    Args:
        payload: bytes.
        devices: in the ring.
        speed: bytes a second over the slowest link of the ring, in one direction.
        messages: all-reduces.
        latency: seconds that each takes besides.
    """
    return messages * latency + ring_bytes(payload, devices) / speed


def hiding_batch(seconds: float, rate: float, overlap: float) -> int:
    """The fewest images per device and step whose computation hides `seconds` of communication.

    Args:
        seconds: of communication.
        rate: images a second that a device computes.
        overlap: share of a step's computation during which communication can run.
    """
    return max(1, math.ceil(seconds * rate / overlap))


def efficiency(seconds: float, rate: float, batch: int) -> float:
    """Share of the time that a device computes when communication waits for the computation's end."""
    compute = batch / rate
    return compute / (compute + seconds)


def family(model: str) -> str:
    """'tnt', 'ptnt' or 't2t'."""
    return model.partition("_")[0]


def rates_of(all_sizes: Sequence[Sizes], given: dict[str, float]) -> dict[str, float]:
    """Images a second that a device computes of each network.

    For those not `given`, multiply-adds a second are taken to be those of the first given one of the same family, or of
    the first at all.
    """
    rates = {}
    for sizes in all_sizes:
        source = next((name for name in given if family(name) == family(sizes.model)), next(iter(given)))
        multiply_adds = next((s.multiply_adds for s in all_sizes if s.model == source), None)
        if multiply_adds is None:
            multiply_adds = count(create_model(source)).total
        rates[sizes.model] = given.get(sizes.model, given[source] * multiply_adds / sizes.multiply_adds)
    return rates


def read_measured(path: str) -> tuple[str, float]:
    """Network and training images a second in a file of benchmarks/step_time.py.

    Raises:
        UserError: it cannot be read, is of another kind, or of a network that is not the published one.
    """
    try:
        content = json.loads(Path(path).read_text())
        model, rate, arguments = content["model"], float(content["training"]["images_per_second"]), content["arguments"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected a file that step_time.py --json wrote ({error!r})") from error
    if arguments:
        raise UserError(f"{path}: {model} was measured with {arguments}; expected the published network")
    return model, rate


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first column is left-aligned."""

    title: str
    head: list[str]
    rows: list[list[str]]

    def plain(self) -> list[str]:
        """The table for a terminal."""
        widths = [max(len(row[i]) for row in (self.head, *self.rows)) for i in range(len(self.head))]
        lines = [self.title]
        for first, *rest in (self.head, *self.rows):
            cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *cells]))
        return [*lines, ""]

    def markdown(self) -> list[str]:
        """The table for docs/."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        return [f"{self.title}:", "", *(f"| {' | '.join(row)} |" for row in (self.head, rule, *self.rows)), ""]


def gradient_table(all_sizes: Sequence[Sizes], devices: Sequence[int], gradient_bytes: int) -> Table:
    """What the gradients take."""
    rows = []
    for sizes in all_sizes:
        payload = gradient_bytes * sizes.trainable
        sent = [f"{ring_bytes(payload, n) / 1e6:.1f}" for n in devices]
        rows.append([_code(sizes.model), f"{sizes.trainable:,}", f"{sizes.tensors}", f"{payload / 1e6:.1f}", *sent])
    head = ["Network", "Trainable", "Gradients", "MB", *(f"MB sent, {n} devices" for n in devices)]
    return Table(f"Gradients of a step, {gradient_bytes} bytes a number", head, rows)


def norm_table(all_sizes: Sequence[Sizes], devices: int, links: Sequence[float], latency: float) -> Table:
    """What synchronised batch norms take, for each batch that a device takes at once."""
    rows = []
    for sizes in all_sizes:
        if sizes.norms:
            calls, payload = NORM_ALL_REDUCES * sizes.norms, 4 * NORM_ALL_REDUCES * sizes.norm_channels
            times = [f"{1e3 * all_reduce_seconds(payload, devices, 1e9 * s, calls, latency):.2f}" for s in links]
            sent = f"{ring_bytes(payload, devices) / 1e3:.1f}"
            rows.append([_code(sizes.model), f"{sizes.norms}", f"{sizes.norm_channels}", f"{calls}", sent, *times])
    head = ["Network", "Norms", "Channels", "All-reduces", "kB sent", *(f"ms at {speed:g} GB/s" for speed in links)]
    return Table(f"Synchronised batch norms, {devices} devices", head, rows)


def time_table(all_sizes: Sequence[Sizes], rates: dict[str, float], devices: int, options: argparse.Namespace) -> Table:
    """Time of the gradients' all-reduce, the batch that hides it, and what is left without hiding."""
    rows = []
    for sizes in all_sizes:
        rate, payload = rates[sizes.model], options.gradient_bytes * sizes.trainable
        messages = options.messages or sizes.tensors
        seconds = [all_reduce_seconds(payload, devices, 1e9 * s, messages, options.latency) for s in options.links]
        cells = [f"{1e3 * t:.1f}" for t in seconds]
        cells += [f"{hiding_batch(t, rate, options.overlap):,}" for t in seconds]
        cells += [f"{100 * efficiency(t, rate, options.batch_size):.0f}" for t in seconds]
        rows.append([_code(sizes.model), *cells])
    titles = ("ms at {:g} GB/s", "batch at {:g}", "% at {:g}")
    head = ["Network", *(title.format(speed) for title in titles for speed in options.links)]
    return Table(
        f"All-reduce of the gradients over {devices} devices: time, batch per device that hides it, and share of "
        f"computation at a batch of {options.batch_size} where nothing is hidden",
        head,
        rows,
    )


def input_table(
    all_sizes: Sequence[Sizes], rates: dict[str, float], given: dict[str, float], devices: Sequence[int], image: float
) -> Table:
    """Images that all devices together take when they only compute."""
    rows = []
    for sizes in all_sizes:
        rate = rates[sizes.model]
        cells = [f"{n * rate:,.0f}" for n in devices] + [f"{n * rate * image / 1e6:,.1f}" for n in devices]
        rows.append([_code(sizes.model), f"{rate:.1f}" + ("" if sizes.model in given else " *"), *cells])
    head = ["Network", "Images/s of a device"]
    head += [f"{unit}, {n} devices" for unit in ("images/s", "MB/s") for n in devices]
    return Table(
        f"Input at {image / 1e3:g} kB an image; * not given, but from multiply-adds at the rate of a given network",
        head,
        rows,
    )


def _code(model: str) -> str:
    return f"`{model}`"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scaling.py", description="Calculates what data-parallel training asks of links and storage."
    )
    parser.add_argument("--models", nargs="+", default=["*"], metavar="PATTERN", help="networks (default: all)")
    parser.add_argument(
        "--devices",
        type=_several,
        nargs="+",
        default=DEVICES,
        metavar="N",
        help="numbers of devices (default 8 64 512)",
    )
    parser.add_argument(
        "--links",
        type=_positive,
        nargs="+",
        default=LINKS,
        metavar="GB/S",
        help="speeds of the slowest link of the ring in one direction (default 1.25 12.5 25 150: 10, 100 and 200 "
        "Gbit/s, NVLink of a V100)",
    )
    parser.add_argument(
        "--measured", nargs="+", default=[], metavar="FILE", help="rates of a device, from step_time.py --json"
    )
    parser.add_argument(
        "--rate",
        type=_model_and_rate,
        nargs="+",
        default=[],
        metavar="MODEL=IMAGES/S",
        help="training images a second of one device (default, without --measured: tnt_s_patch16_224=73.25, published "
        "for the Ascend 910)",
    )
    parser.add_argument(
        "--gradient_bytes", type=int, choices=(2, 4), default=4, help="of a number: 4 (default) or 2, half precision"
    )
    parser.add_argument("--messages", type=_count, metavar="N", help="all-reduces of a step; one a gradient if absent")
    parser.add_argument(
        "--latency",
        type=_not_negative,
        default=LATENCY,
        metavar="SECONDS",
        help="of an all-reduce, however small (default 50e-6)",
    )
    parser.add_argument(
        "--overlap",
        type=_share,
        default=OVERLAP,
        help="share of the computation during which gradients can be sent (default 2/3: all of the backward pass)",
    )
    parser.add_argument(
        "--batch_size", type=_count, default=128, help="images per device and step for the share without hiding"
    )
    parser.add_argument(
        "--image_bytes", type=_positive, default=IMAGE_BYTES, help="mean size of a file (default 115000, ImageNet-1k)"
    )
    parser.add_argument("--markdown", action="store_true", help="tables for docs/scaling.md")
    return parser.parse_args(argv)


def _number(text: str, rule: str, holds) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and holds(value)):
        raise argparse.ArgumentTypeError(f"expected a number {rule}, got {text!r}")
    return value


def _positive(text: str) -> float:
    return _number(text, "above 0", lambda value: value > 0)


def _not_negative(text: str) -> float:
    return _number(text, "of at least 0", lambda value: value >= 0)


def _share(text: str) -> float:
    return _number(text, "above 0 and at most 1", lambda value: 0 < value <= 1)


def _count(text: str) -> int:
    return int(_number(text, "of at least 1 without fraction", lambda value: value >= 1 and value == int(value)))


def _several(text: str) -> int:
    return int(_number(text, "of at least 2 without fraction", lambda value: value >= 2 and value == int(value)))


def _model_and_rate(text: str) -> tuple[str, float]:
    model, equals, rate = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected MODEL=IMAGES/S, got {text!r}")
    return model, _positive(rate)


def main(argv: Sequence[str] | None = None) -> None:
    options = _parse(argv)
    given = dict([*map(read_measured, options.measured), *options.rate]) or PUBLISHED_RATE
    for model in given:
        get_variant(model)
    models = [model for model in list_models() if any(model in list_models(pattern) for pattern in options.models)]
    if not models:
        raise UserError(
            f"--models {' '.join(options.models)}: no such network; {nearest(options.models[0], list_models())}"
        )
    all_sizes = [sizes_of(model) for model in models]
    rates = rates_of(all_sizes, given)
    tables = [gradient_table(all_sizes, options.devices, options.gradient_bytes)]
    if any(sizes.norms for sizes in all_sizes):
        tables.append(norm_table(all_sizes, max(options.devices), options.links, options.latency))
    tables += [time_table(all_sizes, rates, devices, options) for devices in options.devices]
    tables.append(input_table(all_sizes, rates, given, options.devices, options.image_bytes))
    for table in tables:
        print("\n".join(table.markdown() if options.markdown else table.plain()))


if __name__ == "__main__":
    run_command(main)
