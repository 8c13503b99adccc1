"""Networks that the TNT and the T2T-ViT paper compare theirs with, as the papers print them: published_peers.csv.

Their own networks are not among them. The TNT paper prints T2T-ViT_t-14 and -24 with the first accuracies of the
T2T-ViT paper, which later versions replaced.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("published_peers.csv")


@dataclass(frozen=True)
class Peer:
    """A line of a paper's table.

    Attributes:
        name: the network.
        kind: "convolution" or "transformer".
        image_size: side in pixels.
        parameters_millions: parameters in millions.
        multiply_adds_billions: multiply-adds of one image in billions, which the papers call FLOPs or MACs.
        top1, top5: accuracy on ImageNet-1k in percent; top5 is None where the table has none.
        source: paper and table.
    """

    name: str
    kind: str
    image_size: int
    parameters_millions: float
    multiply_adds_billions: float
    top1: float
    top5: float | None
    source: str


def read_peers() -> list[Peer]:
    """All lines of the file. A network that both papers print is there twice, the TNT paper's first."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return [
            Peer(
                name=row["name"],
                kind=row["kind"],
                image_size=int(row["image_size"]),
                parameters_millions=float(row["parameters_millions"]),
                multiply_adds_billions=float(row["multiply_adds_billions"]),
                top1=float(row["top1"]),
                top5=float(row["top5"]) if row["top5"] else None,
                source=row["source"],
            )
            for row in csv.DictReader(file)
        ]
