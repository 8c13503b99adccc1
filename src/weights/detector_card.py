"""What a deployer must know about a trained detector: how it is built, its labels, and how its input is prepared.

Plain data, as `src.weights.model_card`, which is that of a classifier.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ..config.former_names import current_names
from ..errors import UserError
from ..rule import IMAGE_SIDE, NUM_CLASSES, Rule, is_number, list_of, number
from .model_card import LABELS, TEXT, check_rules, from_values

_SIZES = ("num_classes", "canvas")
"""Arguments that every detector has, and that the card says itself."""

_TRAINING = ("batch_norm", "drop_path_rate")
"""Arguments that change how a detector is trained, not what it is."""


def _is_canvas(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(IMAGE_SIDE.holds, value))


def _three(of: Rule) -> Rule:
    return Rule(
        f"three values, each {of.expected}",
        lambda value: isinstance(value, tuple) and len(value) == 3 and all(map(of.holds, value)),
    )


_RULES = {
    "model": TEXT,
    "arguments": Rule("names and values", lambda value: isinstance(value, dict)),
    "classes": LABELS,
    "category_ids": list_of(Rule("a whole number", lambda value: type(value) is int), 0, 1_000_000),
    "canvas": Rule(f"height and width, each {IMAGE_SIDE.expected}", _is_canvas),
    "short_side": IMAGE_SIDE,
    "long_side": IMAGE_SIDE,
    "mean": _three(number(-1000, 1000)),
    "std": _three(Rule("a number above 0", lambda value: is_number(value) and 1e-6 <= value <= 1000)),
    "resize": TEXT,
}


@dataclass(frozen=True)
class DetectorCard:
    """Travels inside every checkpoint of a detector. There is none whose values cannot be used.

    Attributes:
        model: detector, one of `list_detectors()`.
        arguments: of `create_detector`, as far as they differ from its defaults.
        classes: label names in the order of the logits.
        category_ids: of the labels, in annotations and results of COCO.
        canvas: (height, width) in pixels that images are padded to; its transpose where they are higher than wide.
        short_side, long_side: what an image's sides are resized to at most.
        mean, std: normalisation of each channel, for pixel values in [0, 1].
        resize: the rule in words.

    Raises:
        UserError: a value is of another kind or range; one line that names it, what was expected, and what came.
    """

    model: str
    arguments: dict[str, Any]
    classes: list[str]
    category_ids: list[int]
    canvas: tuple[int, int]
    short_side: int
    long_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = (
        "scaled by min(long_side / longer side, short_side / shorter side), sides rounded half up, bilinear; pixels / "
        "255, minus mean, divided by std; padded with 0 at the right and at the bottom to the canvas; channels first"
    )

    def __post_init__(self) -> None:
        check_rules(self, _RULES)
        object.__setattr__(self, "arguments", current_names(self.arguments))
        for name in sorted(self.arguments.keys() & set(_SIZES)):
            raise UserError(f"arguments: {name} is no argument here, but told by the rest")
        for name in sorted(self.arguments.keys() & set(_TRAINING)):
            raise UserError(f"arguments: {name} is no part of what a detector is; configurations have model.{name}")
        if not NUM_CLASSES.holds(len(self.category_ids)) or len(self.category_ids) != len(self.classes):
            raise UserError(
                f"category_ids: expected one for each of {len(self.classes)} labels, got {len(self.category_ids)}"
            )

    def detector_arguments(self) -> dict[str, Any]:
        """Arguments of `create_detector`, as far as they differ from its defaults."""
        return {**self.arguments, "num_classes": len(self.classes), "canvas": self.canvas}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Any, where: str) -> "DetectorCard":
        """Reads what `to_dict` wrote; see `ModelCard.from_dict`."""
        return from_values(DetectorCard, values, where, lists=("canvas", "mean", "std"))
