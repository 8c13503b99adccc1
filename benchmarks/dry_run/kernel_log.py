"""What MindSpore's log of its choice of GPU kernels says: for every operator, where it went.

MindSpore tells it at the level of information only, in sentences that were read from version 2.10.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MODULES = ("DEVICE", "PRE_ACT")
"""Of MindSpore's, whose log is read."""

GPU, EXPANDED, CPU, NOWHERE = "GPU", "expanded", "CPU", "nowhere"
"""Where a node goes: to a GPU kernel, into other operators, to the CPU and back, or no kernel anywhere takes it."""

_NODE = re.compile(r"SetKernelInfoWithMsg\] (\S+) kernel attr info: input\[(.*)\] output\[(.*)\]")
_EXPANDED = re.compile(r"SetOperatorInfo\] (?:Unsupported op |Select GPU operator)\[(\w+)\]")
_REFUSED = re.compile(r"SetBackoffInfo\] GPU doesn't support the kernel (\w+) and will try to backoff on CPU")
_TAKEN = re.compile(
    r"RebuildKernelSelectBackoffOp\] Backoff and rebuild kernel on CPU (successfully|failed) for node: (\S+), "
    r"node attr: input\[(.*)\] output\[(.*)\]"
)


@dataclass(frozen=True, order=True)
class Use:
    """An operator with types.

    Attributes:
        operator: MindSpore's name of the primitive.
        inputs, outputs: types, 'Float32 Float32'; in brackets those of attributes and tuples.
    """

    operator: str
    inputs: str
    outputs: str

    @classmethod
    def of_node(cls, name: str, inputs: str, outputs: str) -> "Use":
        """That of a node of the log: 'Default/net/MatMul-op12'."""
        return cls(re.sub(r"-op\w*$", "", name.rpartition("/")[2]), _types(inputs), _types(outputs))

    def __str__(self) -> str:
        return f"{self.operator}: {self.inputs} -> {self.outputs}"


def _types(listed: str) -> str:
    """'Tensor Float32 DefaultFormat,Number Bool DefaultFormat,' -> 'Float32 (Bool)'."""
    found = [part.split() for part in listed.split(",") if part.strip()]
    return " ".join(kind if form == "Tensor" else f"({kind})" for form, kind, *_ in found)


@dataclass(frozen=True)
class KernelChoice:
    """Where the nodes of all graphs went.

    Attributes:
        counts: use -> number of nodes by place.
    """

    counts: dict[Use, Counter[str]] = field(default_factory=dict)

    @property
    def num_nodes(self) -> int:
        return sum(sum(places.values()) for places in self.counts.values())

    def uses(self, *places: str) -> list[Use]:
        """Those of which a node went to one of `places`, in alphabetical order."""
        return sorted(use for use, counts in self.counts.items() if any(counts[place] for place in places))

    def lines(self, *places: str) -> list[str]:
        """A line for each of `uses(*places)`, with all its numbers."""
        return [
            f"{use}: " + ", ".join(f"{number} {place}" for place, number in self.counts[use].items() if number)
            for use in self.uses(*places)
        ]


def read_kernel_choice(log: Iterable[str]) -> KernelChoice:
    """What the lines of a log say.

    A node is the GPU's when its choice begins; what follows may take that back. Nodes of tuples and numbers are named
    only where they are refused.
    """
    counts: dict[Use, Counter[str]] = {}
    last: dict[str, Use] = {}  # by operator
    current: Use | None = None  # whose choice has begun
    unnamed: Counter[str] = Counter()  # operators that were refused, and not named before
    before = ""

    def add(use: Use, place: str, number: int = 1) -> None:
        counts.setdefault(use, Counter())[place] += number

    def move(use: Use, origin: str, place: str) -> None:
        add(use, origin, -1)
        add(use, place)

    for line in map(str.rstrip, log):
        if found := _NODE.search(line):
            current = Use.of_node(*found.groups())
            add(current, GPU)
            last[current.operator] = current
        elif found := _EXPANDED.search(line):
            # the CPU was asked before where one of those that would replace it has no kernel for the GPU
            asked = before.startswith("[INFO] DEVICE") and before.endswith(f"CPU kernel of operator: {found[1]}")
            if found[1] in last:
                move(last[found[1]], GPU, CPU if asked else EXPANDED)
        elif found := _REFUSED.search(line):
            if current is not None and current.operator == found[1]:
                move(current, GPU, CPU)
                current = None
            else:
                unnamed[found[1]] += 1
        elif found := _TAKEN.search(line):
            use = Use.of_node(*found.groups()[1:])
            if unnamed[use.operator]:
                unnamed[use.operator] -= 1
                add(use, CPU)
            if found[1] == "failed":
                move(use, CPU, NOWHERE)
        before = line
    for operator, number in unnamed.items():
        if number:
            add(Use(operator, "?", "?"), CPU, number)
    return KernelChoice(counts)
