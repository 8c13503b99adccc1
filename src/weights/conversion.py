"""Weight files of the authors' PyTorch code as checkpoints, and checkpoints as such files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindspore import nn

from ..config.former_names import current_names
from ..data.imagenet import NUM_CLASSES, imagenet_labels
from ..data.labels import named
from ..errors import UserError, counted
from ..files.text_lines import read_lines
from ..models import get_variant, resolve_arguments
from .author_names import LoadReport, load_reference_weights, reference_weights
from .checkpoint import read_checkpoint
from .described_network import check_card, create_network, describe_variant
from .loading import load_weights
from .model_card import ModelCard
from .recognition import WITHOUT_TRACE, check_variant, choose_variant, recognise
from .resize_weights import resize_weights
from .timm_names import by_author_names, to_timm
from .torch_file import WeightFile, read_weights, write_safetensors

REVERSE_NAMES = ("authors", "timm")
"""By which the arrays of a file for PyTorch are named."""

_TOLD_BY_WEIGHTS = ("num_classes", "in_channels", "image_size", "se")


@dataclass(frozen=True)
class Conversion:
    """A network with the weights of a file, and what became of each.

    Attributes:
        net: in evaluation mode.
        card: how it was built; its labels and the preparation of its input.
        file: what was read.
        file_names: the authors' name -> the name in the file, for every array; they differ in timm's files.
        old_shapes: the authors' name -> shape in the file, for every table that was resized.
        absent: the authors' name -> why it need not be in the file.
        loading: parameters that were filled, by the authors' names, and arrays that were not used.
    """

    net: nn.Cell
    card: ModelCard
    file: WeightFile
    file_names: dict[str, str]
    old_shapes: dict[str, tuple[int, ...]]
    absent: dict[str, str]
    loading: LoadReport

    def summary(self) -> list[str]:
        """What was read, what it is, and what became of the arrays, in numbers."""
        file, card = self.file, self.card
        lines = [f"{len(file.tensors)} arrays"]
        if file.wrapper is not None:
            others = ", ".join(name for name in file.available if name != file.wrapper)
            lines[0] += f", those of {file.wrapper!r}" + (f" (also there: {others})" if others else "")
        if file.removed_prefix:
            lines[0] += f"; {file.removed_prefix!r} removed from every name"
        if file.ignored:
            lines.append(f"left unread: {', '.join(file.ignored)}")
        arguments = "".join(f", {key} {value}" for key, value in card.arguments.items())
        lines.append(
            f"{card.model}{arguments}: {counted(len(card.classes), 'class', 'classes')}, {card.in_channels} channels, "
            f"{card.image_size[0]} x {card.image_size[1]} pixels"
        )
        lines.append(f"labels: {named(card.classes)}")
        kinds = [line.split()[0] for line in self.lines()]
        counts = [f"{kinds.count(kind)} {kind}" for kind in ("loaded", "renamed", "resized", "unused", "absent")]
        lines.append(", ".join(counts) + ", 0 missing, 0 unexpected")
        lines += [f"  {line}" for line in self.lines() if line.startswith(("resized", "absent"))]
        for kind in sorted({self._kind(name) for name in self.loading.loaded} - {"float32"}):
            names = [name for name in self.loading.loaded if self._kind(name) == kind]
            exact = "exactly" if kind in ("float16", "bfloat16") else "rounded where needed"
            lines.append(f"{len(names)} were {kind} and are float32 now, {exact}")
        return lines

    def lines(self) -> list[str]:
        """One line for every array: what became of it, its name and shape in the file, and what it is here."""
        lines = []
        for name, file_name in self.file_names.items():
            old = f"{file_name} {tuple(self.file.tensors[file_name].shape)}"
            if name in self.loading.unused:
                lines.append(f"unused   {old}: {self.loading.unused[name]}")
                continue
            parameter = self.loading.loaded[name]
            if name in self.old_shapes:
                lines.append(f"resized  {old} -> {parameter} {tuple(self.net.parameters_dict()[parameter].shape)}")
            elif file_name != parameter:
                lines.append(f"renamed  {old} -> {parameter}")
            else:
                lines.append(f"loaded   {old}")
        return lines + [f"absent   {name}: {reason}" for name, reason in self.absent.items()]

    def _kind(self, name: str) -> str:
        file_name = self.file_names.get(name)
        if file_name is None:
            return "float32"
        return "bfloat16" if file_name in self.file.bfloat16 else self.file.tensors[file_name].dtype.name


def convert_file(
    path: Path,
    model: str = "auto",
    structure: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
    old_image_size: tuple[int, int] | None = None,
    key: str | None = None,
    classes: list[str] | None = None,
) -> Conversion:
    """Builds the network whose weights a file holds, and loads them.

    Sizes of head and input and the squeeze-and-excitation of TNT are as the weights say.

    Args:
        path: .pth, .pth.tar or .safetensors with the authors' names or those of timm's TNT.
        model: one of `list_models()`, or "auto".
        structure: constructor arguments that differ from the variant's.
        image_size: (height, width) in pixels for which the network is built; `old_image_size` when None.
        old_image_size: (height, width) that the weights are for; that of a square grid when None.
        key: entry of the file that holds the weights; averaged ones are preferred when None.
        classes: labels in the order of the logits; when None, those of ImageNet-1k where there are 1,000 of them, and
            "0", "1", ... otherwise.

    Raises:
        UserError: the file cannot be read, holds other weights than `model`'s, or not as many classes as `classes`.
    """
    file = read_weights(path, key)
    try:
        named = by_author_names(file.tensors)
        found = recognise({name: array.shape for name, array in named.weights.items()})
        structure = _checked_structure(structure, model)
        if model == "auto":
            model = choose_variant(found)
        check_variant(model, structure, found)
        old_image_size = old_image_size or found.square_image_size(model, structure)
        num_classes = found.num_classes or NUM_CLASSES  # a missing head is reported when the weights are loaded
        if classes is not None and len(classes) != num_classes:
            raise UserError(f"the head has {num_classes} classes, but {len(classes)} names were given")
        if classes is None:
            are_imagenet = num_classes == NUM_CLASSES
            classes = imagenet_labels() if are_imagenet else [str(number) for number in range(num_classes)]
        variant, arguments = get_variant(model), resolve_arguments(model, structure)
        told = found.structure
        without_trace = {key: arguments[key] for key in WITHOUT_TRACE if key in arguments and key not in told}
        card = describe_variant(
            model,
            ({"se": True} if found.se else {}) | structure | without_trace,
            classes,
            image_size or old_image_size,
            found.in_channels or len(variant.mean),
        )
        net = create_network(card)
        weights, old_shapes = resize_weights(net, named.weights, old_image_size)
        loading = load_reference_weights(net, weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return Conversion(net, card, file, named.file_names, old_shapes, named.absent, loading)


def write_reference_file(checkpoint: Path, output: Path, names: str = "authors") -> str:
    """Writes the weights of a checkpoint as .safetensors for PyTorch, bit for bit.

    Args:
        checkpoint: of a classifier.
        output: the file.
        names: one of `REVERSE_NAMES`; timm has TNT only.

    Returns:
        The variant.

    Raises:
        UserError: the checkpoint cannot be read or does not say which network it holds, timm does not have its network,
            or `output` cannot be written.
    """
    content = read_checkpoint(checkpoint)
    if not isinstance(content.card, ModelCard):
        raise UserError(
            f"{checkpoint} does not say which network it holds, or it is a detector; expected a classifier saved here"
        )
    check_card(content.card, checkpoint)
    net = create_network(content.card)
    load_weights(net, content)
    weights = reference_weights(net)
    if names == "timm":
        try:
            weights = to_timm(weights)
        except UserError as error:
            raise UserError(f"{checkpoint} holds {content.card.model}: {error}") from error
    write_safetensors(output, weights, {"format": "pt", "model": content.card.model})
    return content.card.model


def read_class_names(path: Path) -> list[str]:
    """The labels of a text file, one a line.

    Raises:
        UserError: it cannot be read, is empty, or has an empty line.
    """
    return [line.strip() for line in read_lines(path, "one class name a line")]


def _checked_structure(structure: Mapping[str, Any] | None, model: str) -> dict[str, Any]:
    for name in structure or {}:
        if name in _TOLD_BY_WEIGHTS:
            raise UserError(f"structure: {name} is told by the weights; leave it out")
    if structure and model == "auto":
        raise UserError("structure: expected with the name of a variant, got --model auto")
    return current_names(structure or {}, "structure")
