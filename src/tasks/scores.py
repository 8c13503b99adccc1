"""Named numbers that say how good a network is."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..errors import UserError, counted


class NotFiniteError(UserError):
    """A network's outputs hold infinities or NaN, which no score can be made of."""


class ScoreKind(NamedTuple):
    """One of the numbers.

    Attributes:
        name: key in metrics.jsonl and in scores as JSON.
        title: in lines for users and in curves.
        unit: '%' or nothing.
        is_loss: whether lower is better.
        is_drawn: whether curves show it.
        is_told: whether lines for users have it.
    """

    name: str
    title: str
    unit: str = ""
    is_loss: bool = False
    is_drawn: bool = True
    is_told: bool = True

    def show(self, value: float) -> str:
        """The number with its title; a dash where a share is below 0, which stands for nothing to be judged."""
        if self.unit == "%" and value < 0:
            return f"{self.title} -"
        return f"{self.title} {value:.2f} %" if self.unit == "%" else f"{self.title} {value:.4f}"


class Scores(Mapping[str, float]):
    """The numbers by their names, over so many images.

    Args:
        kinds: the first decides which network is the best, the one that has most.
        values: one for each.
        images: how many were judged.
    """

    def __init__(self, kinds: tuple[ScoreKind, ...], values: tuple[float, ...], images: int) -> None:
        self._kinds, self.images = kinds, images
        self._values = {kind.name: float(value) for kind, value in zip(kinds, values, strict=True)}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def deciding(self) -> float:
        """The first."""
        return self._values[self._kinds[0].name]

    @property
    def tie_breaker(self) -> float:
        """Of those with equal `deciding` the one with most is the best: the first loss, negative; 0 without one."""
        return -next((self._values[kind.name] for kind in self._kinds if kind.is_loss), 0.0)

    def __str__(self) -> str:
        return f"{self.brief()} over {counted(self.images, 'image')}"

    def brief(self) -> str:
        """The numbers that are told, on a line, without that of the images."""
        return ", ".join(kind.show(self._values[kind.name]) for kind in self._kinds if kind.is_told)

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {**self._values, "images": self.images}
