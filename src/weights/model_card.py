"""What a deployer must know about a trained network: how it is built, its labels, and how its input is prepared.

Plain data. Whether such a network exists, and can have these arguments, is found out by those who build it
(`src.weights.described_network`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any

from ..config.former_names import current_names
from ..errors import UserError, nearest, shown
from ..rule import IMAGE_SIDE, NUM_CHANNELS, NUM_CLASSES, Rule, number

_LONGEST_TEXT, _MOST_LETTERS = 1000, 8_000_000  # characters of one label or rule, and of all labels together
_SIZES = ("num_classes", "image_size", "in_channels")
"""Arguments that every network has, and that the card says itself."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT


def _are_labels(value: Any) -> bool:
    return (
        isinstance(value, list)
        and NUM_CLASSES.holds(len(value))
        and all(map(_is_text, value))
        and sum(map(len, value)) <= _MOST_LETTERS
    )


def _for_each_channel(of: Rule) -> Rule:
    return Rule(f"for each channel {of.expected}", lambda value: isinstance(value, tuple) and all(map(of.holds, value)))


TEXT = Rule(f"text of at most {_LONGEST_TEXT} characters", _is_text)
LABELS = Rule(f"a list of labels of at most {_LONGEST_TEXT} characters, {_MOST_LETTERS} in all of them", _are_labels)

_RULES = {
    "model": TEXT,
    "arguments": Rule("names and values", lambda value: isinstance(value, dict) and all(map(_is_text, value))),
    "classes": LABELS,
    "image_size": Rule(
        f"height and width, each {IMAGE_SIDE.expected}",
        lambda value: isinstance(value, tuple) and len(value) == 2 and all(map(IMAGE_SIDE.holds, value)),
    ),
    "in_channels": NUM_CHANNELS,
    "mean": _for_each_channel(number(-1000, 1000)),
    "std": _for_each_channel(number(1e-6, 1000)),
    "crop_pct": number(0.1, 1),
    "resize": TEXT,
}


@dataclass(frozen=True)
class ModelCard:
    """Travels inside every checkpoint and beside every exported file. There is none whose values cannot be used.

    Attributes:
        model: variant, one of `list_models()`.
        arguments: constructor arguments that differ from the variant's.
        classes: label names in the order of the logits.
        image_size: (height, width) in pixels.
        in_channels: channels of the input image.
        mean, std: normalisation of each channel, for pixel values in [0, 1].
        crop_pct: side of the centre crop as a share of the resized short side.
        resize: the resize rule in words.

    Raises:
        UserError: a value is of another kind or range; one line that names it, what was expected, and what came.
    """

    model: str
    arguments: dict[str, Any]
    classes: list[str]
    image_size: tuple[int, int]
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    resize: str = (
        "scaled to cover floor(side / crop_pct) of both sides with antialiased bicubic (Pillow), then centre crop; "
        "pixels / 255, minus mean, divided by std; channels first"
    )

    def __post_init__(self) -> None:
        check_rules(self, _RULES)
        object.__setattr__(self, "arguments", current_names(self.arguments))
        for name in sorted(self.arguments.keys() & set(_SIZES)):
            raise UserError(f"arguments: {name} is no argument here, but told by the rest")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.in_channels:
                raise UserError(
                    f"{name}: expected {self.in_channels} numbers, one for each channel, got {len(getattr(self, name))}"
                )

    def network_arguments(self) -> dict[str, Any]:
        """Arguments of the network's constructor, as far as they differ from the variant's."""
        sizes = (len(self.classes), self.image_size, self.in_channels)
        return {**self.arguments, **dict(zip(_SIZES, sizes, strict=True))}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Any, where: str) -> "ModelCard":
        """Reads what `to_dict` wrote.

        Args:
            values: of JSON.
            where: names the file.

        Raises:
            UserError: values are missing, unknown, or of another kind or range.
        """
        return from_values(ModelCard, values, where, lists=("image_size", "mean", "std"))


def check_rules(card: Any, rules: Mapping[str, Rule]) -> None:
    """Raises UserError, which names the value, where one of a card's is not as its rule says."""
    for name, rule in rules.items():
        if not rule.holds(getattr(card, name)):
            raise UserError(f"{name}: expected {rule.expected}, got {shown(getattr(card, name))}")


def from_values(card: type, values: Any, where: str, lists: Sequence[str]) -> Any:
    """A card of values of JSON.

    Args:
        card: its class.
        values: of JSON.
        where: names the file.
        lists: names of those that are tuples; JSON has lists.

    Raises:
        UserError: values are missing, unknown, or of another kind or range.
    """
    try:
        _check_names(values, fields(card))
        tuples = {name: tuple(value) for name, value in values.items() if name in lists and isinstance(value, list)}
        return card(**{**values, **tuples})
    except UserError as error:
        raise UserError(f"{where}: its description of the network cannot be used: {error}") from error


def _check_names(values: Any, known: Sequence[Field]) -> None:
    if not isinstance(values, dict):
        raise UserError(f"expected names and values, got {shown(values)}")
    for name in values:
        if name not in [field.name for field in known]:
            raise UserError(f"unknown {shown(name)}; {nearest(name, [field.name for field in known])}")
    for field in known:
        if field.default is MISSING and field.name not in values:
            raise UserError(f"expected {field.name}, which is missing")
