"""What a deployer must know about a trained network: how it is built, its labels, and how its input is prepared."""

from dataclasses import asdict, dataclass
from typing import Any

from mindspore import nn

from src.errors import UserError
from src.models import create_model


@dataclass(frozen=True)
class ModelCard:
    """Travels inside every checkpoint and beside every exported file.

    Attributes:
        model: variant, one of `list_models()`.
        arguments: constructor arguments that differ from the variant's.
        classes: label names in the order of the logits.
        image_size: (height, width) in pixels.
        in_channels: channels of the input image.
        mean, std: normalisation of each channel, for pixel values in [0, 1].
        crop_pct: side of the centre crop as a share of the resized short side.
        resize: the resize rule in words.
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

    def create_network(self) -> nn.Cell:
        """The network this card describes, with random weights, in evaluation mode."""
        return create_model(
            self.model,
            **self.arguments,
            num_classes=len(self.classes),
            image_size=self.image_size,
            in_channels=self.in_channels,
        ).set_train(False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any], where: str) -> "ModelCard":
        """Reads what `to_dict` wrote.

        Raises:
            UserError: entries are missing, unknown or of another kind; `where` names the file.
        """
        try:
            card = ModelCard(**values)
            return ModelCard(
                **{
                    **card.__dict__,
                    "image_size": tuple(card.image_size),
                    "mean": tuple(card.mean),
                    "std": tuple(card.std),
                }
            )
        except TypeError as error:
            raise UserError(f"{where}: its description of the network cannot be used ({error})") from error
