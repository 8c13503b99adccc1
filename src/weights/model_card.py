"""What a deployer must know about a trained network: how it is built, its labels, and how its input is prepared."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any

from mindspore import nn

from ..errors import UserError, nearest, shown
from ..layers.image_size import to_sides
from ..models import create_model, get_variant
from ..models.arguments import Rule, check_arguments

_LONGEST_TEXT, _MOST_LETTERS = 1000, 8_000_000  # characters of one label or rule, and of all labels together


def _are_labels(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(label, str) and len(label) <= _LONGEST_TEXT for label in value)
        and sum(map(len, value)) <= _MOST_LETTERS
    )


def _number(low: float, high: float) -> Rule:
    return Rule(
        f"a number from {low} to {high}",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high,
    )


def _numbers(of: Rule) -> Rule:
    return Rule(f"for each channel {of.expected}", lambda value: isinstance(value, tuple) and all(map(of.holds, value)))


_RULES = {
    "arguments": Rule("names and values", lambda value: isinstance(value, dict)),
    "classes": Rule(
        f"a list of labels of at most {_LONGEST_TEXT} characters, {_MOST_LETTERS} in all of them", _are_labels
    ),
    "image_size": Rule("height and width", lambda value: isinstance(value, tuple) and len(value) == 2),
    "mean": _numbers(_number(-1000, 1000)),
    "std": _numbers(_number(1e-6, 1000)),
    "crop_pct": _number(0.1, 1),
    "resize": Rule(
        f"text of at most {_LONGEST_TEXT} characters",
        lambda value: isinstance(value, str) and len(value) <= _LONGEST_TEXT,
    ),
}
"""Of a card's values; what is also an argument of the network is checked as that."""


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
        for name, rule in _RULES.items():
            if not rule.holds(getattr(self, name)):
                raise UserError(f"{name}: expected {rule.expected}, got {shown(getattr(self, name))}")
        for name in sorted(self._sizes().keys() & self.arguments.keys()):
            raise UserError(f"arguments: {name} is no argument here, but told by the rest")
        check_arguments(self.model, {**self.arguments, **self._sizes()})
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.in_channels:
                raise UserError(
                    f"{name}: expected {self.in_channels} numbers, one for each channel, got {len(getattr(self, name))}"
                )

    @staticmethod
    def of_variant(
        model: str,
        arguments: dict[str, Any],
        classes: Sequence[str],
        image_size: int | Sequence[int] | None = None,
        in_channels: int = 3,
        crop_pct: float | None = None,
    ) -> "ModelCard":
        """The card of a variant for given labels; what is None is as the variant is published.

        Mean and std are the variant's, for another number of channels their mean over its channels.

        Args:
            model: variant, one of `list_models()`.
            arguments: constructor arguments that differ from the variant's.
            classes: label names in the order of the logits.
            image_size: side or (height, width) in pixels.
            in_channels: channels of the input image.
            crop_pct: see above.

        Raises:
            UserError: no such variant, or values that cannot be.
        """
        variant = get_variant(model)
        mean, std = variant.mean, variant.std
        if in_channels != len(mean):
            mean, std = ((sum(values) / len(values),) * in_channels for values in (mean, std))
        return ModelCard(
            model=model,
            arguments=dict(arguments),
            classes=list(classes),
            image_size=to_sides(image_size or variant.image_size),
            in_channels=in_channels,
            mean=mean,
            std=std,
            crop_pct=variant.crop_pct if crop_pct is None else crop_pct,
        )

    def create_network(self) -> nn.Cell:
        """The network this card describes, with random weights, in evaluation mode."""
        return create_model(self.model, **self.arguments, **self._sizes()).set_train(False)

    def _sizes(self) -> dict[str, Any]:
        """Arguments that every network has."""
        return {"num_classes": len(self.classes), "image_size": self.image_size, "in_channels": self.in_channels}

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
        try:
            _check_names(values, fields(ModelCard))
            lists = {
                name: tuple(value) for name, value in values.items() if name in _TUPLES and isinstance(value, list)
            }
            return ModelCard(**{**values, **lists})
        except UserError as error:
            raise UserError(f"{where}: its description of the network cannot be used: {error}") from error


_TUPLES = ("image_size", "mean", "std")  # JSON has lists


def _check_names(values: Any, known: Sequence[Field]) -> None:
    if not isinstance(values, dict):
        raise UserError(f"expected names and values, got {shown(values)}")
    for name in values:
        if name not in [field.name for field in known]:
            raise UserError(f"unknown {shown(name)}; {nearest(name, [field.name for field in known])}")
    for field in known:
        if field.default is MISSING and field.name not in values:
            raise UserError(f"expected {field.name}, which is missing")
